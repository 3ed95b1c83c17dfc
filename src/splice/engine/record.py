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
from splice.core.errors import NotRecorded, SpliceError, StoreError, Unstorable
from splice.ports.spool import Spool
from splice.ports.stores import RecordStore

log = logging.getLogger("splice.ledger")

_MAX_BATCH = 1000
_ENOUGH = 256
"""So many records are worth a commit of their own before the interval has passed: under load short
writes, which hold up fewer calls; at rest few, for each commit costs as much as several calls."""
_RETRY_SECONDS = 1.0
_SLOW_SECONDS = 0.5
"""A store that takes longer than this to say no is locked, hung or away, whatever was written. It
is not asked again for `_RETRY_SECONDS`: what comes meanwhile is set aside, and does not pile up."""
_SAMPLES = 16
"""Records tried one by one to learn whether a store that never took any is up."""

Waiter = asyncio.Future[None]
Item = tuple[Record, Waiter | None]
Barrier = tuple[None, Waiter]


class _Written(msgspec.Struct):
    """What was taken, what was not, and why.

    `down` where the store is to blame; otherwise each of `refused` was refused by itself, and
    `never` has those of them that the store said it can never hold, with its word.
    """

    taken: Sequence[Item]
    refused: Sequence[Item] = ()
    error: StoreError | None = None
    down: bool = False
    never: Sequence[tuple[Record, StoreError]] = ()


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
        self._writing: Sequence[Item] = ()
        self._known: Record | None = None  # stored: to write it again changes nothing
        self._down: StoreError | None = None
        self._down_until = 0.0
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
        elif len(self._items) == _ENOUGH:
            self._hurry.set()

    async def commit(self, record: Record, seconds: float) -> None:
        """Write it now, and return once it is durable.

        Raises:
            NotRecorded: The ledger could not take it, or not within `seconds`.
        """
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        expiry = loop.call_later(seconds, _expire, waiter, seconds)
        self._items.append((record, waiter))
        self._wake.set()
        self._hurry.set()
        try:
            await waiter
        finally:
            expiry.cancel()

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
        # What the writer still hangs on counts as unwritten: writing it twice is harmless.
        left = [*self._writing, *((r, w) for r, w in self._items if r is not None)]
        error = StoreError("ledger", got=f"no commit within {seconds:.3g} s of the shutdown")
        held, self._held = list(self._held), deque()
        self._set_aside([*held, *_after(left, error)])
        _settle([waiter for _, waiter in left if waiter is not None], error)
        if self._held:
            log.error("%d records are lost: %s", len(self._held), self.trouble)
        return len(self._held)

    def _work(self) -> None:
        while True:
            behind = bool(self._held or self.spooled)
            self._wake.wait(_RETRY_SECONDS if behind else None)
            self._hurry.wait(0 if self._stopping else self._flush_seconds)
            self._hurry.clear()
            self._wake.clear()
            while items := self._next_items():
                batch = [item for item in items if item[0] is not None]
                if batch:
                    self._writing = batch
                    self._write(batch)
                    self._writing = ()
                _settle([item[1] for item in items if item[0] is None], None)
            if behind or self.spooled:
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
        batch = [item if item[1] is None or not item[1].done() else _late(*item) for item in batch]
        if self._down is not None and time.monotonic() < self._down_until:
            written = _Written((), batch, self._down, down=True)
        else:
            written = self._append(batch)
        _settle([waiter for _, waiter in written.taken if waiter is not None], None)
        if written.error is None:
            return
        self.errors += 1
        if written.down:
            if not self.trouble:
                log.error("the ledger takes no records: %s", written.error)
            self.trouble = str(written.error)
        self._set_aside(_after(written.refused, written.error))
        waiters = [waiter for _, waiter in written.refused if waiter is not None]
        _settle(waiters, written.error)

    def _append(self, batch: Sequence[Item]) -> _Written:
        """One bad record does not spoil its neighbours."""
        error = self._try(batch)
        if error is None:
            return _Written(batch)
        if not isinstance(error, Unstorable) and not self._is_up(batch):
            return _Written((), batch, error, down=True)
        taken, refused, parts = list[Item](), list[Item](), _halves(batch)
        never: list[tuple[Record, StoreError]] = []
        while parts:
            part = parts.pop(0)
            failure = self._try(part)
            if failure is None:
                taken.extend(part)
            elif self._down is not None:  # it went away meanwhile
                left = [item for one in (part, *parts) for item in one]
                return _Written(taken, [*refused, *left], failure, down=True)
            elif len(part) > 1:
                parts[:0] = _halves(part)
            else:
                refused.extend(part)
                never += [
                    (record, failure) for record, _ in part if isinstance(failure, Unstorable)
                ]
        return _Written(taken, refused, error, never=never)

    def _try(self, batch: Sequence[Item]) -> StoreError | None:
        began = time.monotonic()
        try:
            self._store.append([record for record, _ in batch])
        except StoreError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the writer must outlive any one record
            failure = StoreError("ledger", got=f"{type(error).__name__}: {error}")
        else:
            self._known, self._down, self.trouble = batch[-1][0], None, ""
            return None
        now = time.monotonic()
        if now - began > _SLOW_SECONDS:
            self._down, self._down_until = failure, now + _RETRY_SECONDS
        return failure

    def _is_up(self, batch: Sequence[Item]) -> bool:
        """Whether the store writes at all, now that it did not take this batch."""
        if self._down is not None:
            return False
        if self._known is not None:
            return self._try([(self._known, None)]) is None
        for item in batch[:: 1 + len(batch) // _SAMPLES] if len(batch) > 1 else ():
            if self._try([item]) is None:
                return True
            if self._down is not None:
                return False
        return False

    def _set_aside(self, records: Sequence[Record]) -> None:
        if not records:
            return
        try:
            self._spool.save(records)
            self.spooled = len(self._spool)
        except StoreError as error:
            self.trouble = self.trouble or str(error)
            self._held.extend(records)
        except Exception as error:  # noqa: BLE001 - one that cannot even be encoded
            if len(records) == 1:
                self.errors += 1
                log.error("call %s can be kept nowhere: %s", records[0].call_id, error)
                return
            for record in records:
                self._set_aside([record])

    def _write_held(self) -> None:
        now = time.monotonic()
        if now - self._tried_held < _RETRY_SECONDS and not self._stopping:
            return
        self._tried_held = now
        try:
            while (kept := self._spool.oldest()) is not None:
                left = self._write_again(kept[1])
                if left is None:
                    break
                if left:
                    self._spool.save(left)
                self._spool.discard(kept[0])
                if left:  # at the end of the line now: the next look is for the others
                    break
            self.spooled = len(self._spool)
            held, self._held = list(self._held), deque()
            left = self._write_again(held) if held else None
            self._set_aside(held if left is None else left)
        except Exception as error:  # noqa: BLE001 - the writer must outlive a broken spool
            log.error("the spool cannot be worked off: %s", error)
            self.trouble = self.trouble or f"spool: {error}"

    def _write_again(self, records: Sequence[Record]) -> list[Record] | None:
        """Those that are still to be written; None where the ledger is down, and all of them are.

        A record is given up only on the ledger's word. One that is refused for another reason may
        fit a moment later: on a disk that is nearly full, a small record goes where a large one
        does not.
        """
        if self._down is not None and time.monotonic() < self._down_until:
            return None
        written = self._append([(record, None) for record in records])
        if written.down:
            return None
        never = {record.call_id: error for record, error in written.never}
        left: list[Record] = []
        for record, _ in written.refused:
            if record.call_id not in never:
                left.append(record)
                continue
            log.error("the ledger refuses call %s: %s", record.call_id, never[record.call_id])
            self._spool.reject(record, str(never[record.call_id]))
        return left


def _halves(batch: Sequence[Item]) -> list[Sequence[Item]]:
    half = len(batch) // 2
    return [part for part in (batch[:half], batch[half:]) if part]


def _expire(waiter: Waiter, seconds: float) -> None:
    if waiter.done():
        return
    late = NotRecorded(
        "ledger",
        got=f"no commit within {seconds:.3g} s",
        promised="a durable record before the reply",
        mend="see /readyz: the ledger's disk or database is slow or away",
    )
    late.unsure = True
    waiter.set_exception(late)


def _late(record: Record, waiter: Waiter | None) -> Item:
    """The caller was told that it is not recorded: it must not be recorded as answered now."""
    error = None if waiter is None or waiter.cancelled() else waiter.exception()
    if not isinstance(error, SpliceError):
        return record, None
    return not_recorded(record, error), None


def _after(refused: Sequence[Item], error: StoreError | None) -> list[Record]:
    """Records as they are set aside: a caller who still waits gets no answer."""
    return [
        record if waiter is None or error is None else not_recorded(record, error)
        for record, waiter in refused
    ]


def not_recorded(record: Record, error: SpliceError) -> Record:
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
