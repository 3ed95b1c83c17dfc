"""A Redis server of a test's own."""

from __future__ import annotations

import subprocess
from pathlib import Path


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
