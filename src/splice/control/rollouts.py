"""Rollouts: each change of one is a new release, or an older one again. Nothing else is kept."""

from __future__ import annotations

import msgspec

from splice.control.registry import split_ref
from splice.control.rollout_plans import (
    Wanted,
    at_share,
    check_steps,
    declared,
    named,
    or_none,
    salt_of,
    with_wanted,
)
from splice.core.errors import DeclarationError, UnknownIntegration
from splice.core.release import ModelVersion, PinnedRollout, PinnedRoute, Release, Variant
from splice.core.rollout import CHALLENGER, SHADOW, challenger_of, next_step, share_text
from splice.declare.discover import reopen
from splice.declare.rollouts import Plan
from splice.ports.stores import LiveChange, ModelStore, ReleaseStore

__all__ = ["Rollouts", "Wanted", "Who"]


class Who(msgspec.Struct, frozen=True):
    """Who changes something, why, and when."""

    by: str
    why: str
    now_us: int


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
        rollout = with_wanted(self._declared(live), wanted)
        check_steps(integration, rollout.steps)
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
            run=f"{who.now_us:x}",
        )
        return self._change(live, rollout, "rollout.start", who)

    def shadow(self, integration: str, ref: str, share: int, who: Who) -> Release:
        """Let a version repeat a share of the calls; 0 ends that.

        Raises:
            DeclarationError: The version cannot stand in for a route.
        """
        live = self.live(integration)
        rollout = live.manifest.rollout or PinnedRollout(salt_of(integration, ()))
        if not share and not rollout.shadows:
            raise DeclarationError(
                integration, got="no shadow that is running", mend="splice rollout status"
            )
        shadows = (self._stand_in(live, ref, SHADOW),) if share else ()
        rollout = msgspec.structs.replace(
            rollout, shadows=shadows, shadow_share=share, shadowed="command" if share else ""
        )
        return self._change(live, rollout, "rollout.shadow", who)

    def move(self, integration: str, share: int, who: Who) -> Release:
        """Another share for the challenger; where it is one of the steps, that is where it stands.

        Raises:
            DeclarationError: No rollout is running.
        """
        live, rollout, challenger = self._running(integration)
        return self._change(live, at_share(rollout, challenger, share), "rollout.move", who)

    def advance(self, live: Release, who: Who) -> Release:
        """The next step of a canary: the first above the present share."""
        _, rollout, challenger = self._running(live.integration, live)
        share = next_step(rollout)
        return self._change(
            live,
            at_share(rollout, challenger, challenger.share if share is None else share),
            "rollout.advance",
            who,
        )

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
        return named(
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
        manifest = msgspec.structs.replace(live.manifest, rollout=or_none(rollout))
        challenger = challenger_of(manifest.rollout)
        share = share_text(challenger.share) if challenger is not None else share_text(0)
        change = LiveChange(action, live.number, {"share": share})
        return self.releases.add_release(
            manifest, by=who.by, why=who.why, now_us=who.now_us, change=change
        )
