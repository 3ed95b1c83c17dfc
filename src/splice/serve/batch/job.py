"""A batch job: chunks of rows, each recorded, then written whole; a kill loses and doubles nothing.

Every row has a call id that follows from the job and its number. What the ledger holds of a chunk
that was cut short is not asked again, and what is asked again has the same id, which the ledger
keeps once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import msgspec

from splice.core.call import Call, Status
from splice.core.errors import Draining, Overloaded, SettingsError, SpliceError, Stopped
from splice.core.ids import derived_uuid7
from splice.core.units import NANO
from splice.engine.engine import Engine
from splice.engine.line import Line
from splice.ports.stores import RecordStore
from splice.serve.batch.files import Row, format_of, pyarrow_parquet, rows, write_table
from splice.serve.batch.lines import cannot, line_of_error, line_of_record, write_whole

CHUNK = 1000
_FIXED = ("row", "call_id", "status", "route", "reason", "cost", "error")


class Plan(msgspec.Struct, frozen=True):
    """What a job does. It is kept beside its parts, so that a later run can go on with it."""

    integration: str
    release: int
    input: str
    input_size: int
    input_sha256: str
    created_ms: int
    ignore_extra: bool = False

    @property
    def name(self) -> str:
        """The same job has the same name."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()

    def call_id(self, row: int) -> str:
        """The id of the call of a row, the same in every run."""
        return derived_uuid7(self.created_ms, self.name, str(row))


class Result(msgspec.Struct):
    """How a job ended: rows by status, and how many came from the ledger instead of being asked."""

    rows: int = 0
    answered: int = 0
    failed: int = 0
    invalid: int = 0
    resumed: int = 0
    cost_nano: int | None = 0
    seconds: float = 0.0
    pending: int = 0  # rows that a provider has, or is still to get
    waiting: str = ""  # what the next rows wait for

    def count(self, line: dict[str, Any]) -> None:
        """One more row, by its line."""
        self.rows += 1
        status = line["status"]
        if status == Status.ANSWERED:
            self.answered += 1
        elif status == "invalid":
            self.invalid += 1
        else:
            self.failed += 1
        cost = line.get("cost")
        if status == Status.ANSWERED and cost is None:
            self.cost_nano = None
        elif cost and self.cost_nano is not None:
            self.cost_nano += round(cost * NANO)


class Job:
    """One integration over one file.

    Args:
        engine: Answers the rows.
        records: The ledger, for rows that an earlier run has answered.
        line: The release that the whole job asks, whatever goes live meanwhile.
        source: File of requests: CSV, JSONL or Parquet.
        target: File of replies, in any of the three.
        concurrency: Rows asked at once.
    """

    def __init__(
        self,
        engine: Engine,
        records: RecordStore,
        line: Line,
        *,
        source: Path,
        target: Path,
        concurrency: int = 64,
    ) -> None:
        self._engine = engine
        self._records = records
        self._line = line
        self._source = source
        self._target = target
        self._concurrency = concurrency
        self._ending = False
        self.parts = target.with_name(target.name + ".parts")
        for file in (source, target):
            if format_of(file) == ".parquet":
                pyarrow_parquet()  # before the first row is asked and paid, not after the last
        if target.is_dir() or target.resolve() == source.resolve():
            raise SettingsError(
                str(target),
                got="a folder" if target.is_dir() else "the input itself",
                promised="a file to write the replies to",
                mend="name another",
            )

    def earlier(self) -> Plan | None:
        """The plan of a run that was cut short, or None."""
        try:
            return msgspec.json.decode((self.parts / "job.json").read_bytes(), type=Plan)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise cannot(self.parts, error) from error
        except msgspec.MsgspecError as error:
            raise SettingsError(
                self.parts.name, got=str(error), mend="remove the folder to start afresh"
            ) from error

    def plan(self, *, ignore_extra: bool = False) -> Plan:
        """The plan of this run: the earlier one where the input is still the same.

        Raises:
            SettingsError: The input changed since, or an earlier run was of something else.
        """
        earlier = self.earlier()
        try:
            digest = _sha256(self._source)
            size = self._source.stat().st_size
        except OSError as error:
            raise SettingsError(self._source.name, got=str(error), mend="name a file") from error
        plan = Plan(
            integration=self._line.name,
            release=self._line.release.number,
            input=self._source.name,
            input_size=size,
            input_sha256=digest,
            created_ms=time.time_ns() // 1_000_000,
            ignore_extra=ignore_extra,
        )
        if earlier is None:
            try:
                # Parts without a plan are what a kill left of a job that had ended.
                shutil.rmtree(self.parts, ignore_errors=True)
                self.parts.mkdir()
                write_whole(self.parts / "job.json", msgspec.json.encode(plan))
            except OSError as error:
                raise cannot(self.parts, error) from error
            return plan
        same = msgspec.structs.replace(plan, created_ms=earlier.created_ms, release=earlier.release)
        if same != earlier:
            raise SettingsError(
                self.parts.name,
                got=f"a run of {earlier.integration} over another {earlier.input}",
                promised="the same integration, input and options as the run it goes on with",
                mend=f"put them back, or remove {self.parts.name} to start afresh",
            )
        if earlier.release != plan.release:
            raise SettingsError(
                self.parts.name,
                got=f"a run by release {earlier.release}",
                promised=f"release {plan.release}",
                mend=f"go on with --release {earlier.release}, or remove {self.parts.name}",
            )
        return earlier

    async def run(
        self,
        plan: Plan,
        progress: Callable[[float, Result], None],
        given: Callable[[int], dict[str, Any] | None] | None = None,
    ) -> Result:
        """Asks every row that is not answered yet, then puts the parts together as the target.

        Args:
            plan: From `plan()`.
            progress: Is told the share of the input that is done, and the result so far.
            given: The line of a row, by its number, where that is there already; it is asked for
                every row in their order.

        Raises:
            SettingsError: The input cannot be read, or the target cannot be written.
        """
        result, started = Result(), time.monotonic()
        where = f"{self._line.name}.input"
        source = rows(self._source, self._line.request, where, ignore_extra=plan.ignore_extra)
        chunks = _chunks(source, CHUNK)
        try:
            first = next(chunks, None)
        except SettingsError:
            if not list(self.parts.glob("*.jsonl")):  # nothing to go on with: leave nothing behind
                shutil.rmtree(self.parts, ignore_errors=True)
            raise
        for number, chunk in enumerate(chain([first] if first else [], chunks)):
            part = self.parts / f"{number:08d}.jsonl"
            if part.exists():
                lines = [msgspec.json.decode(text) for text in part.read_bytes().splitlines()]
                result.resumed += len(lines)
            else:
                there = {row.number: given(row.number) for row in chunk} if given else {}
                lines = await self._ask(plan, chunk, result, there)
                whole = b"".join(msgspec.json.encode(one) + b"\n" for one in lines)
                try:
                    write_whole(part, whole)
                except OSError as error:
                    raise cannot(part, error) from error
            for one in lines:
                result.count(one)
            progress(chunk[-1].done, result)
        if self._source.stat().st_size != plan.input_size:
            raise SettingsError(
                self._source.name,
                got="a file that changed while it was read",
                mend=f"remove {self.parts.name} to start afresh",
            )
        try:
            await asyncio.to_thread(self._finish)
        except OSError as error:
            raise cannot(self._target, error) from error
        result.seconds = time.monotonic() - started
        return result

    async def _ask(
        self,
        plan: Plan,
        chunk: Sequence[Row],
        result: Result,
        there: Mapping[int, dict[str, Any] | None],
    ) -> list[dict[str, Any]]:
        ids = [plan.call_id(row.number) for row in chunk]
        sought = [one for row, one in zip(chunk, ids, strict=True) if not there.get(row.number)]
        known = await asyncio.to_thread(self._records.get_many, sought)
        result.resumed += len(known)
        gate = asyncio.Semaphore(self._concurrency)

        async def one(row: Row, call_id: str) -> dict[str, Any]:
            if row.wrong is not None:
                return line_of_error(row.number, "invalid", row.wrong)
            if (line := there.get(row.number)) is not None:
                return line
            if (record := known.get(call_id)) is not None:
                return line_of_record(row.number, record)
            async with gate:
                return await self._ask_one(row, call_id)

        asked = asyncio.gather(*(one(r, i) for r, i in zip(chunk, ids, strict=True)))
        try:
            # A job that is told to end begins no call, and lets those that run end: cut short, they
            # would be recorded as failed, and never asked again.
            lines = await asyncio.shield(asked)
        except BaseException:
            self._ending = True
            raise
        await self._engine.recorder.flush()
        return lines

    async def _ask_one(self, row: Row, call_id: str) -> dict[str, Any]:
        while not self._ending:
            call = Call(call_id, self._line.name, row.body, time.time_ns() // 1000, "batch")
            if (live := self._engine.lines.get(self._line.name)) is not None:
                self._line.stopped = live.stopped  # the switch is for every release
            try:
                answered = await self._engine.answer(call, self._line)
            except (Stopped, Draining):  # the rows that are left are for a later run
                raise
            except Overloaded:  # a batch has time: let the ledger catch up
                await asyncio.sleep(0.05)
                continue
            except SpliceError as error:
                return line_of_error(row.number, "failed", error)
            if answered.error is not None and answered.record.reply is not None:
                return line_of_error(row.number, "failed", answered.error)
            return line_of_record(row.number, answered.record)
        raise asyncio.CancelledError

    def _finish(self) -> None:
        ending = format_of(self._target)
        # A kill while they are put together leaves a whole.jsonl: it is no part.
        parts = sorted(self.parts.glob("[0-9]*.jsonl"))
        whole = self.parts / f"whole{ending}"
        if ending == ".jsonl":
            with whole.open("wb") as out:
                for part in parts:
                    with part.open("rb") as text:
                        shutil.copyfileobj(text, out)
        else:
            names = dict.fromkeys(name for line in _lines(parts) for name in _flat(line))
            columns = [*_FIXED, *(name for name in names if name not in _FIXED)]
            write_table((_flat(line) for line in _lines(parts)), whole, columns)
        with whole.open("rb") as out:
            os.fsync(out.fileno())
        whole.replace(self._target)
        shutil.rmtree(self.parts, ignore_errors=True)


def _chunks(source: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while chunk := list(islice(source, size)):
        yield chunk


def _sha256(file: Path) -> str:
    with file.open("rb") as raw:
        return hashlib.file_digest(raw, "sha256").hexdigest()


def _lines(parts: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for part in parts:
        with part.open("rb") as text:
            for line in text:
                yield msgspec.json.decode(line)


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    reply = line.get("reply")
    flat = {k: v for k, v in line.items() if k != "reply"}
    if isinstance(reply, dict):
        for name, value in cast("dict[str, Any]", reply).items():
            flat[name if name not in _FIXED else f"reply_{name}"] = value
    elif reply is not None:
        flat["reply"] = reply
    return flat
