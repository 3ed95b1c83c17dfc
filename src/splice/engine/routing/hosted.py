"""Hosted: questions to a model that runs elsewhere go together, several runs at once.

Questions of one tick of the event loop make one run. Where every lane is taken, what comes
meanwhile makes the next one: the window is as wide as the model is busy, and none when it is idle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from splice.core.call import Prediction
from splice.core.errors import ProviderLimited, RouteCrashed, RouteError, RouteTimeout
from splice.engine.routing.breaker import Breaker
from splice.ports.hosts import HostedModel
from splice.ports.predictor import Question

_CLOCK_S = 0.005  # by so much a timer of the loop may be early
_Waiting = tuple[Question, float, "asyncio.Future[Prediction]"]
"""A question, when its route is given up, and where the answer goes."""


class Hosted:
    """A Predictor over a hosted model.

    Args:
        model: The model.
        label: Names it in errors.
        max_batch: Rows in one run, at most.
        nano_per_second: What a second of its time costs, in billionths of the currency; None where
            nobody said, and then the cost of an answer is unknown.
        breaker: Leaves it alone after failures, so that the next route is tried at once.
    """

    immediate = False

    def __init__(
        self,
        model: HostedModel,
        label: str,
        *,
        max_batch: int = 64,
        nano_per_second: float | None = None,
        breaker: Breaker | None = None,
        region: str = "",
    ) -> None:
        self.model = model
        self._label = label
        self._max_batch = max_batch
        self._nano_per_second = nano_per_second
        self._breaker = breaker
        self.region = region
        self._waiting: list[_Waiting] = []
        self._scheduled = False
        self._running: set[asyncio.Task[None]] = set()

    @property
    def trouble(self) -> str:
        """Why it is left alone just now; empty while it is asked."""
        breaker = self._breaker
        if breaker is None or not breaker.open_until:
            return ""
        return f"it failed {breaker.failures} times in a row, and is asked again now and then"

    def predict(self, question: Question) -> asyncio.Future[Prediction]:
        """A future of the prediction, set when the run has come back.

        Raises:
            ProviderLimited: The host is left alone for now, after its failures.
        """
        if self._breaker is not None:
            if not self._breaker.ready(time.monotonic()):
                raise self._left_alone(self._breaker)
            self._breaker.asked()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Prediction] = loop.create_future()
        self._waiting.append((question, question.until or question.deadline, future))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._send, loop)
        return future

    def _left_alone(self, breaker: Breaker) -> ProviderLimited:
        wait = max(0.0, breaker.open_until - time.monotonic())
        got = "a host that is left alone after its failures"
        return ProviderLimited(self._label, retry_after=wait, got=got)

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        # Nobody waits for these any more: leave them out before the model is asked.
        waiting = [one for one in self._waiting if not one[2].done()]
        breaker = self._breaker
        if breaker is not None and len(waiting) < len(self._waiting):
            breaker.left()
        if breaker is not None and breaker.open_until > time.monotonic():
            for _, _, future in waiting:  # they came before it was known
                future.set_exception(self._left_alone(breaker))
            waiting = []
        while waiting and len(self._running) < self.model.lanes:
            batch, waiting = waiting[: self._max_batch], waiting[self._max_batch :]
            task = loop.create_task(self._run(batch))
            _end_when_unwanted(task, batch)
            self._running.add(task)
            task.add_done_callback(self._ran)
        self._waiting = waiting

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting and not self._scheduled:
            self._send(task.get_loop())

    async def _run(self, batch: Sequence[_Waiting]) -> None:
        started = time.monotonic()
        until = max(until for _, until, _ in batch)
        rows = [question.context for question, _, _ in batch]
        results: Sequence[Prediction | RouteError]
        try:
            if until <= started:
                raise RouteTimeout(self._label, got="no time left")
            trace = batch[0][0].trace if len(batch) == 1 else None
            results = await self.model.infer(rows, until - started, trace)
            if len(results) != len(rows):
                got = f"{len(results)} answers to {len(rows)} rows"
                results = [RouteCrashed(self._label, got=got)] * len(rows)
        except RouteError as error:
            results = [error] * len(rows)
        except asyncio.CancelledError:
            self._unwanted(until)
            raise
        except Exception as error:  # noqa: BLE001 - a host's own fault must reach its callers
            crash = RouteCrashed(self._label, got=f"{type(error).__name__}: {error}")
            results = [crash] * len(rows)
        if self._breaker is not None:
            _tell(self._breaker, results, asked=until > started)
        self._settle(batch, results, time.monotonic() - started)

    def _unwanted(self, until: float) -> None:
        """Every caller went away, or gave the route up when its time was over."""
        if self._breaker is not None:
            if time.monotonic() >= until - _CLOCK_S:
                self._breaker.failed(RouteTimeout(self._label))
            else:
                self._breaker.left()

    def _settle(
        self, batch: Sequence[_Waiting], results: Sequence[Prediction | RouteError], took: float
    ) -> None:
        rate = self._nano_per_second
        cost = None if rate is None else int(took * rate / len(batch))
        for (_, _, future), result in zip(batch, results, strict=True):
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


def _end_when_unwanted(task: asyncio.Task[None], batch: Sequence[_Waiting]) -> None:
    """Cancels the run as soon as nobody waits for any of its answers."""
    wanted = len(batch)

    def gone(_: asyncio.Future[Prediction]) -> None:
        nonlocal wanted
        wanted -= 1
        if not wanted:
            task.cancel()

    for _, _, future in batch:
        future.add_done_callback(gone)


def _tell(breaker: Breaker, results: Sequence[Prediction | RouteError], *, asked: bool) -> None:
    """What a run shows of its host: one answer proves it, else the first error counts."""
    if not asked:
        breaker.left()
    elif any(isinstance(one, Prediction) for one in results):
        breaker.answered()
    else:
        for one in results:
            if isinstance(one, RouteError):
                breaker.failed(one)
                return
