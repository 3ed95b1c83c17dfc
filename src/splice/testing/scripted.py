"""A scripted server that runs in a thread of its own, on loopback."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self


class Scripted:
    """Starts and stops a server; use it as a context manager.

    A subclass defines `_serve`.

    Attributes:
        port: Where it listens; 0 until it is told or has started.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before if it did."""
        self._ready.clear()
        name = type(self).__name__
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        if not self._ready.wait(30):
            raise RuntimeError(f"{name} did not start")

    def stop(self) -> None:
        """Hang up on everybody, and refuse connections from now on."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)
        self._loop = self._thread = None

    def _run(self) -> None:
        asyncio.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._serve(self._stop)

    async def _serve(self, stop: asyncio.Event) -> None:
        """Listen, set `port` and `_ready`, and hang up once `stop` is set."""
        raise NotImplementedError
