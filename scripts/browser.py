#!/usr/bin/env python3
"""A headless Chromium for tests of the console, and axe, which checks pages for accessibility.

Chromium is the one of the path, or Debian's: root installs its package; anybody else has it and
what it needs unpacked below `.services`. With SPLICE_TEST_CHROMIUM set, it is the one there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from npm import Npm

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_FONTS = "fonts-dejavu-core"
_WRAPPER = """#!/bin/sh
# Starts the Chromium beside this file with the libraries and fonts that were unpacked with it.
root='{root}'
for folder in usr/lib/{triplet} lib/{triplet} usr/lib/chromium usr/lib/{triplet}/pulseaudio; do
    LD_LIBRARY_PATH="$root/$folder:$LD_LIBRARY_PATH"
done
export LD_LIBRARY_PATH FONTCONFIG_PATH="$root/etc/fonts" XDG_DATA_HOME="$root/usr/share"
exec "$root/usr/lib/chromium/chromium" "$@"
"""


class Browser(Npm):
    """The browser and the checks, once they are there."""

    script = __file__

    @property
    def env(self) -> dict[str, str]:
        """What tests read."""
        return {
            "SPLICE_TEST_CHROMIUM": str(self._chromium() or ""),
            "SPLICE_TEST_AXE": str(self.app / "node_modules" / "axe-core" / "axe.min.js"),
        }

    def _chromium(self) -> Path | None:
        """The browser; None where there is none yet."""
        if given := os.environ.get("SPLICE_TEST_CHROMIUM"):
            return Path(given)
        found = next(filter(None, map(shutil.which, _NAMES)), None)
        own = self.home / "chromium"
        return Path(found) if found else own if own.exists() else None

    def _built(self) -> bool:
        return super()._built() and self._chromium() is not None

    def _build(self) -> None:
        super()._build()
        if self._chromium() is not None:
            return
        if shutil.which("apt-get") is None:
            sys.exit("browser: no Chromium found: install it, or set SPLICE_TEST_CHROMIUM")
        if os.geteuid() == 0:
            _apt("update", "--quiet")
            _apt("install", "--quiet", "--yes", "--no-install-recommends", "chromium", _FONTS)
        else:
            self._unpack()

    def _unpack(self) -> None:
        """Have Debian's packages that are not installed here unpacked, as who cannot install."""
        lists, root = self.home / "apt", self.home / "root"
        for folder in (lists / "lists" / "partial", lists / "archives" / "partial", root):
            folder.mkdir(parents=True, exist_ok=True)
        own = ("-o", f"Dir::State::Lists={lists / 'lists'}", "-o", f"Dir::Cache={lists}",
               "-o", "Debug::NoLocking=1")  # fmt: skip
        _apt("update", "--quiet", *own)
        wanted = _apt("install", "--yes", "--print-uris", "--no-install-recommends",
                      "chromium", _FONTS, *own)  # fmt: skip
        names = re.findall(r"^'[^']+' ([^_ ]+)_\S+\.deb ", wanted, re.MULTILINE)
        _apt("download", "--quiet", *names, *own, folder=lists / "archives")
        for package in sorted((lists / "archives").glob("*.deb")):
            subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
            package.unlink()
        triplet = next((root / "usr" / "lib").glob("*-linux-gnu*")).name
        wrapper = self.home / "chromium"
        wrapper.write_text(_WRAPPER.format(root=root, triplet=triplet))
        wrapper.chmod(0o755)


def _apt(*arguments: str, folder: Path | None = None) -> str:
    """What apt-get says."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["apt-get", *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"browser: apt-get {arguments[0]} failed; install chromium, and try again")
    return done.stdout


BROWSER = Browser("browser")

if __name__ == "__main__":
    BROWSER.run()
