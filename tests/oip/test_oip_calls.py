"""How the rows of one request become calls: room, groups, traces, failures."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from splice.core.access import ANYONE
from splice.core.call import Attempt, Call, Reason, Record, Status, Trace
from splice.core.errors import Draining, ExhaustedError, InputMismatch, Overloaded
from splice.engine.engine import Answered
from splice.serve.oip.calls import Asker, Failure, RowCalls

ASKER = Asker(ANYONE, "oip")


class Desk:
    """A process whose calls wait until they are let go; `fails` are bodies that get no answer."""

    def __init__(self, *fails: bytes) -> None:
        self.draining = False
        self.engine: Any = self
        self.in_flight = self.most = 0
        self.calls: list[Call] = []
        self.go = asyncio.Event()
        self._fails = fails
        self._ids = itertools.count()

    def new_id(self) -> str:
        return f"id-{next(self._ids)}"

    async def answer(self, call: Call, line: Any) -> Answered:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        self.calls.append(call)
        await self.go.wait()
        self.in_flight -= 1
        attempt = Attempt("rule:r", "timeout" if call.body in self._fails else "answered", 0, 1)
        record = Record(
            call.id, "m", 1, call.asked_us, 1, Status.ANSWERED, Reason.FIRST, call.surface,
            attempts=(attempt,),
        )  # fmt: skip
        if call.body in self._fails:
            return Answered(record, ExhaustedError("m", got="nothing"))
        return Answered(record)


def line(decode: Any = lambda body, where: None) -> Any:
    return SimpleNamespace(
        name="m",
        where="m.input",
        deadline_s=5.0,
        request=SimpleNamespace(decode=decode),
        declaration=SimpleNamespace(entity=None),
    )


def bodies(count: int) -> list[bytes]:
    return [b"%d" % at for at in range(count)]


async def test_rows_are_begun_together_in_their_order() -> None:
    desk = Desk()
    desk.go.set()

    records = await RowCalls(desk, 1000).answered(line(), bodies(5), ASKER)

    assert [one.body for one in desk.calls] == bodies(5)
    assert not isinstance(records, Failure)
    assert [one.call_id for one in records] == [f"id-{at}" for at in range(5)]


async def test_more_rows_than_run_together_are_run_one_group_after_the_other() -> None:
    desk = Desk()
    desk.go.set()

    records = await RowCalls(desk, 40).answered(line(), bodies(25), ASKER)

    assert not isinstance(records, Failure)
    assert len(records) == 25
    assert desk.most <= 10


async def test_a_request_that_there_is_no_room_for_is_refused_before_any_row_runs() -> None:
    desk = Desk()
    calls = RowCalls(desk, 40)
    running = [asyncio.ensure_future(calls.answered(line(), bodies(10), ASKER)) for _ in range(6)]

    ended = await asyncio.wait(running, timeout=0.05)
    refused = [one.exception() for one in ended[0]]
    desk.go.set()
    answered = await asyncio.gather(*ended[1])

    # All six came in one tick: what the first four had not begun yet took its room all the same.
    assert [type(one) for one in refused] == [Overloaded] * 2
    assert len(answered) == 4
    assert len(desk.calls) == 40
    assert calls._room() == 40


async def test_the_first_failure_by_row_is_told_and_later_groups_do_not_run() -> None:
    desk = Desk(b"3", b"7")
    desk.go.set()

    failure = await RowCalls(desk, 40).answered(line(), bodies(25), ASKER)

    assert isinstance(failure, Failure)
    assert (failure.row, failure.call_id, failure.late) == (3, "id-3", True)
    assert failure.text.startswith("row 3: m: got nothing")
    assert len(desk.calls) == 10


async def test_a_row_that_is_wrong_keeps_all_from_running() -> None:
    def decode(body: bytes, where: str) -> None:
        if body == b"2":
            raise InputMismatch(f"{where}.x", got="nothing")

    desk = Desk()

    with pytest.raises(InputMismatch) as error:
        await RowCalls(desk, 1000).answered(line(decode), bodies(4), ASKER)

    assert error.value.where == "m.input[2].x"
    assert not desk.calls


async def test_each_row_has_a_span_of_its_own_in_the_callers_trace() -> None:
    spans = itertools.count()
    asker = Asker(ANYONE, "oip", trace=lambda: Trace("t", f"s-{next(spans)}"))
    desk = Desk()
    desk.go.set()

    await RowCalls(desk, 1000).answered(line(), bodies(3), asker)

    assert [one.trace and one.trace.span_id for one in desk.calls] == ["s-0", "s-1", "s-2"]


async def test_a_process_that_drains_takes_no_rows() -> None:
    desk = Desk()
    desk.draining = True

    with pytest.raises(Draining):
        await RowCalls(desk, 1000).answered(line(), bodies(1), ASKER)

    assert not desk.calls


async def test_a_row_that_ends_in_an_error_nobody_foresaw_is_a_failure_of_its_request() -> None:
    class Broken(Desk):
        async def answer(self, call: Call, line: Any) -> Answered:
            raise ZeroDivisionError

    failure = await RowCalls(Broken(), 1000).answered(line(), bodies(2), ASKER)

    assert isinstance(failure, Failure)
    assert (failure.row, failure.error.code) == (0, "splice_error")
