"""What the tests of promises share: a project with a high and a low risk, and what harms it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

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
    """A proxy of a socket that passes everything on, holds everything back, or lets nobody in.

    Args:
        to: The socket of a server.
        here: Its own.
    """

    def __init__(self, to: Path, here: Path) -> None:
        self._to, self._here = to, here
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._mode: Mode = "pass"
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
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
        start = asyncio.start_unix_server(self._serve, str(self._here))
        server = self._loop.run_until_complete(start)
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
        there_reader, there_writer = await asyncio.open_unix_connection(str(self._to))
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
def postgres_behind(url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before the PostgreSQL of an URL, and the URL by it."""
    name = ".s.PGSQL.5432"
    real = urlsplit(url)
    (folder,) = parse_qs(real.query)["host"]
    with tempfile.TemporaryDirectory(prefix="pg-") as here:  # a short path: sockets want that
        made = Proxy(Path(folder, name), Path(here, name))
        try:
            yield made, real._replace(query=f"host={here}").geturl()
        finally:
            made.close()


def until(found: Callable[[], object], seconds: float = 90.0) -> None:
    """Waits for something that will be so, on a machine that may be busy."""
    give_up = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < give_up, "it did not come true"
        time.sleep(0.05)
