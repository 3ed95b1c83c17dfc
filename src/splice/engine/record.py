"""Record: one writer a process takes finished calls to the ledger, many in one commit.

A high-risk call waits for its commit; what arrives meanwhile makes the next one. Others are written
within the flush interval. What the ledger cannot take is refused where the caller still waits, and
set aside and said where he does not.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

import msgspec

from splice.core.call import Problem, Reason, Record, Status
from splice.core.errors import NotRecorded, SpliceError, StoreError
from splice.ports.spool import Spool
from splice.ports.stores import RecordStore

log = logging.getLogger("splice.ledger")

_MAX_BATCH = 1000
_RETRY_SECONDS = 1.0

Waiter = asyncio.Future[None]
Item = tuple[Record, Waiter | None]
Barrier = tuple[None, Waiter]


class Recorder:
    """The one batching writer of this process.

    Args:
        store: The ledger.
        spool: Where records go that the ledger cannot take.
        flush_seconds: How long a low-risk record may wait for company.
        max_waiting: Records in memory; beyond it new calls are refused.
    """

    def __init__(
        self,
        store: RecordStore,
        spool: Spool,
        *,
        flush_seconds: float = 0.02,
        max_waiting: int = 50_000,
    ) -> None:
        self._store = store
        self._spool = spool
        self._flush_seconds = flush_seconds
        self._max_waiting = max_waiting
        self._items: deque[Item | Barrier] = deque()
        self._held: deque[Record] = deque()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._tried_held = 0.0
        self.trouble = ""
        self.errors = 0
        self.spooled = len(spool)

    @property
    def waiting(self) -> int:
        """Records that are in memory only."""
        return len(self._items) + len(self._held)

    @property
    def full(self) -> bool:
        """Whether another record would be one too many."""
        return len(self._items) + len(self._held) >= self._max_waiting

    def start(self) -> None:
        """Start the writer; records that an earlier process set aside are written first."""
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._work, name="ledger writer", daemon=True)
            self._thread.start()
            if self.spooled:
                self._wake.set()

    def put(self, record: Record) -> None:
        """Write it within the flush interval."""
        self._items.append((record, None))
        if not self._wake.is_set():
            self._wake.set()

    async def commit(self, record: Record, seconds: float) -> None:
        """Write it now, and return once it is durable.

        Raises:
            NotRecorded: The ledger could not take it, or not within `seconds`.
        """
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._items.append((record, waiter))
        self._wake.set()
        self._hurry.set()
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            raise NotRecorded(
                "ledger",
                got=f"no commit within {seconds:.3g} s",
                promised="a durable record before the reply",
                mend="see /readyz: the ledger's disk or database is slow or away",
            ) from None

    async def flush(self) -> None:
        """Return once every record that was put before is in the ledger, or set aside durably."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._items.append((None, waiter))
        self._wake.set()
        self._hurry.set()
        await waiter

    def stop(self, seconds: float = 10.0) -> int:
        """Write what waits, then end the writer. Returns how many records could not be kept."""
        thread = self._thread
        if thread is None:
            return 0
        self._stopping = True
        self._hurry.set()
        self._wake.set()
        thread.join(seconds)
        self._thread = None
        left = [*self._held, *(record for record, _ in self._items if record is not None)]
        if not left:
            return 0
        try:
            self._spool.save(left)
        except StoreError as error:
            log.error("%d records are lost: %s", len(left), error)
            return len(left)
        return 0

    def _work(self) -> None:
        while True:
            held = bool(self._held or self.spooled)
            self._wake.wait(_RETRY_SECONDS if held else None)
            self._hurry.wait(0 if self._stopping else self._flush_seconds)
            self._hurry.clear()
            self._wake.clear()
            while items := self._next_items():
                batch = [item for item in items if item[0] is not None]
                if batch:
                    self._write(batch)
                _settle([item[1] for item in items if item[0] is None], None)
            if held or self.spooled:
                self._write_held()
            if self._stopping and not self._items:
                return

    def _next_items(self) -> list[Item | Barrier]:
        batch: list[Item | Barrier] = []
        items = self._items
        while items and len(batch) < _MAX_BATCH:
            batch.append(items.popleft())
        return batch

    def _write(self, batch: Sequence[Item]) -> None:
        taken, refused, error = self._append(batch)
        if error is None:
            self.trouble = ""
        _settle([waiter for _, waiter in taken if waiter is not None], None)
        if not refused or error is None:
            return
        self.errors += 1
        if not taken:
            if not self.trouble:
                log.error("the ledger takes no records: %s", error)
            self.trouble = str(error)
        self._set_aside([_as_refused(r, error) if w is not None else r for r, w in refused])
        _settle([waiter for _, waiter in refused if waiter is not None], error)

    def _append(
        self, batch: Sequence[Item]
    ) -> tuple[Sequence[Item], Sequence[Item], StoreError | None]:
        """What was taken, what was not, and why. One bad record does not spoil its neighbours."""
        try:
            self._store.append([record for record, _ in batch])
        except StoreError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the writer must outlive any one record
            failure = StoreError("ledger", got=f"{type(error).__name__}: {error}")
        else:
            return batch, [], None
        if len(batch) == 1:
            return [], batch, failure
        # Is it the store, or one of them? If neither the first nor the last goes alone, the store.
        first, last = self._append(batch[:1]), self._append(batch[-1:])
        taken, refused = [*first[0], *last[0]], [*first[1], *last[1]]
        if not taken:
            return [], batch, failure
        middle, half = batch[1:-1], len(batch) // 2
        for part in (middle[:half], middle[half:]):
            if part:
                more, less, _ = self._append(part)
                taken, refused = [*taken, *more], [*refused, *less]
        return taken, refused, failure

    def _set_aside(self, records: Sequence[Record]) -> None:
        try:
            self._spool.save(records)
            self.spooled = len(self._spool)
        except StoreError:
            self._held.extend(records)

    def _write_held(self) -> None:
        now = time.monotonic()
        if now - self._tried_held < _RETRY_SECONDS and not self._stopping:
            return
        self._tried_held = now
        while self._held:
            batch = [self._held.popleft() for _ in range(min(_MAX_BATCH, len(self._held)))]
            if not self._write_again(batch):
                self._held.extendleft(reversed(batch))
                return
        while (kept := self._spool.oldest()) is not None:
            if not self._write_again(kept[1]):
                break
            self._spool.discard(kept[0])
        self.spooled = len(self._spool)

    def _write_again(self, records: Sequence[Record]) -> bool:
        taken, refused, error = self._append([(record, None) for record in records])
        if error is not None and not taken and len(records) > 1:
            return False
        if error is not None and not taken and self.trouble:
            return False
        for record, _ in refused:  # the ledger is up, and refuses just this one
            log.error("the ledger refuses call %s: %s", record.call_id, error)
            self._spool.reject(record, str(error))
        self.trouble = ""
        return True


def _as_refused(record: Record, error: SpliceError) -> Record:
    """The same call, as the caller saw it: without an answer."""
    problem = Problem(NotRecorded.code, error.where, error.detail)
    return msgspec.structs.replace(
        record,
        status=Status.REFUSED,
        reason=Reason.NOT_RECORDED,
        reply=None,
        key=None,
        problem=problem,
    )


def _settle(waiters: Sequence[Waiter], error: StoreError | None) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[Waiter]] = {}
    for waiter in waiters:
        by_loop.setdefault(waiter.get_loop(), []).append(waiter)
    for loop, own in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_here, own, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            continue


def _settle_here(waiters: Sequence[Waiter], error: StoreError | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(
                NotRecorded(error.where, got=error.got, promised=error.promised, mend=error.mend)
            )
