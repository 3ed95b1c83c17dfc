"""Batched: concurrent questions to one model are run together; a lone one never waits.

Questions that arrive in one tick of the event loop make one batch, run at the tick's end; where the
batch before had company, in two ticks. There is no timer: a window of 1 ms would cost every caller
of an idle model more than that. A model whose
row takes longer than `INLINE_SECONDS` runs in a thread of its own, and what arrives meanwhile makes
the next batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from splice.core.call import Prediction
from splice.core.errors import RouteCrashed, RouteError
from splice.ports.predictor import Question
from splice.ports.runtimes import LoadedModel

INLINE_SECONDS = 0.001
"""Handing a batch to a thread and back costs about 0.1 ms; a row that takes ten times that would
hold up the loop more than the hand-over does."""

_RUN_SECONDS = 0.01
_MOST_TOGETHER = 1024
"""Rows that are there already go through a quick model in runs of so many seconds, or so many
rows, where that is more than it gets of those that come one by one."""


def _step_back() -> None:
    """The last among the threads of this process, where the system counts threads so (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


class Batched:
    """A Predictor over a model in this process.

    Args:
        model: The loaded model.
        label: Names it in errors.
        max_batch: Rows in one run, at most.
        nano_per_second: What a second of machine time costs, in billionths of the currency; None
            where nobody said, and then the cost of an answer is unknown.
        file: What the model calls itself in errors: they name the label instead.
        aside: Run it in a thread whatever a row takes, and behind everything else: nobody waits
            for its answers.
    """

    def __init__(
        self,
        model: LoadedModel,
        label: str,
        *,
        max_batch: int = 64,
        nano_per_second: float | None = None,
        aside: bool = False,
        file: str = "",
    ) -> None:
        self._model = model
        self._label = label
        self._file = file or label
        self._max_batch = max_batch
        self._nano_per_second = nano_per_second
        self._waiting: list[tuple[Question, asyncio.Future[Prediction]]] = []
        self._scheduled = False
        self._looked = False
        self._crowd = 0  # questions in the batch before
        self._loop: asyncio.AbstractEventLoop | None = None
        self.immediate = model.row_seconds < INLINE_SECONDS and not aside
        self.together = max_batch  # rows that are there already, in one run
        if self.immediate and model.row_seconds > 0:  # else nobody knows how quick it is
            quick = min(round(_RUN_SECONDS / model.row_seconds), _MOST_TOGETHER)
            self.together = max(max_batch, quick)
        self._thread = (
            None
            if self.immediate
            else ThreadPoolExecutor(1, f"run {label}", initializer=_step_back if aside else None)
        )

    def predict(self, question: Question) -> asyncio.Future[Prediction]:
        """A future of the prediction, set when the batch has run."""
        loop = self._loop
        if loop is None or not loop.is_running():
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Prediction] = loop.create_future()
        self._waiting.append((question, future))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._run_waiting, loop)
        return future

    def run_now(
        self, contexts: Sequence[Mapping[str, Any]]
    ) -> tuple[list[Prediction | RouteError], float, int | None]:
        """One result a context, the seconds it took, and what each cost; for who has them all.

        Nobody waits in between: a quick model gets them in fewer, longer runs.
        """
        results: list[Prediction | RouteError] = []
        took = 0.0
        for start in range(0, len(contexts), self.together):
            some, seconds = self._run(contexts[start : start + self.together])
            results += some
            took += seconds
        return results, took, self._cost(took, len(contexts))

    def _cost(self, took: float, rows: int) -> int | None:
        rate = self._nano_per_second
        return None if rate is None else int(took * rate / rows)

    def _looks_again(self, waiting: int) -> bool:
        """Whether to wait one more tick, because the batch before this one had company.

        Callers who were answered together ask again in two or three ticks, not in one: without
        this, batches stay half as large as they could be (16 of 32 connections, measured).
        """
        if self._looked or self._crowd < 2 or waiting >= 2 * self._crowd:
            self._looked, self._crowd = False, waiting
            return False
        self._looked = True
        return True

    def _run_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self._waiting
        if self._thread is None:
            if self._looks_again(len(waiting)):
                loop.call_soon(self._run_waiting, loop)
                return
            self._waiting, self._scheduled = [], False
            for start in range(0, len(waiting), self._max_batch):
                batch = waiting[start : start + self._max_batch]
                self._settle(batch, *self._run([question.context for question, _ in batch]))
            return
        # Nobody waits for these any more: leave them out before a slow model is asked.
        waiting = [pair for pair in waiting if not pair[1].done()]
        batch, self._waiting = waiting[: self._max_batch], waiting[self._max_batch :]
        if not batch:
            self._scheduled = False
            return
        running = loop.run_in_executor(
            self._thread, self._run, [question.context for question, _ in batch]
        )

        def finished(done: asyncio.Future[tuple[Sequence[Prediction | RouteError], float]]) -> None:
            if not done.cancelled():
                self._settle(batch, *done.result())
            self._run_waiting(loop)

        running.add_done_callback(finished)

    def _run(
        self, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[Sequence[Prediction | RouteError], float]:
        """One result a row, and the seconds it took. A bad row spoils only its own answer."""
        started = time.perf_counter()
        results = self._run_rows(rows)
        if len(results) != len(rows):  # all of them were refused because of one
            results = [self._run_rows([row])[0] for row in rows]
        return results, time.perf_counter() - started

    def _run_rows(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Prediction | RouteError]:
        """One result a row, or one error for all of them."""
        try:
            results = self._model.run(rows)
        except RouteError as error:
            error.where = error.where.replace(self._file, self._label) or self._label
            return [error]
        except Exception as error:  # noqa: BLE001 - a runtime's own fault must not reach the loop
            crash = RouteCrashed(self._label, got=f"{type(error).__name__}: {error}")
            return [crash] * len(rows)
        if len(results) != len(rows):
            crash = RouteCrashed(self._label, got=f"{len(results)} answers to {len(rows)} rows")
            return [crash] * len(rows)
        return results

    def _settle(
        self,
        batch: Sequence[tuple[Question, asyncio.Future[Prediction]]],
        results: Sequence[Prediction | RouteError],
        took: float,
    ) -> None:
        cost = self._cost(took, len(batch))
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Prediction):
                result.cost_nano = cost
                future.set_result(result)
            else:
                future.set_exception(result)

    async def close(self) -> None:
        """Stop the thread, if there is one."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
