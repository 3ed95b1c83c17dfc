#!/usr/bin/env python3
"""AsyncAPI's own parser, in a folder of its own: `node validate.js` reads a document on stdin.

`peers.d/asyncapi/package-lock.json` pins all of it (54 MB). It needs Node 18 or newer, with npm. To
renew the pin: `npm install --package-lock-only --omit-lockfile-registry-resolved`, in that folder.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys

from peers import PINS, Peer

FILES = ("package.json", "package-lock.json", "validate.js")


class AsyncApi(Peer):
    """The parser, once npm has installed it."""

    script = __file__

    @property
    def env(self) -> dict[str, str]:
        """What tests read."""
        return {"SPLICE_TEST_ASYNCAPI": str(self.home / "app" / "validate.js")}

    def _built(self) -> bool:
        built = self.home / "built"
        return built.exists() and built.read_text() == self._pinned()

    def _pinned(self) -> str:
        return hashlib.sha256(
            b"".join((PINS / self.name / f).read_bytes() for f in FILES)
        ).hexdigest()

    def _build(self) -> None:
        (self.home / "built").unlink(missing_ok=True)
        npm = shutil.which("npm")
        if npm is None:
            sys.exit(
                "asyncapi: no npm found: it installs AsyncAPI's parser. Install nodejs and npm"
            )
        app = self.home / "app"
        shutil.rmtree(app, ignore_errors=True)
        shutil.copytree(PINS / self.name, app)
        subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=app, check=True,
        )  # fmt: skip
        (self.home / "built").write_text(self._pinned())


ASYNCAPI = AsyncApi("asyncapi")

if __name__ == "__main__":
    ASYNCAPI.run()
