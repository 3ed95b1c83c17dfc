"""The pipeline of a declaration, read: `retrain()` is asked only where somebody retrains.

A process that only serves never calls it, so what training imports need not be installed there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import msgspec

from splice.core.errors import DeclarationError
from splice.core.pipeline import Promote, Step, steps_of
from splice.core.schedule import Schedule, read_schedule
from splice.core.units import seconds
from splice.declare.gates import gates_for
from splice.declare.reading import Declaration
from splice.declare.retraining import Pipeline
from splice.declare.spec import Integration, Model

_LONGEST_S = 30 * 86_400.0


class ReadPipeline(msgspec.Struct, frozen=True):
    """A pipeline, read and found without fault."""

    integration: str
    model: str
    data: Callable[[Any], Any]
    train: Callable[[Any, Any], Any]
    promote: Promote
    schedule: Schedule | None
    deadline_s: float
    memory_mb: int = 0  # 0: nothing bounds it

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its steps, in their order."""
        return steps_of(self.promote)


def has_pipeline(cls: type[Integration]) -> bool:
    """Whether a class says how it is retrained."""
    return cls.retrain is not Integration.retrain


def read_pipeline(declaration: Declaration) -> ReadPipeline | None:
    """The pipeline of a declaration; None where it has none.

    Raises:
        DeclarationError: `retrain()` raises, or what it gives is wrong; the first mistake.
    """
    if not has_pipeline(declaration.cls):
        return None
    return _Reader(declaration).read()


class _Reader:
    """Reads what `retrain()` gives."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration

    def wrong(self, got: str, promised: str, mend: str) -> DeclarationError:
        """The mistake, at the line of `retrain`."""
        places = self._declaration.places
        file, line = places.get("retrain") or places.get("", ("", 0))
        return DeclarationError(
            f"{self._declaration.cls.__name__}.retrain",
            got=got, promised=promised, mend=mend, file=file, line=line,
        )  # fmt: skip

    def read(self) -> ReadPipeline:
        given = self._given()
        model = cast("Any", given.model)
        names = [
            timed.route.ref.partition("@")[0]
            for timed in self._declaration.routes
            if isinstance(timed.route, Model)
            and timed.route.ref.partition("@")[2] in ("", "champion")
        ]
        if model not in names:
            raise self.wrong(
                f"model={model!r:.80}",
                f"a model whose champion a route follows: {', '.join(names) or 'none'}",
                "name one of these, or let a route name the model without a number",
            )  # fmt: skip
        self._function("data", given.data, 1)
        self._function("train", given.train, 2)
        return ReadPipeline(
            integration=self._declaration.name,
            model=model,
            data=given.data,
            train=given.train,
            promote=self._promote(given, model),
            schedule=self._schedule(given.schedule),
            deadline_s=self._deadline(given.deadline),
            memory_mb=self._memory(given.memory_mb),
        )

    def _given(self) -> Pipeline:
        try:
            given = cast("Any", self._declaration.cls().retrain())
        except (Exception, SystemExit) as error:  # it is the user's own code
            raise self.wrong(
                f"{type(error).__name__}: {error}", "a splice.Pipeline", "mend what it raises"
            ) from error
        if not isinstance(given, Pipeline):
            raise self.wrong(
                type(given).__name__, "a splice.Pipeline",
                "return splice.Pipeline(model=…, data=…, train=…)",
            )  # fmt: skip
        return given

    def _function(self, name: str, given: Any, arguments: int) -> None:
        wanted = f"{name}(run)" if arguments == 1 else f"{name}(run, data)"
        if not callable(given) or inspect.iscoroutinefunction(given):
            kind = "an async function" if callable(given) else type(given).__name__
            raise self.wrong(f"{name}: {kind}", f"a function {wanted}", f"write def {wanted}")
        try:
            inspect.signature(given).bind(*(None,) * arguments)
        except (TypeError, ValueError):
            raise self.wrong(
                f"{name}: arguments that do not fit", f"a function {wanted}", f"write def {wanted}"
            ) from None

    def _promote(self, given: Pipeline, model: str) -> Promote:
        promote = cast("Any", given.promote)
        if promote not in ("never", "gates", "canary"):
            raise self.wrong(
                f"promote={promote!r:.80}", '"gates", "canary" or "never"', 'write promote="gates"'
            )
        # What nobody looks at must not go live because a clock struck.
        if promote != "never" and gates_for(self._declaration.options.gates, model) is None:
            raise self.wrong(
                f'promote="{promote}", and no gates for {model}', "gates that a version must pass",
                'declare gates = splice.Gates(…), or write promote="never"',
            )  # fmt: skip
        policy = self._declaration.plan.policy
        if promote == "canary" and (policy is None or not policy.steps):
            raise self.wrong(
                'promote="canary", and no rollout with steps', "a rollout that it can climb",
                'declare rollout = splice.Rollout(steps=("1 %", "10 %", "50 %"))',
            )  # fmt: skip
        return promote

    def _schedule(self, given: Any) -> Schedule | None:
        if given in ("", None):
            return None
        try:
            return read_schedule(str(given))
        except DeclarationError as error:
            raise self.wrong(f"schedule={given!r:.80}", error.promised, error.mend) from None

    def _deadline(self, given: Any) -> float:
        try:
            found = seconds(given, "deadline")
        except DeclarationError as error:
            raise self.wrong(f"deadline={given!r:.80}", error.promised, error.mend) from None
        if found > _LONGEST_S:
            raise self.wrong(f"deadline={given!r:.80}", "at most 30 d", 'write deadline="6 h"')
        return found

    def _memory(self, given: Any) -> int:
        if given is None:
            return 0
        if not isinstance(given, int) or isinstance(given, bool) or not 64 <= given <= 1 << 20:
            raise self.wrong(
                f"memory_mb={given!r:.80}", "whole megabytes, at least 64", "write memory_mb=4096"
            )
        return given
