"""Rollouts: each change of one is a new release, or an older one again. Nothing else is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from splice.control.registry import split_ref
from splice.core.errors import DeclarationError, UnknownIntegration
from splice.core.release import (
    Manifest,
    ModelVersion,
    PinnedGuard,
    PinnedRollout,
    PinnedRoute,
    Release,
    Variant,
)
from splice.core.rollout import (
    CHALLENGER,
    SHADOW,
    challenger_of,
    share_text,
)
from splice.declare.discover import reopen
from splice.declare.rollouts import Plan, Policy
from splice.declare.routes import TimedRoute
from splice.ports.stores import LiveChange, ModelStore, ReleaseStore

Pin = Callable[[int, TimedRoute], PinnedRoute]
"""Pins a declared route, at its position."""


class Who(msgspec.Struct, frozen=True):
    """Who changes something, why, and when."""

    by: str
    why: str
    now_us: int


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
    text = "/".join([integration, *map(_what, routes)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _what(route: PinnedRoute) -> str:
    """What a route runs; the version of a rule changes with every other line of its source."""
    return route.label if route.kind == "rule" else f"{route.label} {route.version}"


def declared(plan: Plan, running: PinnedRollout | None) -> PinnedRollout:
    """The policy that a declaration says, and none that a command did; with the shadows that run.

    This is what is left when a challenger goes, and what the next one starts from.
    """
    kept = running or PinnedRollout("")
    rollout = PinnedRollout("", shadows=kept.shadows, shadow_share=kept.shadow_share)
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
    share = rollout.shadow_share if shadows else 0
    kept = msgspec.structs.replace(rollout, shadows=shadows, shadow_share=share)
    challenger = challenger_of(kept)
    if challenger is not None and challenger.routes[0].sha256 == sha256:
        kept = msgspec.structs.replace(declared(plan, kept), salt=salt_of(integration, ()))
    return _or_none(kept)


def pinned_rollout(
    integration: str, plan: Plan, pin: Pin, before: Manifest | None
) -> PinnedRollout | None:
    """The rollout of a release that is about to be made of a declaration.

    A challenger or a shadow that a command started goes on where the declaration names none.
    """
    running = None if before is None else before.rollout
    rollout = declared(plan, running)
    if running is not None and running.variants and not plan.challenger:
        # A command started it, by the declared policy or by one of its own: it goes on.
        own = rollout if plan.policy is not None else running
        rollout = msgspec.structs.replace(own, variants=running.variants, step=0)
    if plan.challenger:
        routes = tuple(_named(pin(i, one), CHALLENGER) for i, one in enumerate(plan.challenger))
        first = rollout.steps[0] if rollout.steps else 0
        rollout = msgspec.structs.replace(
            rollout, variants=(Variant(CHALLENGER, first, routes),), step=0
        )
        now = challenger_of(running)
        if running is not None and now is not None and _is_same(running, rollout, now, routes):
            here = msgspec.structs.replace(now, routes=routes)
            rollout = msgspec.structs.replace(rollout, variants=(here,), step=running.step)
    if plan.shadow:
        shadows = tuple(_named(pin(i, one), SHADOW) for i, one in enumerate(plan.shadow))
        rollout = msgspec.structs.replace(rollout, shadows=shadows, shadow_share=plan.shadow_share)
    if plan.policy is None and not rollout.variants and not rollout.shadows:
        return None
    variants = rollout.variants[0].routes if rollout.variants else ()
    return msgspec.structs.replace(rollout, salt=salt_of(integration, variants))


def _is_same(
    running: PinnedRollout, planned: PinnedRollout, now: Variant, routes: tuple[PinnedRoute, ...]
) -> bool:
    """Whether a rollout is going on already: then it stays where it stands."""
    return running.steps == planned.steps and [*map(_what, now.routes)] == [*map(_what, routes)]


def _named(route: PinnedRoute, what: str) -> PinnedRoute:
    """Its own label: in metrics and attempts it must not be taken for the champion's."""
    return msgspec.structs.replace(route, label=f"{route.label}@{what}")


class Rollouts:
    """Starts, moves and ends rollouts.

    Args:
        releases: Where releases are kept.
        models: Resolves versions.
    """

    def __init__(self, releases: ReleaseStore, models: ModelStore) -> None:
        self.releases = releases
        self._models = models

    def live(self, integration: str) -> Release:
        """The release that answers now.

        Raises:
            UnknownIntegration: None does.
        """
        numbers = {one.integration: one.number for one in self.releases.live()}
        number = numbers.get(integration)
        found = None if number is None else self.releases.release(integration, number)
        if found is None:
            raise UnknownIntegration(
                integration[:80], got="no live release of that name",
                promised=f"one of {', '.join(sorted(numbers)) or 'none yet'}",
            )  # fmt: skip
        return found

    def start(self, integration: str, ref: str, wanted: Wanted, who: Who) -> Release:
        """Give a version its share of the calls.

        Raises:
            DeclarationError: A rollout runs already, the version cannot stand in for the route, or
                nobody says which share.
        """
        live = self.live(integration)
        running = challenger_of(live.manifest.rollout)
        if running is not None:
            raise DeclarationError(
                integration,
                got=f"a rollout of {running.routes[0].version}, which is running",
                promised="one rollout at a time",
                mend=f"splice rollout stop {integration}, or splice rollout finish {integration}",
            )
        route = self._stand_in(live, ref, CHALLENGER)
        rollout = _wanted(self._declared(live), wanted)
        if not rollout.steps and not rollout.flag:
            raise DeclarationError(
                integration, got="no share", promised="a share, or steps",
                mend="add --share '10 %'",
            )  # fmt: skip
        share = rollout.steps[0] if rollout.steps else 0
        rollout = msgspec.structs.replace(
            rollout,
            salt=salt_of(integration, (route,)),
            variants=(Variant(CHALLENGER, share, (route,)),),
            step=0,
        )
        return self._change(live, rollout, "rollout.start", who)

    def shadow(self, integration: str, ref: str, share: int, who: Who) -> Release:
        """Let a version repeat a share of the calls; 0 ends that.

        Raises:
            DeclarationError: The version cannot stand in for a route.
        """
        live = self.live(integration)
        rollout = live.manifest.rollout or PinnedRollout(salt_of(integration, ()))
        shadows = (self._stand_in(live, ref, SHADOW),) if share else ()
        rollout = msgspec.structs.replace(rollout, shadows=shadows, shadow_share=share)
        return self._change(live, rollout, "rollout.shadow", who)

    def move(self, integration: str, share: int, who: Who) -> Release:
        """Another share for the challenger; where it is one of the steps, that is where it stands.

        Raises:
            DeclarationError: No rollout is running.
        """
        live, rollout, challenger = self._running(integration)
        steps = rollout.steps
        step = steps.index(share) if share in steps else rollout.step
        moved = msgspec.structs.replace(
            rollout,
            variants=(msgspec.structs.replace(challenger, share=share),),
            step=step,
        )
        return self._change(live, moved, "rollout.move", who)

    def advance(self, live: Release, who: Who) -> Release:
        """The next step of a canary."""
        _, rollout, challenger = self._running(live.integration, live)
        step = rollout.step + 1
        share = rollout.steps[step]
        moved = msgspec.structs.replace(
            rollout, variants=(msgspec.structs.replace(challenger, share=share),), step=step
        )
        return self._change(live, moved, "rollout.advance", who)

    def stop(
        self, integration: str, who: Who, *, live: Release | None = None, action: str = ""
    ) -> Release:
        """End the rollout: every call gets the release's own routes again.

        Raises:
            DeclarationError: No rollout is running.
        """
        live, _, _ = self._running(integration, live)
        action = action or "rollout.stop"
        older = self._without(live)
        if older is None:
            left = msgspec.structs.replace(self._declared(live), salt=salt_of(integration, ()))
            return self._change(live, left, action, who)
        change = LiveChange(action, live.number, {"share": share_text(0)})
        self.releases.go_live(
            integration, older.number, by=who.by, why=who.why, now_us=who.now_us, change=change
        )
        return older

    def _declared(self, live: Release) -> PinnedRollout:
        running = live.manifest.rollout
        try:
            bundle = self.releases.bundle(live.manifest.bundle)
            plan = reopen(bundle, live.manifest.entry).plan
        except Exception:  # noqa: BLE001 - no stop waits for a declaration that does not load
            plan = Plan()
        return declared(plan, running)

    def _without(self, live: Release) -> Release | None:
        """The newest release before that differs in nothing but the challenger."""
        rollout = live.manifest.rollout
        shadows = () if rollout is None else rollout.shadows
        bare = msgspec.structs.replace(live.manifest, rollout=None)
        for one in self.releases.releases(live.integration):
            other = one.manifest.rollout
            if (
                one.number < live.number
                and challenger_of(other) is None
                and (() if other is None else other.shadows) == shadows
                and msgspec.structs.replace(one.manifest, rollout=None).digest == bare.digest
            ):
                return one
        return None

    def _running(
        self, integration: str, live: Release | None = None
    ) -> tuple[Release, PinnedRollout, Variant]:
        live = live or self.live(integration)
        rollout = live.manifest.rollout
        challenger = challenger_of(rollout)
        if rollout is None or challenger is None:
            raise DeclarationError(
                integration, got="no rollout that is running", mend="splice rollout status"
            )
        return live, rollout, challenger

    def challenger(self, integration: str) -> tuple[Release, PinnedRoute]:
        """The live release and the first route of its challenger.

        Raises:
            DeclarationError: No rollout is running.
        """
        live, _, challenger = self._running(integration)
        return live, challenger.routes[0]

    def _stand_in(self, live: Release, ref: str, what: str) -> PinnedRoute:
        name, which = split_ref(ref)
        version = self._models.resolve(name, which)
        own = next((one for one in live.manifest.routes if one.model == name), None)
        if version is None or version.withdrawn:
            got = "no such version" if version is None else f"withdrawn: {version.withdrawn}"
            raise DeclarationError(ref, got=got, mend="splice models list")
        if own is None:
            routes = ", ".join(one.label for one in live.manifest.routes)
            raise DeclarationError(
                ref, got=f"a model that no route of {live.integration} names",
                promised=f"a version of one of its models ({routes})",
                mend="declare it: rollout = splice.Rollout(challenger=…)",
            )  # fmt: skip
        if own.sha256 == version.sha256:
            raise DeclarationError(
                ref, got=f"{version.label}, which is the champion", promised="another version",
                mend="splice models list",
            )  # fmt: skip
        self._check_signature(own, version)
        return _named(
            msgspec.structs.replace(
                own,
                version=version.label,
                model_version=version.version,
                sha256=version.sha256,
                format="" if version.format == "onnx" else version.format,
            ),
            what,
        )

    def _check_signature(self, own: PinnedRoute, version: ModelVersion) -> None:
        champion = self._models.resolve(own.model, str(own.model_version))
        if champion is None or own.features:
            return
        has = {one.name: one.datatype for one in champion.signature.inputs}
        reads = {one.name: one.datatype for one in version.signature.inputs}
        if reads != has and version.signature.features != champion.signature.features:
            raise DeclarationError(
                version.label,
                got=f"a model that reads {', '.join(reads) or 'nothing known'}",
                promised=f"the inputs of {champion.label}: {', '.join(has)}",
                mend="declare it as a challenger of its own, with a context() that gives these",
            )

    def _change(
        self, live: Release, rollout: PinnedRollout | None, action: str, who: Who
    ) -> Release:
        """A new release with another rollout: what it comes to is told by its own calls."""
        manifest = msgspec.structs.replace(live.manifest, rollout=_or_none(rollout))
        challenger = challenger_of(manifest.rollout)
        share = share_text(challenger.share) if challenger is not None else share_text(0)
        change = LiveChange(action, live.number, {"share": share})
        return self.releases.add_release(
            manifest, by=who.by, why=who.why, now_us=who.now_us, change=change
        )


def _or_none(rollout: PinnedRollout | None) -> PinnedRollout | None:
    """A rollout that says nothing is none: then a release of before is the same again."""
    if rollout is None:
        return None
    said = msgspec.structs.replace(rollout, salt="")
    return None if said == PinnedRollout("") else rollout


def _wanted(rollout: PinnedRollout, wanted: Wanted) -> PinnedRollout:
    given = {name: value for name in wanted.__struct_fields__
             if (value := getattr(wanted, name)) is not None}  # fmt: skip
    if given.get("then") == "hold":
        given["then"] = ""
    made = msgspec.structs.replace(rollout, **given)
    usual = Policy()
    return msgspec.structs.replace(
        made, min_calls=made.min_calls or usual.min_calls, every_s=made.every_s or usual.every_s
    )
