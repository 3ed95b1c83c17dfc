"""An engine over fakes, and lines made of predictors."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import splice
from splice.adapters.spools.files import FileSpool
from splice.core.call import Call, Reason, Record, Status
from splice.core.ids import uuid7
from splice.core.release import Manifest, PinnedRoute, Release
from splice.declare.reading import read
from splice.engine.engine import Answered, Engine
from splice.engine.line import Line, Step, line_of
from splice.engine.record import Recorder
from splice.ports.predictor import Predictor
from splice.ports.stores import RecordStore
from splice.testing.fakes import MemoryRecords


class Order(splice.Request):
    customer: splice.Entity
    amount: float


class Screening(splice.Reply):
    risk: float


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    deadline = 0.5
    routes = (splice.Rule(lambda _: 0.1),)

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(0.0 if prediction.score is None else prediction.score)


class HighOrders(Orders):
    """Find the orders that will not be paid, where a lost answer costs a lot."""

    risk = splice.Risk.HIGH


def line_for(
    cls: type[splice.Integration],
    *predictors: Predictor,
    timeouts: tuple[float, ...] = (),
    number: int = 1,
) -> Line:
    """The line of a class whose routes are these predictors."""
    declaration, mistakes = read(cls, ast.parse(""), "test.py", lambda path: path)
    assert declaration is not None, mistakes
    pinned = [
        PinnedRoute(
            label=f"route:{i}", kind="rule", position=i, version=f"version {i}",
            timeout_s=timeouts[i] if i < len(timeouts) else declaration.deadline_s,
        )
        for i in range(len(predictors))
    ]  # fmt: skip
    manifest = Manifest(
        integration=declaration.name, entry="test:Test", bundle="0" * 64, purpose="test",
        risk=str(declaration.risk), deadline_s=declaration.deadline_s, routes=tuple(pinned),
        request_schema={}, reply_schema={},
    )  # fmt: skip
    steps = tuple(
        Step(route, one, immediate=getattr(one, "immediate", False))
        for route, one in zip(pinned, predictors, strict=True)
    )
    return line_of(Release(number, manifest, 0, "test"), declaration, steps)


def call_of(line: Line, body: Any = None, *, key: str | None = None, caller: str = "test") -> Call:
    """A call of that line; its body is a valid order unless another is given."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(
        {"customer": "c-1", "amount": 5.0} if body is None else body
    )  # fmt: skip
    return Call(new_id(), line.name, raw, time.time_ns() // 1000, "test", caller, key)


_count = iter(range(1, 1 << 60))


def new_id() -> str:
    return uuid7(time.time_ns() // 1_000_000, next(_count))


def record_of(number: int, **changes: Any) -> Record:
    """A record that a recorder can be given."""
    plain = Record(
        call_id=uuid7(1_793_880_000_000 + number, number), integration="orders", release=1,
        asked_us=number, duration_us=1, status=Status.ANSWERED, reason=Reason.FIRST,
        surface="test", input=b"{}", reply=b"{}",
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


class House:
    """An engine over a ledger, in memory unless another is given, and a spool in a folder."""

    def __init__(self, folder: Path, store: RecordStore | None = None) -> None:
        self.store: Any = MemoryRecords() if store is None else store
        self.spool = FileSpool(folder)
        self.recorder = Recorder(self.store, self.spool, flush_seconds=0.002)
        self.engine = Engine(self.store, self.recorder)
        self.recorder.start()

    def close(self) -> None:
        if isinstance(self.store, MemoryRecords):
            self.store.failing = False
            self.store.resume()
        self.recorder.stop()

    def live(self, line: Line) -> Line:
        self.engine.lines[line.name] = line
        return line

    async def ask(self, line: Line, body: Any = None, **changes: Any) -> Answered:
        return await self.engine.answer(call_of(line, body, **changes), line)

    async def recorded(self, call_id: str) -> Record:
        await self.recorder.flush()
        record = self.store.get(call_id)
        assert record is not None
        return record


def until(true: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What it says once it says something true; a generous bound ends a test that never gets it."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if value := true():
            return value
        time.sleep(0.005)
    raise AssertionError("it did not come true")
