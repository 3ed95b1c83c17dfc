#!/usr/bin/env python3
"""A real OpenID provider in a folder of its own (10 MB): `node provider.js` serves one."""

from __future__ import annotations

from npm import Npm


class Identity(Npm):
    """The provider, once npm has installed it."""

    script = __file__

    @property
    def env(self) -> dict[str, str]:
        """What tests read."""
        return {"SPLICE_TEST_IDENTITY": str(self.app / "provider.js")}


IDENTITY = Identity("identity")

if __name__ == "__main__":
    IDENTITY.run()
