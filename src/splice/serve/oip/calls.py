"""The calls of one request: all rows are read before any runs, then all run together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from splice.core.access import Principal
from splice.core.call import Call, Record, Trace
from splice.core.errors import Draining, InputMismatch, SpliceError
from splice.engine.admit import entity_of
from splice.engine.engine import Answered
from splice.engine.faults import faults
from splice.engine.line import Line
from splice.serve.wire import GatewayDesk

_TOGETHER = 256
"""Calls of one request at once: four batches of a model, and a quarter of what a process takes by
default, so that one caller with many rows does not shut out the others."""


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


async def answered_rows(
    desk: GatewayDesk, line: Line, bodies: Sequence[bytes], asker: Asker
) -> list[Record] | Failure:
    """The records of the rows, in their order; the first failure by row where any failed.

    Raises:
        RequestError: A row is not of the request type, or several rows have one idempotency key;
            none has run.
        Draining: The process is shutting down.
    """
    if desk.draining:
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
            desk.new_id(), line.name, body, asked_us, asker.surface, asker.principal.caller,
            asker.key, None if asker.trace is None else asker.trace(), asker.principal,
        )
        for body in bodies
    ]  # fmt: skip
    if not several:
        ended = await _ended(desk, line, calls[0])
        if isinstance(ended, Failure) or ended.error is not None:
            return _failure(line, ended, None)
        return [ended.record]
    records: list[Record] = []
    for start in range(0, len(calls), _TOGETHER):
        group = calls[start : start + _TOGETHER]
        for row, ended in enumerate(
            await asyncio.gather(*[_ended(desk, line, call) for call in group]), start
        ):
            if isinstance(ended, Failure) or ended.error is not None:
                return _failure(line, ended, row)
            records.append(ended.record)
    return records


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


async def _ended(desk: GatewayDesk, line: Line, call: Call) -> Answered | Failure:
    try:
        return await desk.engine.answer(call, line)
    except SpliceError as error:
        return Failure(error)
    except Exception as error:  # noqa: BLE001 - the call ends here, and its caller is told
        faults.told(f"a call of {line.name}", error)
        return Failure(
            SpliceError(
                line.name, got="an error that nobody foresaw", mend="the log of the server tells"
            )
        )


def _failure(line: Line, ended: Answered | Failure, row: int | None) -> Failure:
    if isinstance(ended, Failure):
        return msgspec.structs.replace(ended, row=row)
    if ended.error is None:
        raise ValueError("an answer is no failure")
    record = ended.record
    timeouts = [one.ended == "timeout" for one in record.attempts]
    late = record.duration_us >= line.deadline_s * 1e6 or (bool(timeouts) and all(timeouts))
    return Failure(ended.error, record.call_id, row, late)
