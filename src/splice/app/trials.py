"""Trials: a version asked through its integration, in a loop and a thread of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from splice.app.clock import Ids, now_us
from splice.control.datasets import Looked
from splice.control.gates.trial import Change, Tried
from splice.core.call import Prediction
from splice.core.errors import RouteCrashed, SpliceError
from splice.core.release import Manifest, PinnedRoute, Release
from splice.declare.reading import Declaration
from splice.engine.compile import Compiler
from splice.engine.decide import decide
from splice.engine.faults import faults
from splice.engine.gather import Look, gather
from splice.engine.line import Line, Step, line_of
from splice.ports.features import FeatureStore
from splice.ports.predictor import Question

_T = TypeVar("_T")
_AT_ONCE = 256
_PATIENCE_S = 60.0
"""How long one row may take: how long it should take is the latency gate's to say."""


class LineTrial:
    """A Trial over one route: the same stations as a call passes, and nothing is recorded.

    Look-ups of `context()` are answered by the feature store as it is now, those of a recorded
    request as they were answered then.

    Args:
        compiler: Makes the model ready.
        declaration: Of the integration.
        route: The version, pinned.
        features: The feature store, None where none is configured; closed with the trial.
        looks: What recorded requests looked up.
    """

    def __init__(
        self,
        compiler: Compiler,
        declaration: Declaration,
        route: PinnedRoute,
        features: FeatureStore | None,
        looks: Mapping[bytes, Looked],
    ) -> None:
        self._features = features
        self._looks = looks
        self._new_id = Ids().new
        # Its own: whoever validates may be inside a running loop, and models keep to the loop that
        # they were first asked in.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="trial")
        self._runner = asyncio.Runner()
        try:
            self._line = self._thread.submit(_ready, compiler, declaration, route).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def ask(self, requests: Sequence[bytes], change: Change | None = None) -> list[Tried]:
        """What comes of each request, in order: `context()`, the model alone, `decide()`."""
        return self._run(self._ask(requests, change))

    def seconds(self, requests: Sequence[bytes]) -> list[float]:
        """How long the model took for each, asked one after the other."""
        return self._run(self._seconds(requests))

    def close(self) -> None:
        """Let go of the model."""
        try:
            self._run(self._close())
            self._thread.submit(self._runner.close).result()
        finally:
            self._thread.shutdown()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._thread.submit(self._runner.run, work).result()

    async def _close(self) -> None:
        step = self._line.steps[0]
        if step.predictor is not None:
            await step.predictor.close()
        if self._features is not None:
            await self._features.close()

    async def _ask(self, requests: Sequence[bytes], change: Change | None) -> list[Tried]:
        found: list[Tried] = []
        for start in range(0, len(requests), _AT_ONCE):
            part = requests[start : start + _AT_ONCE]
            found += await asyncio.gather(*(self._one(body, change) for body in part))
        return found

    async def _one(self, body: bytes, change: Change | None) -> Tried:
        line, context = self._line, None
        try:
            request = line.request.decode(body, line.where)
            context = await self._context(request, body, change)
            prediction = await self._predicted(context)
            reply = decide(line, request, prediction, context)
        except SpliceError as error:
            return Tried(context=context, error=error)
        except Exception as error:  # noqa: BLE001 - a route may run code that is not ours
            label = line.steps[0].route.label
            crash = RouteCrashed(label, got=faults.told(f"{line.name} {label}", error))
            return Tried(context=context, error=crash)
        return Tried(prediction, msgspec.json.decode(reply), context)

    async def _context(self, request: Any, body: bytes, change: Change | None) -> dict[str, Any]:
        line = self._line
        if line.context is None:
            context = line.request.fields(request)
        else:
            context = dict(await gather(line, line.context, request, self._look(body)))
        return context if change is None else change(context)

    def _look(self, body: bytes) -> Look:
        found = self._looks.get(body)
        if found is None:
            return Look(now_us(), self._features)
        asked_us, gathered = found
        return Look(asked_us, self._features, gathered)

    async def _predicted(self, context: dict[str, Any]) -> Prediction:
        predictor = self._line.steps[0].predictor
        assert predictor is not None  # noqa: S101 - it was made ready, or the trial was not
        deadline = time.monotonic() + _PATIENCE_S
        answer = predictor.predict(Question(self._new_id(), context, deadline))
        return answer if isinstance(answer, Prediction) else await answer

    async def _seconds(self, requests: Sequence[bytes]) -> list[float]:
        line, took = self._line, list[float]()
        contexts: dict[bytes, dict[str, Any]] = {}
        for body in requests:
            if body not in contexts:
                request = line.request.decode(body, line.where)
                contexts[body] = await self._context(request, body, None)
            began = time.perf_counter()
            await self._predicted(contexts[body])
            took.append(time.perf_counter() - began)
        return took


def _ready(compiler: Compiler, declaration: Declaration, route: PinnedRoute) -> Line:
    predictor = compiler.model(route)
    release = Release(0, _manifest(declaration, route), 0, "")
    return line_of(release, declaration, (Step(route, predictor, predictor.immediate),))


def _manifest(declaration: Declaration, route: PinnedRoute) -> Manifest:
    """As much of one as a line reads."""
    return Manifest(
        integration=declaration.name, entry="", bundle="", purpose=declaration.purpose,
        risk=str(declaration.risk), deadline_s=declaration.deadline_s, routes=(route,),
        request_schema={}, reply_schema={},
    )  # fmt: skip
