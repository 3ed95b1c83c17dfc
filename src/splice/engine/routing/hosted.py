"""Hosted: questions to a model that runs elsewhere go together, several runs at once.

Questions of one tick of the event loop make one run. Where every lane is taken, what comes
meanwhile makes the next one: the window is as wide as the model is busy, and none when it is idle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from splice.core.call import Prediction
from splice.core.errors import RouteCrashed, RouteError, RouteTimeout
from splice.ports.hosts import HostedModel
from splice.ports.predictor import Question

_Waiting = tuple[Question, "asyncio.Future[Prediction]"]


class Hosted:
    """A Predictor over a hosted model.

    Args:
        model: The model.
        label: Names it in errors.
        max_batch: Rows in one run, at most.
        nano_per_second: What a second of its time costs, in billionths of the currency; None where
            nobody said, and then the cost of an answer is unknown.
    """

    immediate = False

    def __init__(
        self,
        model: HostedModel,
        label: str,
        *,
        max_batch: int = 64,
        nano_per_second: float | None = None,
    ) -> None:
        self.model = model
        self._label = label
        self._max_batch = max_batch
        self._nano_per_second = nano_per_second
        self._waiting: list[_Waiting] = []
        self._scheduled = False
        self._running: set[asyncio.Task[None]] = set()

    def predict(self, question: Question) -> asyncio.Future[Prediction]:
        """A future of the prediction, set when the run has come back."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Prediction] = loop.create_future()
        self._waiting.append((question, future))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._send, loop)
        return future

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        # Nobody waits for these any more: leave them out before the model is asked.
        waiting = [one for one in self._waiting if not one[1].done()]
        while waiting and len(self._running) < self.model.lanes:
            batch, waiting = waiting[: self._max_batch], waiting[self._max_batch :]
            task = loop.create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._ran)
        self._waiting = waiting

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting and not self._scheduled:
            self._send(task.get_loop())

    async def _run(self, batch: Sequence[_Waiting]) -> None:
        started = time.monotonic()
        left = max(question.deadline for question, _ in batch) - started
        rows = [question.context for question, _ in batch]
        results: Sequence[Prediction | RouteError]
        try:
            if left <= 0:
                raise RouteTimeout(self._label, got="no time left")
            trace = batch[0][0].trace if len(batch) == 1 else None
            results = await self.model.infer(rows, left, trace)
            if len(results) != len(rows):
                got = f"{len(results)} answers to {len(rows)} rows"
                results = [RouteCrashed(self._label, got=got)] * len(rows)
        except RouteError as error:
            results = [error] * len(rows)
        except Exception as error:  # noqa: BLE001 - a host's own fault must reach its callers
            crash = RouteCrashed(self._label, got=f"{type(error).__name__}: {error}")
            results = [crash] * len(rows)
        self._settle(batch, results, time.monotonic() - started)

    def _settle(
        self, batch: Sequence[_Waiting], results: Sequence[Prediction | RouteError], took: float
    ) -> None:
        rate = self._nano_per_second
        cost = None if rate is None else int(took * rate / len(batch))
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Prediction):
                if result.cost_nano is None:
                    result.cost_nano = cost
                future.set_result(result)
            else:
                future.set_exception(result)

    async def close(self) -> None:
        """End the runs, and let go of the model."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.model.close()
