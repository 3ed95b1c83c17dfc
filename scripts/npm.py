"""Peers that npm installs, each in a folder of its own below `.services`.

`peers.d/NAME/package-lock.json` pins all of it. They need Node 18 or newer, with npm. To renew a
pin: `npm install --package-lock-only --omit-lockfile-registry-resolved`, in that folder.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from peers import PINS, Peer


class Npm(Peer):
    """What npm installs, once it has."""

    @property
    def app(self) -> Path:
        """Where it is."""
        return self.home / "app"

    def _built(self) -> bool:
        built = self.home / "built"
        return built.exists() and built.read_text() == self._pinned()

    def _pinned(self) -> str:
        files = sorted(file for file in (PINS / self.name).iterdir() if file.is_file())
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def _build(self) -> None:
        (self.home / "built").unlink(missing_ok=True)
        npm = shutil.which("npm")
        if npm is None:
            sys.exit(f"{self.name}: no npm found: install nodejs and npm")
        shutil.rmtree(self.app, ignore_errors=True)
        shutil.copytree(PINS / self.name, self.app)
        subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=self.app, check=True,
        )  # fmt: skip
        (self.home / "built").write_text(self._pinned())
