"""A batch job: chunks of rows, each recorded, then written whole; a kill loses and doubles nothing.

Every row has a call id that follows from the job and its number, or its key. What the ledger holds
of a chunk that was cut short is not asked again, and what is asked again has the same id, which the
ledger keeps once.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from splice.core.errors import SettingsError, SpliceError
from splice.engine.line import Line
from splice.serve.batch.asking import Answers, Asking, Given
from splice.serve.batch.lines import alone, cannot, write_whole
from splice.serve.batch.plan import Plan, Result
from splice.serve.batch.rows import Last, Row, Rows
from splice.serve.batch.targets import Target, lines_of

CHUNK = 1000

Progress = Callable[[float, Result], None]


class Job:
    """One integration over many rows.

    Args:
        line: The release that the whole job asks, whatever goes live meanwhile.
        source: Where the requests are.
        target: Where the replies go.
        asking: How the rows are asked.
    """

    def __init__(self, line: Line, source: Rows, target: Target, asking: Asking) -> None:
        self._line = line
        self._source = source
        self._target = target
        self._asking = asking
        self.parts = target.parts

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
        begun = self._source.begin()
        plan = Plan(
            integration=self._line.name,
            release=self._line.release.number,
            input=begun.name,
            input_size=begun.size,
            input_sha256=begun.digest,
            created_ms=time.time_ns() // 1_000_000,
            ignore_extra=ignore_extra,
            bounds=begun.bounds,
        )
        if earlier is None:
            self._target.begin(plan, resumed=False)
            try:
                # Parts without a plan are what a kill left of a job that had ended.
                shutil.rmtree(self.parts, ignore_errors=True)
                self.parts.mkdir()
                write_whole(self.parts / "job.json", msgspec.json.encode(plan))
            except OSError as error:
                raise cannot(self.parts, error) from error
            return plan
        options = (plan.integration, plan.ignore_extra)
        if options != (earlier.integration, earlier.ignore_extra) or not begun.alike(earlier.begun):
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
        self._target.begin(earlier, resumed=True)
        return earlier

    async def run(self, plan: Plan, progress: Progress) -> Result:
        """Asks every row that is not answered yet, then puts the parts together as the target.

        Args:
            plan: From `plan()`.
            progress: Is told the share of the input that is done, and the result so far.

        Raises:
            SettingsError: The input cannot be read, the target cannot be written, or another
                process works at this job.
            RefusedError: The integration was stopped.
        """
        with alone(self.parts):
            return await self.answer_all(plan, progress)

    async def answer_all(
        self, plan: Plan, progress: Progress, given: Given | None = None
    ) -> Result:
        """The same for whoever has the folder for himself already, with lines that are `given`."""
        result, started = Result(), time.monotonic()
        parts = sorted(self.parts.glob("[0-9]*.jsonl"))
        last = await asyncio.to_thread(self._count, parts, result)
        chunks = _chunks(self._source.read(plan.begun, last), CHUNK)
        try:
            first = await asyncio.to_thread(next, chunks, None)
        except SpliceError:
            if not parts:  # nothing to go on with: leave nothing behind
                shutil.rmtree(self.parts, ignore_errors=True)
            raise
        chunks = chain([] if first is None else [first], chunks)
        number = int(parts[-1].stem) + 1 if parts else 0
        async with aclosing(self._asking.answers(plan, chunks, given)) as answers:
            async for some in answers:
                await asyncio.to_thread(self._keep, self.parts / f"{number:08d}.jsonl", some)
                number += 1
                result.resumed += some.known
                for line in some.lines:
                    result.count(line)
                progress(some.done, result)
        await asyncio.to_thread(self._end, plan)
        result.seconds = time.monotonic() - started
        return result

    def _count(self, parts: list[Path], result: Result) -> Last | None:
        """Counts the lines of earlier runs; gives the last of them."""
        line: dict[str, Any] | None = None
        for line in lines_of(parts):
            result.count(line)
        result.resumed = result.rows
        return None if line is None else Last(line["row"], line.get("key"))

    def _keep(self, part: Path, answers: Answers) -> None:
        # First there, then here: what has a part is not written again.
        self._target.add(answers.lines)
        whole = b"".join(msgspec.json.encode(one) + b"\n" for one in answers.lines)
        try:
            write_whole(part, whole)
        except OSError as error:
            raise cannot(part, error) from error

    def _end(self, plan: Plan) -> None:
        self._source.end(plan.begun)
        # A kill while they are put together leaves a whole.jsonl: it is no part.
        self._target.end(sorted(self.parts.glob("[0-9]*.jsonl")))
        shutil.rmtree(self.parts, ignore_errors=True)


def _chunks(source: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while chunk := list(islice(source, size)):
        yield chunk
