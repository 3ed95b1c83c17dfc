"""Files that pages load, each under a name with its hash: a browser never asks for one twice.

Ours are in the package. What charts are drawn with is not in the repository: it is made once, from
what the installed vl-convert carries, and kept in a folder.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from splice.console import making

STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
          ".svg": "image/svg+xml", ".json": "application/json"}  # fmt: skip
_DIGITS = 12


class Asset:
    """One file: its bytes, and what it is."""

    def __init__(self, name: str, body: bytes) -> None:
        stem, _, ending = name.rpartition(".")
        self.body = body
        self.media_type = _TYPES[f".{ending}"]
        self.path = f"{stem}-{hashlib.sha256(body).hexdigest()[:_DIGITS]}.{ending}"


class Assets:
    """All files of the console.

    Args:
        cache: Folder for what is made.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._by_name = {
            file.name: Asset(file.name, file.read_bytes())
            for file in sorted(STATIC.iterdir())
            if file.suffix in _TYPES
        }
        self._by_path = {asset.path: asset for asset in self._by_name.values()}
        self._making = threading.Lock()

    def path(self, name: str) -> str:
        """Where one is: with its hash; one that is not made yet leads there."""
        found = self._by_name.get(name)
        return name if found is None else found.path

    def find(self, path: str) -> Asset | None:
        """What is under a name with a hash."""
        return self._by_path.get(path)

    def made(self, name: str) -> Asset:
        """What charts are drawn with. Blocks: the first time for seconds.

        Raises:
            RuntimeError: It could not be made.
        """
        with self._making:
            if name not in self._by_name:
                for one, body in making.made(self._cache).items():
                    asset = Asset(one, body)
                    self._by_name[one] = self._by_path[asset.path] = asset
            return self._by_name[name]
