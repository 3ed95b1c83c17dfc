"""Asking: how the rows of a job get their lines. Here: in this process, some at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from splice.core.call import Call
from splice.core.errors import Draining, Overloaded, SpliceError, Stopped
from splice.engine.engine import Engine
from splice.engine.line import Line
from splice.ports.stores import RecordStore
from splice.serve.batch.lines import line_of_error, line_of_record
from splice.serve.batch.plan import Plan
from splice.serve.batch.rows import Row

Given: TypeAlias = "Callable[[int], dict[str, Any] | None]"
"""The line of a row, by its number, where that is there already; asked in the order of the rows."""

_BUSY_S = 0.05


class Todo(msgspec.Struct, array_like=True):
    """A row that is to be asked; or that has its line, for there is nothing to ask."""

    number: int
    call_id: str
    body: bytes
    key: int | str | None = None
    line: dict[str, Any] | None = None


class Answers(msgspec.Struct):
    """The lines of a chunk of rows, in their order; `known` were in the ledger already."""

    lines: list[dict[str, Any]]
    known: int
    done: float = 0.0


class Asking(Protocol):
    """How rows are asked: the engine of a batch. Whoever does it, the lines are the same."""

    def answers(
        self, plan: Plan, chunks: Iterator[list[Row]], given: Given | None
    ) -> AsyncGenerator[Answers]:
        """The answers of each chunk, in their order; each is in the ledger when it comes.

        Raises:
            RefusedError: The calls may not run now; what came before is whole.
        """
        ...


class LocalAsking:
    """Asks in this process; see `Asking`.

    Args:
        engine: Answers the rows.
        records: The ledger, for rows that an earlier run has answered.
        line: The release that the whole job asks, whatever goes live meanwhile.
        concurrency: Rows asked at once.
    """

    def __init__(
        self, engine: Engine, records: RecordStore, line: Line, *, concurrency: int = 64
    ) -> None:
        self._engine = engine
        self._records = records
        self._line = line
        self._concurrency = concurrency
        self.ending = False
        """Begin no further call."""

    async def answers(
        self, plan: Plan, chunks: Iterator[list[Row]], given: Given | None
    ) -> AsyncGenerator[Answers]:
        """See `Asking`."""
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            answers = await self.ask(todo_of(plan, chunk, given))
            answers.done = chunk[-1].done
            yield answers

    async def ask(self, todo: Sequence[Todo]) -> Answers:
        """The lines of some rows.

        Raises:
            RefusedError: They may not be asked now.
        """
        sought = [one.call_id for one in todo if one.line is None]
        known = await asyncio.to_thread(self._records.get_many, sought)
        gate = asyncio.Semaphore(self._concurrency)

        async def line(one: Todo) -> dict[str, Any]:
            if one.line is not None:
                return one.line
            if (record := known.get(one.call_id)) is not None:
                return line_of_record(one.number, record, one.key)
            async with gate:
                return await self.ask_one(one)

        asked = asyncio.gather(*map(line, todo))
        try:
            # A job that is told to end begins no call, and lets those that run end: cut short, they
            # would be recorded as failed, and never asked again.
            lines = await asyncio.shield(asked)
        except BaseException:
            self.ending = True
            raise
        await self._engine.recorder.flush()
        return Answers(lines, len(known))

    async def ask_one(self, one: Todo) -> dict[str, Any]:
        """The line of one row."""
        while not self.ending:
            call = Call(one.call_id, self._line.name, one.body, time.time_ns() // 1000, "batch")
            if (live := self._engine.lines.get(self._line.name)) is not None:
                self._line.stopped = live.stopped  # the switch is for every release
                self._line.ended = live.ended
            try:
                answered = await self._engine.answer(call, self._line)
            except (Stopped, Draining):  # the rows that are left are for a later run
                raise
            except Overloaded:  # a batch has time: let the ledger catch up
                await asyncio.sleep(_BUSY_S)
                continue
            except SpliceError as error:
                return line_of_error(one.number, "failed", error, one.key)
            if answered.error is not None and answered.record.reply is not None:
                return line_of_error(one.number, "failed", answered.error, one.key)
            return line_of_record(one.number, answered.record, one.key)
        raise asyncio.CancelledError


def todo_of(plan: Plan, chunk: Sequence[Row], given: Given | None) -> list[Todo]:
    """What is to be done with each row of a chunk."""
    found: list[Todo] = []
    for row in chunk:
        there = None if given is None else given(row.number)
        if row.wrong is not None:
            there = line_of_error(row.number, "invalid", row.wrong, row.key)
        found.append(Todo(row.number, plan.call_id(row.name), row.body, row.key, there))
    return found
