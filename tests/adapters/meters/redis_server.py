"""A Redis server of a test's own, and until a meter can use one again."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from splice.core.errors import StoreError
from splice.ports.meters import Meter


class OwnServer:
    """A Redis server that a test starts, kills and starts again in the same place."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._folder}/redis.sock"

    def start(self, *options: str) -> None:
        self._process = subprocess.Popen(
            [self._binary, "--port", "0", "--unixsocket", f"{self._folder}/redis.sock",
             "--dir", str(self._folder), "--save", "", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        for line in self._process.stdout:  # it says so when it listens
            if b"ready to accept connections" in line.lower():
                return
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


async def until_it_works(meter: Meter) -> None:
    """Return once it can be reached."""
    async with asyncio.timeout(20):
        while True:
            try:
                await meter.used([])
                return
            except StoreError:
                await asyncio.sleep(0.02)
