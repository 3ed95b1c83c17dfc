"""The calls of one request: all rows are read before any runs, then all run together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from splice.core.access import Principal
from splice.core.call import Call, Record, Trace
from splice.core.errors import Draining, GatherError, InputMismatch, Overloaded, SpliceError
from splice.engine.admit import entity_of
from splice.engine.engine import Answered
from splice.engine.faults import faults
from splice.engine.line import Line
from splice.serve.wire import GatewayDesk

_TOGETHER = 256
"""Calls of one request at once, at most: four batches of a model, and a quarter of what a process
takes by default, so that one caller with many rows does not shut out the others."""

_WAIT_SECONDS = 0.005


class ReadyDesk(GatewayDesk, Protocol):
    """The process behind a surface that is asked whether it is ready."""

    def not_ready(self) -> list[str]:
        """What keeps the process from answering."""
        ...


class Asker(msgspec.Struct):
    """Who asks for the rows of one request, and how.

    `trace` gives each call a span of its own in the caller's trace. `key` is an idempotency key.
    """

    principal: Principal
    surface: str
    key: str | None = None
    trace: Callable[[], Trace | None] | None = None


class Failure(msgspec.Struct):
    """What a request with a failed row gets; `call_id` is empty where that row never ran."""

    error: SpliceError
    call_id: str = ""
    row: int | None = None  # None where there was only one
    late: bool = False  # the deadline passed, or every route that was tried took too long

    @property
    def text(self) -> str:
        """The error in one line, with its row."""
        return str(self.error) if self.row is None else f"row {self.row}: {self.error}"


class RowCalls:
    """Makes calls of rows, and waits for them.

    Args:
        desk: The process behind them.
        max_in_flight: Calls that the process runs at once.
    """

    def __init__(self, desk: GatewayDesk, max_in_flight: int) -> None:
        self._desk = desk
        self._max_in_flight = max_in_flight
        self._together = max(1, min(_TOGETHER, max_in_flight // 4))
        self._starting = 0  # rows that are let in, and whose calls have not begun yet

    async def answered(
        self, line: Line, bodies: Sequence[bytes], asker: Asker
    ) -> list[Record] | Failure:
        """The records of the rows, in their order; the first failure by row where any failed.

        Raises:
            RequestError: A row is not of the request type, or several rows have one idempotency
                key; none has run.
            Draining: The process is shutting down.
            Overloaded: There is no room for so many; none has run.
        """
        if self._desk.draining:
            raise Draining("server", got="a new call while shutting down")
        several = len(bodies) > 1
        if several:
            if asker.key is not None:
                raise InputMismatch(
                    f"{line.name}.idempotency-key",
                    got=f"one key for {len(bodies)} rows",
                    promised="one row for one key",
                    mend="send the rows in requests of their own, each with its own key",
                )
            _read_all(line, bodies)
        asked_us = time.time_ns() // 1000
        calls = [
            Call(
                self._desk.new_id(), line.name, body, asked_us, asker.surface,
                asker.principal.caller, asker.key, None if asker.trace is None else asker.trace(),
                asker.principal,
            )
            for body in bodies
        ]  # fmt: skip
        if several:
            return await self._several(line, calls)
        ended = await self._ended(line, calls[0])
        if isinstance(ended, Failure) or ended.error is not None:
            return _failure(line, ended, None)
        return [ended.record]

    async def _several(self, line: Line, calls: list[Call]) -> list[Record] | Failure:
        records: list[Record] = []
        for start in range(0, len(calls), self._together):
            group = calls[start : start + self._together]
            if start == 0:
                self._let_in(line, len(group))
            else:
                await self._let_in_later(line, len(group))
            all_ended = await asyncio.gather(*[self._begun(line, call) for call in group])
            for row, ended in enumerate(all_ended, start):
                if isinstance(ended, Failure) or ended.error is not None:
                    return _failure(line, ended, row)
                records.append(ended.record)
        return records

    def _room(self) -> int:
        return self._max_in_flight - self._desk.engine.in_flight - self._starting

    def _let_in(self, line: Line, rows: int) -> None:
        """Keeps room for all rows, so that a busy process refuses all of them and not some."""
        if rows > self._room():
            raise Overloaded(
                line.name,
                got=f"{rows} rows, and room for {max(self._room(), 0)} calls",
                mend="try again in a moment",
            )
        self._starting += rows

    async def _let_in_later(self, line: Line, rows: int) -> None:
        """The same for rows whose request has begun: they wait for room, within the deadline."""
        until = time.monotonic() + line.deadline_s
        while rows > self._room() and time.monotonic() < until:
            await asyncio.sleep(_WAIT_SECONDS)
        self._starting += rows

    async def _begun(self, line: Line, call: Call) -> Answered | Failure:
        self._starting -= 1
        return await self._ended(line, call)

    async def _ended(self, line: Line, call: Call) -> Answered | Failure:
        try:
            return await self._desk.engine.answer(call, line)
        except SpliceError as error:
            return Failure(error)
        except Exception as error:  # noqa: BLE001 - the call ends here, and its caller is told
            faults.told(f"a call of {line.name}", error)
            unforeseen = SpliceError(
                line.name, got="an error that nobody foresaw", mend="the log of the server tells"
            )
            return Failure(unforeseen)


def _read_all(line: Line, bodies: Sequence[bytes]) -> None:
    """Raises for the first row that is not of the request type."""
    for row, body in enumerate(bodies):
        where = f"{line.where}[{row}]"
        try:
            request = line.request.decode(body, where)
            entity_of(line, request)
        except InputMismatch as error:
            if not error.where.startswith(where):
                error.where = error.where.replace(line.where, where, 1)
            raise


def _failure(line: Line, ended: Answered | Failure, row: int | None) -> Failure:
    if isinstance(ended, Failure):
        return msgspec.structs.replace(ended, row=row)
    if ended.error is None:
        raise ValueError("an answer is no failure")
    record = ended.record
    timeouts = [one.ended == "timeout" for one in record.attempts]
    # A busy loop's timers may fire before the clock says that the deadline has come.
    gathering = isinstance(ended.error, GatherError) and ended.error.late
    in_time = record.duration_us < line.deadline_s * 1e6
    late = gathering or not in_time or (bool(timeouts) and all(timeouts))
    return Failure(ended.error, record.call_id, row, late)
