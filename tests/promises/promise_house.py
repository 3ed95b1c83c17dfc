"""What the tests of promises share: a project with a high and a low risk, and what harms it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

TOML = """
[project]
apply = "new"
[ledger]
flush_interval_ms = 1
"""

INTEGRATIONS = '''
from typing import Literal
import splice


class Order(splice.Request):
    customer: splice.Entity
    amount: float


class Screening(splice.Reply):
    action: Literal["ship", "review"]


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    risk = splice.Risk.LIMITED
    deadline = "3 s"
    routes = [splice.Rule(lambda context: 0.9 if context["amount"] > 500 else 0.1)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening("review" if prediction.score > 0.5 else "ship")


class HighOrders(Orders):
    """Find the orders that will not be paid, where a lost answer costs a lot."""

    risk = splice.Risk.HIGH
'''
GOOD = {"customer": "c-1", "amount": 5.0}
LOW, HIGH = "/v1/integrations/orders/calls", "/v1/integrations/high-orders/calls"

Mode = Literal["pass", "stall", "refuse"]

SHIFTED = '''
"""Time of this process is off by what a file says, from one moment to the next."""
import time

_real, _real_ns = time.time, time.time_ns


def _off():
    try:
        with open(FILE) as file:
            return float(file.read() or 0)
    except (OSError, ValueError):
        return 0.0


time.time = lambda: _real() + _off()
time.time_ns = lambda: _real_ns() + round(_off() * 1e9)
'''


class Clock:
    """The wall clock of processes that are started with its environment; seconds off the true one.

    The steady clock is left alone, as it is when somebody sets the time of a machine.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._file = folder / "off"
        self._file.write_text("0")
        text = SHIFTED.replace("FILE", repr(str(self._file)))
        (folder / "sitecustomize.py").write_text(text)
        self.env = {"PYTHONPATH": str(folder)}

    def set(self, seconds: float) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._file)


class Proxy:
    """A TCP proxy that passes everything on, holds everything back, or lets nobody in.

    Args:
        host: Where it passes on to.
        port: And its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._mode: Mode = "pass"
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(30)

    def set(self, mode: Mode) -> None:
        """From now on; `refuse` also ends the connections that there are."""
        self._loop.call_soon_threadsafe(self._set, mode)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def _set(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "stall":
            self._open.clear()
        else:
            self._open.set()
        if mode == "refuse":
            for one in list(self._writers):
                one.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for one in list(self._writers):
            one.transport.abort()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "refuse":
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection(*self._to)
        self._writers |= {writer, there_writer}
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))
        for one in (writer, there_writer):
            self._writers.discard(one)
            one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            await self._open.wait()
            writer.write(chunk)
            await writer.drain()
        writer.transport.abort()


@contextlib.contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    made = Proxy(host, port)
    try:
        yield made
    finally:
        made.close()


def until(found: Callable[[], object], seconds: float = 90.0) -> None:
    """Waits for something that will be so, on a machine that may be busy."""
    import time

    give_up = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < give_up, "it did not come true"
        time.sleep(0.05)
