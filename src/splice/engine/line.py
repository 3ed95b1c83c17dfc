"""A line is a compiled release: everything that a call of it needs, bound once."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from splice.core.release import PinnedRoute, Release
from splice.declare.codec import Codec
from splice.declare.reading import Declaration
from splice.declare.spec import Risk
from splice.engine.seal import Seal
from splice.ports.predictor import Predictor

Ask: TypeAlias = "Callable[[Any, Any], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]"
"""The user's `context()`, bound: request and look-up to a mapping, now or later."""


class Step(msgspec.Struct):
    """One route, ready to run. `immediate` predictors answer within this tick of the loop.

    `unavailable` says why it must not be tried; it may change while the line lives.
    """

    route: PinnedRoute
    predictor: Predictor | None
    immediate: bool
    unavailable: str = ""
    withdrawn: str = ""
    quality: float | None = None


class Line(msgspec.Struct):
    """A release with its code loaded and its models in memory."""

    name: str
    release: Release
    declaration: Declaration
    request: Codec
    reply: Codec
    steps: tuple[Step, ...]
    context: Ask | None
    decide: Callable[[Any, Any], Any] | None
    durable: bool
    deadline_s: float
    where: str
    simple: bool  # nothing of it sets a timer or waits for the world: it needs no task
    stopped: str = ""
    seal: Seal | None = None  # None where all is recorded as it is
    direct: Callable[[str], Step] | None = None  # the route to a model that the caller names


def line_of(
    release: Release,
    declaration: Declaration,
    steps: tuple[Step, ...],
    seal: Seal | None = None,
    direct: Callable[[str], Step] | None = None,
) -> Line:
    """The line of a release whose declaration is loaded and whose routes are ready."""
    instance = declaration.cls()
    decide: Callable[[Any, Any], Any] | None = None
    if declaration.has_decide:
        decide = instance.decide
        if len(inspect.signature(instance.decide).parameters) > 2:
            raise TypeError("decide() takes the request and the prediction")
    return Line(
        name=release.manifest.integration,
        release=release,
        declaration=declaration,
        request=declaration.request,
        reply=declaration.reply,
        steps=steps,
        context=instance.context if declaration.has_context else None,
        decide=decide,
        durable=declaration.risk is Risk.HIGH,
        deadline_s=declaration.deadline_s,
        where=f"{declaration.name}.input",
        simple=_is_simple(declaration, steps),
        seal=seal,
        direct=direct,
    )


def _is_simple(declaration: Declaration, steps: tuple[Step, ...]) -> bool:
    options = declaration.options
    waits = options.exact_s is not None or options.coalesce
    return (
        bool(steps)
        and not (declaration.has_context or waits)
        and all(step.immediate for step in steps)
    )
