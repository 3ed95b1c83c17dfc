"""Fakes that behave: a ledger that fails when told to, predictors and models that follow a script.

They hold to the contracts of their ports, so that what passes with them passes with the real ones;
what they add is the bad day on demand.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from splice.core.call import Prediction, Record, Status
from splice.core.errors import RouteError, StoreError, Unstorable
from splice.core.release import Signature
from splice.ports.predictor import Question
from splice.ports.stores import CallFilter, Claim


class MemoryRecords:
    """A RecordStore in memory that can be told to fail, to hang, to fill up, or to refuse some.

    Attributes:
        failing: Every write raises StoreError while it is true.
        capacity: Calls it holds; a batch that would go beyond is refused as a whole.
        refuses: Says of one record whether the store refuses any batch with it in it.
        refusal: The error that it then raises; `Unstorable` says that it always will.
        batches: Sizes of the batches that were stored, in their order.
        tries: How often `append` was asked, whatever came of it.
    """

    def __init__(self) -> None:
        self.failing = False
        self.capacity: int | None = None
        self.refuses: Callable[[Record], bool] = _none
        self.refusal: type[StoreError] = Unstorable
        self.batches: list[int] = []
        self.tries = 0
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._claims: dict[tuple[str, str, str], tuple[str, bytes, int]] = {}

    @property
    def stored(self) -> list[Record]:
        """Every stored record, in the order of their writing."""
        return list(self._records.values())

    def hang(self) -> None:
        """Let every `append` wait until `resume`; claims and reads go on."""
        self._open.clear()

    def resume(self) -> None:
        """End the waiting of `hang`."""
        self._open.set()

    def append(self, records: Sequence[Record]) -> None:
        """Store all of them, or none."""
        self.tries += 1
        self._open.wait()
        self._write()
        with self._lock:
            if any(self.refuses(record) for record in records):
                raise self.refusal("memory", got="a record that it refuses")
            new = [record for record in records if record.call_id not in self._records]
            if self.capacity is not None and len(self._records) + len(new) > self.capacity:
                raise StoreError("memory", got="no room for more", mend="free some")
            self._records.update((record.call_id, record) for record in new)
            self.batches.append(len(records))

    def _write(self) -> None:
        if self.failing:
            raise StoreError("memory", got="out of order", mend="wait until it is back")

    def get(self, call_id: str) -> Record | None:
        """The record of a call, or None."""
        return self._records.get(call_id)

    def get_many(self, call_ids: Sequence[str]) -> dict[str, Record]:
        """Those of the records that are stored, by call id."""
        return {one: self._records[one] for one in call_ids if one in self._records}

    def find(self, wanted: CallFilter) -> list[Record]:
        """Records newest first, without payloads."""
        fields = ("integration", "entity", "status", "route", "release", "variant", "reason")
        found = [
            msgspec.structs.replace(
                record, key=None, input=b"", gathered=(), context=None, attempts=(),
                prediction=None, reply=None, problem=None, trace=None,
            )
            for record in sorted(self.stored, key=lambda r: (r.asked_us, r.call_id), reverse=True)
            if all(getattr(wanted, f) in (None, getattr(record, f)) for f in fields)
            and (wanted.since_us is None or record.asked_us >= wanted.since_us)
        ]  # fmt: skip
        ids = [record.call_id for record in found]
        start = ids.index(wanted.before_id) + 1 if wanted.before_id in ids else 0
        return found[start : start + wanted.limit]

    def count(self, integration: str | None = None) -> int:
        """How many calls are stored."""
        return sum(integration in (None, record.integration) for record in self.stored)

    def claim(
        self,
        integration: str,
        caller: str,
        key: str,
        call_id: str,
        body_sha256: bytes,
        now_us: int,
        lease_us: int,
    ) -> Claim:
        """Take an idempotency key for `call_id`, or learn who holds it."""
        self._write()
        slot = (integration, caller, key)
        with self._lock:
            held = self._claims.get(slot)
            if held is not None:
                done = self._answered(held[0])
                if done or (held[2] > now_us and held[0] != call_id):
                    return Claim(held[0], held[1], done, mine=held[0] == call_id)
            self._claims[slot] = (call_id, body_sha256, now_us + lease_us)
            return Claim(call_id, body_sha256, done=False, mine=True)

    def _answered(self, call_id: str) -> bool:
        record = self._records.get(call_id)
        return record is not None and record.status is Status.ANSWERED

    def release_claim(self, integration: str, caller: str, key: str, call_id: str) -> None:
        """Give back a claim whose call was not answered."""
        self._write()
        with self._lock:
            held = self._claims.get((integration, caller, key))
            if held is not None and held[0] == call_id and not self._answered(call_id):
                del self._claims[integration, caller, key]


def _none(_: Record) -> bool:
    return False


class After(msgspec.Struct, frozen=True):
    """A step of a script that takes its time: what comes, after so many seconds."""

    seconds: float
    then: Prediction | Exception


class ScriptedPredictor:
    """A Predictor that gives one step of its script a question, the last one for ever.

    Args:
        *script: Predictions to give, errors to raise, or either of them `After` a while.
    """

    def __init__(self, *script: Prediction | Exception | After) -> None:
        self._script = script
        self.questions: list[Question] = []

    async def predict(self, question: Question) -> Prediction:
        """The next step of the script."""
        step = self._script[min(len(self.questions), len(self._script) - 1)]
        self.questions.append(question)
        if isinstance(step, After):
            await asyncio.sleep(step.seconds)
            step = step.then
        if isinstance(step, Exception):
            raise step
        return msgspec.structs.replace(step)

    async def close(self) -> None:
        """Nothing to let go of."""


class ScriptedModel:
    """A LoadedModel that scores rows by a function, and notes the size of every batch.

    Args:
        score: Score of one row; a RouteError that it raises is the model's.
        row_seconds: How long one row takes, as a runtime would have measured it.
        sleeps: Seconds that each run really takes.
    """

    signature = Signature()

    def __init__(
        self,
        score: Callable[[Mapping[str, Any]], float] = lambda _: 0.5,
        *,
        row_seconds: float = 0.0,
        sleeps: float = 0.0,
    ) -> None:
        self._score = score
        self._sleeps = sleeps
        self.row_seconds = row_seconds
        self.batches: list[int] = []
        self.threads: set[str] = set()

    def run(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """One prediction a row, in order."""
        self.batches.append(len(rows))
        self.threads.add(threading.current_thread().name)
        if self._sleeps:
            time.sleep(self._sleeps)
        try:
            return [Prediction(score=self._score(row)) for row in rows]
        except RouteError:
            self.batches.pop()  # a model refuses a bad row before it runs
            raise
