#!/usr/bin/env python3
"""AsyncAPI's own parser, in a folder of its own (54 MB): `node validate.js` reads a document."""

from __future__ import annotations

from npm import Npm


class AsyncApi(Npm):
    """The parser, once npm has installed it."""

    script = __file__

    @property
    def env(self) -> dict[str, str]:
        """What tests read."""
        return {"SPLICE_TEST_ASYNCAPI": str(self.app / "validate.js")}


ASYNCAPI = AsyncApi("asyncapi")

if __name__ == "__main__":
    ASYNCAPI.run()
