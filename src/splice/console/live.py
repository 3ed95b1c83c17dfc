"""The live tail: calls as they are recorded, by server-sent events, whichever worker took them.

One look into the ledger a second serves all who watch; nobody watches, nobody looks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from typing import Any

import msgspec

from splice.console import units
from splice.console.desk import ConsoleDesk, Visit
from splice.core.call import Record
from splice.core.errors import Overloaded, SpliceError
from splice.ports.stores import CallFilter

_EVERY_S = 1.0
_LATE_US = 60_000_000
"""A call is recorded when it ends: those that were asked up to so long ago may still come."""

_FIRST_US = 10_000_000  # how far back the first look goes: a page knows those before its own
_RECENT = 50  # calls that a page gets which comes later; it leaves out those that it shows
_MOST = 200  # calls of one look; more come than anybody reads
_WATCHERS = 32
_WAITING = 8  # looks that a slow reader may be behind
_QUIET_S = 15.0  # proxies close what says nothing


class Tail:
    """Watches the ledger for those who watch a page.

    Args:
        desk: The process.
        threads: Where the ledger is read.
    """

    def __init__(self, desk: ConsoleDesk, threads: Executor) -> None:
        self._desk = desk
        self._threads = threads
        self._watchers: set[asyncio.Queue[list[Record]]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._recent: deque[Record] = deque(maxlen=_RECENT)

    def events(self, visit: Visit) -> AsyncGenerator[bytes]:
        """Events for one visitor, until he is gone or the server stops.

        Raises:
            Overloaded: As many watch already as may.
        """
        if len(self._watchers) >= _WATCHERS:
            raise Overloaded(
                "console.live", got=f"{_WATCHERS} pages that watch already", mend="close one"
            )
        return self._events(visit)

    async def _events(self, visit: Visit) -> AsyncGenerator[bytes]:
        queue: asyncio.Queue[list[Record]] = asyncio.Queue(_WAITING)
        queue.put_nowait(list(self._recent))
        self._watchers.add(queue)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            yield b"retry: 2000\n: watching\n\n"
            spoke = time.monotonic()
            while not self._desk.draining:
                try:
                    records = await asyncio.wait_for(queue.get(), _EVERY_S)
                except TimeoutError:
                    records = []
                shown = [_row(one, visit) for one in records if self._shows(one, visit)]
                if shown:
                    yield b"event: calls\ndata: " + msgspec.json.encode(shown) + b"\n\n"
                    spoke = time.monotonic()
                elif time.monotonic() - spoke > _QUIET_S:
                    yield b": nothing new\n\n"
                    spoke = time.monotonic()
        finally:
            self._watchers.discard(queue)
            if not self._watchers:
                self._rest()

    def _rest(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _shows(self, record: Record, visit: Visit) -> bool:
        wanted = visit.query.get("integration", "")
        if wanted and record.integration != wanted:
            return False
        if not visit.may_see(record.integration):
            return False
        keyring = self._desk.engine.keyring
        return keyring.may_read(visit.principal, record.integration, record.caller)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        seen: dict[str, int] = {}
        since_us = time.time_ns() // 1000 - _FIRST_US
        while True:
            now_us = time.time_ns() // 1000
            wanted = CallFilter(since_us=max(since_us, now_us - _LATE_US), limit=_MOST)
            try:
                records = await loop.run_in_executor(
                    self._threads, self._desk.shelves.records.find, wanted
                )
            except SpliceError:  # the ledger is away: the next look may find it again
                records = []
            new = [one for one in records if one.call_id not in seen]
            seen.update((one.call_id, one.asked_us) for one in new)
            for call_id in [one for one, asked in seen.items() if asked < now_us - 2 * _LATE_US]:
                del seen[call_id]
            if new:
                self._tell(new[::-1])
            await asyncio.sleep(_EVERY_S)

    def _tell(self, records: list[Record]) -> None:
        self._recent.extend(records)
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(records)


def _row(record: Record, visit: Visit) -> dict[str, Any]:  # texts of one row
    """What a row of the page shows; the page puts it there as text."""
    return {
        "id": record.call_id,
        "href": visit.plain(f"/calls/{record.call_id}"),
        "at": units.moment(record.asked_us, millis=True)[11:],
        "machine": units.machine(record.asked_us),
        "integration": record.integration,
        "entity": record.entity or "",
        "release": record.release,
        "variant": record.variant,
        "answered_by": record.version or record.route,
        "status": record.status,
        "reason": record.reason,
        "took": units.micros(record.duration_us),
        "cost": units.cost(record.cost_nano),
    }
