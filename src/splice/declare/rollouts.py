"""The rollout of a declaration: shares, steps and guards as numbers, its routes read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, Literal, cast

import msgspec

from splice.core.errors import DeclarationError
from splice.core.release import PinnedGuard
from splice.core.rollout import WHOLE, share
from splice.core.units import money, seconds
from splice.declare.options import Wrong
from splice.declare.routes import TimedRoute
from splice.declare.spec import (
    LLM,
    Conversation,
    Guard,
    Holdout,
    Integration,
    Model,
    Rollout,
    Rule,
    Shadow,
)

LATENCIES = ("latency_p50", "latency_p95", "latency_p99")
FIGURES = ("errors", "failures", *LATENCIES, "cost", "outcome:NAME")
_OUTCOME = re.compile(r"outcome:[\w.-]{1,64}")
MOST_STEPS = 50

ReadRoutes = Callable[[Any, Wrong], Sequence[TimedRoute]]
"""Reads declared routes; notes what is wrong with them."""


class Policy(msgspec.Struct, frozen=True):
    """How a challenger climbs, read and found without fault."""

    steps: tuple[int, ...] = ()  # ten-thousandths; one for a fixed share
    every_s: float = 600.0
    min_calls: int = 100
    guards: tuple[PinnedGuard, ...] = ()
    then: Literal["hold", "promote"] = "hold"
    flag: str = ""


class Held(msgspec.Struct, frozen=True):
    """A holdout, read and found without fault; `share` in ten-thousandths."""

    share: int
    routes: tuple[TimedRoute, ...]
    season: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What a declaration says of rollouts, shadows and who is held out of all of them."""

    policy: Policy | None = None
    challenger: tuple[TimedRoute, ...] = ()
    shadow: tuple[TimedRoute, ...] = ()
    shadow_share: int = 0
    holdout: Held | None = None


def read_plan(cls: type[Integration], wrong: Wrong, routes: ReadRoutes, entity: str | None) -> Plan:
    """The plan of a class whose requests name this `entity`; notes what is wrong with it."""
    plan = _plan(cls, wrong, routes)
    held = read_holdout(cls, wrong, routes, entity)
    return plan if held is None else msgspec.structs.replace(plan, holdout=held)


def _plan(cls: type[Integration], wrong: Wrong, routes: ReadRoutes) -> Plan:
    rollout, shadow = cast("Any", cls.rollout), cast("Any", cls.shadow)
    if rollout is not None and not isinstance(rollout, Rollout):
        got = type(rollout).__name__
        wrong("rollout", got, "a splice.Rollout", "write rollout = splice.Rollout(…)")
        rollout = None
    if shadow is not None and not isinstance(shadow, Shadow):
        got = type(shadow).__name__
        wrong("shadow", got, "a splice.Shadow", "write shadow = splice.Shadow(splice.Model(…))")
        shadow = None
    policy, challenger = None, ()
    if rollout is not None:
        policy = _policy(rollout, wrong)
        if rollout.challenger is not None:
            challenger = _routes(rollout.challenger, "rollout", wrong, routes)
            if not policy.steps and not policy.flag:
                wrong("rollout", "a challenger without a share", 'share="10 %", steps=(…), or flag',
                      'write share="10 %"')  # fmt: skip
    if shadow is None:
        return Plan(policy, challenger)
    repeated = _share(shadow.share, "shadow", wrong)
    return Plan(policy, challenger, _routes(shadow.routes, "shadow", wrong, routes), repeated)


MOST_HELD = WHOLE // 2
"""Ten-thousandths: with more held out than not, it is not the integration that is the rule."""


def read_holdout(
    cls: type[Integration], wrong: Wrong, routes: ReadRoutes, entity: str | None
) -> Held | None:
    """The holdout of a class; notes what is wrong with it."""
    holdout = cast("Any", cls.holdout)
    if holdout is None:
        return None
    if not isinstance(holdout, Holdout):
        got = type(holdout).__name__
        wrong("holdout", got, "a splice.Holdout", 'write holdout = splice.Holdout("5 %")')
        return None
    if issubclass(cls, Conversation):
        wrong("holdout", "a holdout of a Conversation", "none: no rule can answer a conversation",
              "leave it out")  # fmt: skip
        return None
    if entity is None:
        wrong("holdout", "a request without an entity", "one field marked splice.Entity",
              "mark who or what is held out")  # fmt: skip
    held = _share(holdout.share, "holdout", wrong)
    if not 0 < held <= MOST_HELD:
        wrong("holdout", f"share {holdout.share!r}", "above 0 %, and at most 50 %",
              'write splice.Holdout("5 %")')  # fmt: skip
    season = cast("Any", holdout.season)
    if not isinstance(season, str) or len(season) > 64:
        wrong("holdout", f"season={season!r:.80}", "a short text", 'write season="2027"')
        season = ""
    given = cast("Any", cls.routes)
    own = cast("Sequence[Any]", given if isinstance(given, (list, tuple)) else ())
    rule = cast("Any", holdout.route)
    if rule is None:
        rule = next((one for one in reversed(own) if isinstance(one, Rule)), None)
        if rule is None:
            wrong("holdout", "no rule", "what answered before there was AI",
                  "write splice.Holdout(…, route=splice.Rule(…))")  # fmt: skip
            return None
    if not isinstance(rule, Rule):
        wrong("holdout", f"route {type(rule).__name__}", "a splice.Rule: business as usual, no AI",
              "write route=splice.Rule(…)")  # fmt: skip
        return None
    return Held(held, _routes(rule, "holdout", wrong, routes), season)


def _routes(given: Any, field: str, wrong: Wrong, routes: ReadRoutes) -> tuple[TimedRoute, ...]:
    listed = [given] if isinstance(given, (Model, LLM, Rule)) else given

    def here(_: str, got: str, promised: str, mend: str) -> None:
        wrong(field, got, promised, mend)

    return tuple(routes(listed, here))


def _share(given: Any, field: str, wrong: Wrong) -> int:
    try:
        return share(given, field)
    except DeclarationError as error:
        wrong(field, f"share {error.got}", error.promised, error.mend)
        return 0


def _policy(rollout: Rollout, wrong: Wrong) -> Policy:
    steps = tuple(_share(one, "rollout", wrong) for one in rollout.steps)
    if rollout.share is not None and steps:
        wrong("rollout", "share and steps", "one of them", "leave share out: steps say it")
    if rollout.share is not None:
        steps = (_share(rollout.share, "rollout", wrong),)
    rising = all(a < b for a, b in pairwise(steps))
    if not rising or len(steps) > MOST_STEPS or (rollout.steps and not steps[0]):
        wrong(
            "rollout",
            f"steps {', '.join(map(str, rollout.steps))}",
            "shares above 0 that grow, at most 50",
            'write steps=("1 %", "10 %", "50 %")',
        )
    every_s = 600.0
    try:
        every_s = seconds(rollout.every, "every")
    except DeclarationError as error:
        wrong("rollout", f"every {error.got}", error.promised, error.mend)
    min_calls = cast("Any", rollout.min_calls)
    if not isinstance(min_calls, int) or isinstance(min_calls, bool) or not 1 <= min_calls <= 10**9:
        wrong("rollout", f"min_calls={min_calls!r}", "a whole number above 0", "min_calls=100")
        min_calls = 100
    then = cast("Any", rollout.then)
    if then not in ("hold", "promote"):
        wrong("rollout", f"then={then!r}", '"hold" or "promote"', 'write then="hold"')
        then = "hold"
    flag = cast("Any", rollout.flag)
    if not isinstance(flag, str) or len(flag) > 200:
        wrong("rollout", f"flag={flag!r:.80}", "the key of a flag", 'write flag="credit-model"')
        flag = ""
    guards = [read_guard(one, wrong) for one in cast("Sequence[Any]", rollout.guards)]
    return Policy(
        steps=steps, every_s=every_s, min_calls=min_calls,
        guards=tuple(one for one in guards if one is not None), then=then, flag=flag,
    )  # fmt: skip


def read_guard(given: Any, wrong: Wrong) -> PinnedGuard | None:
    """A guard with its bounds as numbers: shares, seconds, or the account's currency."""
    if not isinstance(given, Guard):
        wrong("rollout", type(given).__name__, "a splice.Guard",
              'write splice.Guard(figure="errors", at_most=0.02)')  # fmt: skip
        return None
    figure = cast("Any", given.figure)
    named = isinstance(figure, str) and (figure in FIGURES[:-1] or _OUTCOME.fullmatch(figure))
    if not named:
        wrong("rollout", f"a guard of {figure!r:.80}", f"one of {', '.join(FIGURES)}",
              'write splice.Guard(figure="errors", at_most=0.02)')  # fmt: skip
        return None
    bounds = (given.at_most, given.at_least, given.worse_by)
    if all(one is None for one in bounds):
        wrong("rollout", f"a guard of {figure} without a bound", "at_most, at_least or worse_by",
              f'write splice.Guard(figure="{figure}", at_most=…)')  # fmt: skip
        return None
    try:
        at_most, at_least, worse_by = (_bound(figure, one) for one in bounds)
    except DeclarationError as error:
        wrong("rollout", f"{figure}: {error.got}", error.promised, error.mend)
        return None
    return PinnedGuard(figure, at_most, at_least, worse_by, bool(given.higher_is_better))


def _bound(figure: str, given: Any) -> float | None:
    value = None if given is None else _number(figure, given)
    if value is None:
        return None
    share_of = figure in ("errors", "failures")
    low = 0.0 if not figure.startswith("outcome:") else float("-inf")
    if not isfinite(value) or value < low or (share_of and value > 1):
        promised = "a share from 0 to 1" if share_of else "a finite number, not below 0"
        raise DeclarationError(figure, got=repr(given), promised=promised, mend="mend the bound")
    return value


def _number(figure: str, given: Any) -> float:
    if figure in LATENCIES:
        return seconds(given, figure)
    if isinstance(given, str):
        return money(given, figure).amount if figure == "cost" else share(given, figure) / WHOLE
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise DeclarationError(figure, got=repr(given), promised="a number", mend="write a number")
    return float(given)
