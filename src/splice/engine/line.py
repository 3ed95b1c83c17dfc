"""A line is a compiled release: everything that a call of it needs, bound once."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias

import msgspec

from splice.core.release import PinnedRoute, Release
from splice.declare.codec import Codec
from splice.declare.reading import Declaration
from splice.declare.spec import Risk
from splice.engine.guard import Guard
from splice.engine.routing.masked import Veil
from splice.engine.seal import Seal
from splice.ports.predictor import Predictor

Ask: TypeAlias = "Callable[[Any, Any], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]"
"""The user's `context()`, bound: request and look-up to a mapping, now or later."""


class Step(msgspec.Struct):
    """One route, ready to run. `immediate` predictors answer within this tick of the loop.

    `unavailable` says why it cannot be tried, `withdrawn` why it may not: by somebody's word, or
    for want of a validation that holds. Both may change while the line lives.
    """

    route: PinnedRoute
    predictor: Predictor | None
    immediate: bool
    unavailable: str = ""
    withdrawn: str = ""
    quality: float | None = None


class Arm(msgspec.Struct, frozen=True):
    """One variant of a release: its name in records, and its routes in order."""

    name: str
    steps: tuple[Step, ...]


class Picked(msgspec.Struct, frozen=True, gc=False):
    """The variant of one call, and what a reader of its record must know of the picking."""

    arm: Arm
    note: str = ""


class Picks(Protocol):
    """Picks the variant of a call; `routing/split.py`."""

    salt: str
    flag: str

    @property
    def waits(self) -> bool:
        """Whether picking may have to wait for somebody."""
        ...

    @property
    def arms(self) -> list[Arm]:
        """All variants, the champion first."""
        ...

    def arm(self, who: str) -> Arm:
        """The variant of an entity, or of a call without one."""
        ...

    def held(self, entity: str) -> Arm | None:
        """What an entity gets that is held out; None for everybody else."""
        ...

    def named(self, name: str) -> Arm:
        """A variant by the name that a record has."""
        ...

    async def flagged(self, who: str, facts: Mapping[str, Any]) -> Picked:
        """The variant that a flag names, with a note where it named none."""
        ...


class Shadowing(msgspec.Struct, frozen=True):
    """Routes that repeat a share of the calls (in ten-thousandths); nobody gets their answers."""

    steps: tuple[Step, ...]
    share: int


class Line(msgspec.Struct):
    """A release with its code loaded and its models in memory."""

    name: str
    release: Release
    declaration: Declaration
    request: Codec
    reply: Codec
    steps: tuple[Step, ...]
    context: Ask | None
    decide: Callable[..., Any] | None  # of request and prediction, and of the context
    durable: bool
    deadline_s: float
    where: str
    simple: bool  # nothing of it sets a timer or waits for the world: it needs no task
    decide_sees: bool = False  # whether `decide` takes the context
    stopped: str = ""
    ended: str = ""  # why no call is answered: the validation of its route does not hold any more
    seal: Seal | None = None  # None where all is recorded as it is
    direct: Callable[[str], Step] | None = None  # the route to a model that the caller names
    split: Picks | None = None  # None where every call gets `steps`
    shadow: Shadowing | None = None
    veil: Veil | None = None  # None where nothing is masked for providers
    guard: Guard | None = None  # None where there are no policies

    @property
    def closed(self) -> str:
        """Why no call of it is answered; empty where calls are."""
        return f"switched off: {self.stopped}" if self.stopped else self.ended

    @property
    def every_step(self) -> list[Step]:
        """The steps of all variants and of the shadow; each is there once."""
        arms = [] if self.split is None else [arm.steps for arm in self.split.arms]
        more = () if self.shadow is None else self.shadow.steps
        found = [step for steps in (self.steps, *arms, more) for step in steps]
        return list({id(step): step for step in found}.values())


def line_of(
    release: Release,
    declaration: Declaration,
    steps: tuple[Step, ...],
    *,
    seal: Seal | None = None,
    direct: Callable[[str], Step] | None = None,
    split: Picks | None = None,
    shadow: Shadowing | None = None,
) -> Line:
    """The line of a release whose declaration is loaded and whose routes are ready."""
    instance = declaration.cls()
    takes = len(inspect.signature(instance.decide).parameters) if declaration.has_decide else 0
    if takes > 3:
        raise TypeError("decide() takes the request, the prediction and the context")
    return Line(
        name=release.manifest.integration,
        release=release,
        declaration=declaration,
        request=declaration.request,
        reply=declaration.reply,
        steps=steps,
        context=instance.context if declaration.has_context else None,
        decide=instance.decide if declaration.has_decide else None,
        decide_sees=takes == 3,
        durable=declaration.risk is Risk.HIGH,
        deadline_s=declaration.deadline_s,
        where=f"{declaration.name}.input",
        simple=_is_simple(declaration, steps, split),
        seal=seal,
        direct=direct,
        split=split,
        shadow=shadow,
    )


def _is_plain(context: Callable[..., Any]) -> bool:
    """Whether calling it gives the context itself, and nothing to be awaited."""
    return inspect.isfunction(context) and not inspect.iscoroutinefunction(context)


def _is_simple(declaration: Declaration, steps: tuple[Step, ...], split: Picks | None) -> bool:
    options = declaration.options
    waits = options.exact_s is not None or options.coalesce
    if split is not None:
        waits = waits or split.waits
        steps = tuple(step for arm in split.arms for step in arm.steps)
    if declaration.has_context:  # a plain function that gives what it has waits for nobody
        waits = waits or not _is_plain(declaration.cls.context)
    return bool(steps) and not waits and all(step.immediate for step in steps)
