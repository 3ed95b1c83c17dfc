"""Plans of rollouts: what of a declaration, a command and a running one becomes the next."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise

import msgspec

from splice.core.errors import DeclarationError
from splice.core.release import (
    Manifest,
    PinnedGuard,
    PinnedHoldout,
    PinnedRollout,
    PinnedRoute,
    Variant,
)
from splice.core.rollout import CHALLENGER, HOLDOUT, SHADOW, challenger_of, share_text, what_runs
from splice.declare.rollouts import MOST_STEPS, Plan, Policy
from splice.declare.routes import TimedRoute

Pin = Callable[[int, TimedRoute], PinnedRoute]
"""Pins a declared route, at its position."""


class Wanted(msgspec.Struct, frozen=True):
    """What a command wants of a rollout; None is what is declared, or the default."""

    steps: tuple[int, ...] | None = None
    every_s: float | None = None
    min_calls: int | None = None
    guards: tuple[PinnedGuard, ...] | None = None
    then: str | None = None
    flag: str | None = None


def salt_of(integration: str, routes: tuple[PinnedRoute, ...]) -> str:
    """The same for the same challenger: who has a variant keeps it while the share grows."""
    text = "/".join([integration, *map(what_runs, routes)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def declared(plan: Plan, running: PinnedRollout | None) -> PinnedRollout:
    """The policy that a declaration says, and none that a command did; with the shadows that run.

    This is what is left when a challenger goes, and what the next one starts from.
    """
    kept = running or PinnedRollout("")
    rollout = PinnedRollout(
        "", shadows=kept.shadows, shadow_share=kept.shadow_share, shadowed=kept.shadowed
    )
    policy = plan.policy
    if policy is None:
        return rollout
    return msgspec.structs.replace(
        rollout,
        steps=policy.steps,
        every_s=policy.every_s,
        min_calls=policy.min_calls,
        guards=policy.guards,
        then="" if policy.then == "hold" else policy.then,
        flag=policy.flag,
    )


def settled(
    integration: str, rollout: PinnedRollout | None, plan: Plan, sha256: str
) -> PinnedRollout | None:
    """The rollout after a version became the champion: it is no challenger and no shadow now."""
    if rollout is None:
        return None
    shadows = tuple(one for one in rollout.shadows if one.sha256 != sha256)
    left = (rollout.shadow_share, rollout.shadowed) if shadows else (0, "")
    kept = msgspec.structs.replace(rollout, shadows=shadows, shadow_share=left[0], shadowed=left[1])
    challenger = challenger_of(kept)
    if challenger is not None and challenger.routes[0].sha256 == sha256:
        kept = msgspec.structs.replace(declared(plan, kept), salt=salt_of(integration, ()))
    return or_none(kept)


def pinned_rollout(
    integration: str,
    plan: Plan,
    pin: Pin,
    before: Manifest | None,
    own_routes: tuple[PinnedRoute, ...],
) -> PinnedRollout | None:
    """The rollout of a release that is about to be made of a declaration.

    A challenger or a shadow that a command started goes on where the declaration names none; one
    that was declared ends with its declaration, and one that is the champion now is none any more.
    """
    running = None if before is None else before.rollout
    if running is not None and not running.shadowed:  # declared before, and not any more
        running = msgspec.structs.replace(running, shadows=(), shadow_share=0)
    rollout = declared(plan, running)
    if running is not None and running.variants and running.run and not plan.challenger:
        # A command started it, by the declared policy or by one of its own: it goes on.
        own = running if plan.policy is None else rollout
        rollout = msgspec.structs.replace(
            own, variants=running.variants, step=running.step, run=running.run
        )
    routes = tuple(named(pin(i, one), CHALLENGER) for i, one in enumerate(plan.challenger))
    if routes and not _is_champion(routes[0], own_routes):
        first = rollout.steps[0] if rollout.steps else 0
        rollout = msgspec.structs.replace(
            rollout, variants=(Variant(CHALLENGER, first, routes),), step=0
        )
        now = challenger_of(running)
        if running is not None and now is not None and _is_same(running, rollout, now, routes):
            here = msgspec.structs.replace(now, routes=routes)
            rollout = msgspec.structs.replace(
                rollout, variants=(here,), step=running.step, run=running.run
            )
    if plan.shadow:
        shadows = tuple(named(pin(i, one), SHADOW) for i, one in enumerate(plan.shadow))
        rollout = msgspec.structs.replace(
            rollout, shadows=shadows, shadow_share=plan.shadow_share, shadowed=""
        )
    if plan.policy is None and not rollout.variants and not rollout.shadows:
        return None
    variants = rollout.variants[0].routes if rollout.variants else ()
    return msgspec.structs.replace(rollout, salt=salt_of(integration, variants))


def pinned_holdout(integration: str, plan: Plan, pin: Pin) -> PinnedHoldout | None:
    """The holdout of a release that is about to be made of a declaration.

    Its salt has nothing to do with what runs: the same entities are held out of every release.
    """
    held = plan.holdout
    if held is None:
        return None
    text = "/".join([integration, HOLDOUT, held.season])
    routes = tuple(named(pin(i, one), HOLDOUT) for i, one in enumerate(held.routes))
    return PinnedHoldout(hashlib.sha256(text.encode()).hexdigest()[:16], held.share, routes)


def _is_champion(route: PinnedRoute, own: tuple[PinnedRoute, ...]) -> bool:
    return bool(route.sha256) and any(one.sha256 == route.sha256 for one in own)


def _is_same(
    running: PinnedRollout, planned: PinnedRollout, now: Variant, routes: tuple[PinnedRoute, ...]
) -> bool:
    """Whether a rollout is going on already: then it stays where it stands."""
    return running.steps == planned.steps and [*map(what_runs, now.routes)] == [
        *map(what_runs, routes)
    ]


def named(route: PinnedRoute, what: str) -> PinnedRoute:
    """Its own label: in metrics and attempts it must not be taken for the champion's."""
    return msgspec.structs.replace(route, label=f"{route.label}@{what}")


def at_share(rollout: PinnedRollout, challenger: Variant, share: int) -> PinnedRollout:
    """The rollout with another share; `step` tells how many steps that is at least."""
    step = max(0, sum(one <= share for one in rollout.steps) - 1)
    moved = msgspec.structs.replace(challenger, share=share)
    return msgspec.structs.replace(rollout, variants=(moved,), step=step)


def check_steps(integration: str, steps: tuple[int, ...]) -> None:
    """Passes steps that a canary can climb.

    Raises:
        DeclarationError: They do not grow, or are too many.
    """
    rising = all(a < b for a, b in pairwise(steps))
    if not rising or len(steps) > MOST_STEPS or (len(steps) > 1 and not steps[0]):
        raise DeclarationError(
            integration,
            got=f"steps {', '.join(map(share_text, steps[:6]))}",
            promised=f"shares above 0 that grow, at most {MOST_STEPS}",
            mend='write --steps "1 %, 10 %, 50 %"',
        )


def or_none(rollout: PinnedRollout | None) -> PinnedRollout | None:
    """A rollout that says nothing is none: then a release of before is the same again."""
    if rollout is None:
        return None
    said = msgspec.structs.replace(rollout, salt="")
    return None if said == PinnedRollout("") else rollout


def with_wanted(rollout: PinnedRollout, wanted: Wanted) -> PinnedRollout:
    """The rollout with what a command wants of it, and usual values where nobody says."""
    given = {name: value for name in wanted.__struct_fields__
             if (value := getattr(wanted, name)) is not None}  # fmt: skip
    if given.get("then") == "hold":
        given["then"] = ""
    made = msgspec.structs.replace(rollout, **given)
    usual = Policy()
    return msgspec.structs.replace(
        made, min_calls=made.min_calls or usual.min_calls, every_s=made.every_s or usual.every_s
    )
