"""An ASGI application that a thread serves on a loopback port: it starts and ends at once."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import uvicorn


class InThread:
    """A server that lives as long as one test.

    uvicorn by itself looks ten times a second whether it shall end, and then waits a tenth of a
    second for its connections: with a server a test, that is most of the time that tests take.
    """

    def __init__(self, app: Any, name: str) -> None:  # Any: what uvicorn takes for an application
        config = uvicorn.Config(
            app, interface="asgi3", log_level="critical", lifespan="off", access_log=False
        )
        self._server = _Server(config)
        self._socket = socket.socket()
        self._thread = threading.Thread(
            target=lambda: self._server.run(sockets=[self._socket]), name=name, daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens, once it has started."""
        return self._socket.getsockname()[1]

    def start(self) -> None:
        """Return once it accepts connections."""
        self._socket.bind(("127.0.0.1", 0))
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError(f"the {self._thread.name} did not start")
            time.sleep(0.001)

    def stop(self) -> None:
        """End it; answers that still wait are not waited for."""
        if self._thread.is_alive():
            self._server.end()
            self._thread.join(10)
        self._socket.close()


class _Server(uvicorn.Server):
    """uvicorn's server, told of its end instead of asking for it."""

    def end(self) -> None:
        """Safe from any thread."""
        self.should_exit = self.force_exit = True
        self._loop.call_soon_threadsafe(self._ended.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # 0: the date in the headers is set anew
            try:
                await asyncio.wait_for(self._ended.wait(), 1.0)
            except TimeoutError:
                continue

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in self.server_state.tasks:
            task.cancel()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports tell that they are closed
