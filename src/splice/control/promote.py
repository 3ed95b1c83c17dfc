"""Promote and roll back: a version becomes the champion, and live releases take it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from splice.control.cases import Case, placed
from splice.control.registry import CHAMPION, split_ref
from splice.control.rollout_plans import settled
from splice.control.validate import Validator
from splice.core.errors import NotPromoted, UnknownModel
from splice.core.release import Manifest, ModelVersion, PinnedRoute, Release
from splice.core.validation import Permit, Validation
from splice.declare.reading import Declaration
from splice.declare.spec import Model
from splice.ports.promotions import Promoted, Promotion, PromotionStore, Repin
from splice.ports.stores import ModelStore, ReleaseStore

Reopen = Callable[[str, str], Declaration]
"""The declaration of a bundle's SHA-256 and an entry."""
MayRun = Callable[[PinnedRoute, Release, Declaration], Permit]


class Place(msgspec.Struct, frozen=True):
    """A live release that a version takes a place in; `case` is None where no gates are declared.

    `manifest` is the release's with the version in its routes; the same where it is there already.
    """

    live: Release
    declaration: Declaration
    manifest: Manifest
    case: Case | None = None

    @property
    def changes(self) -> bool:
        """Whether a new release is needed."""
        return self.manifest.digest != self.live.manifest.digest


class Move(msgspec.Struct, frozen=True):
    """What promoting or rolling back would do; nothing is done yet. `seen` is 0 without one."""

    action: str
    version: ModelVersion
    seen: int
    places: tuple[Place, ...]

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.seen != self.version.version or any(one.changes for one in self.places)

    @property
    def unchecked(self) -> list[str]:
        """Integrations that declare no gates for the model."""
        return [one.live.integration for one in self.places if one.case is None]


class Promoter:
    """Plans and makes promotions and rollbacks.

    Args:
        models: Versions and aliases.
        releases: What is live.
        promotions: Makes a change in one transaction.
        validator: Runs gates.
        reopen: Gives the declaration of a stored bundle.
        may_run: What a release may run where risk is high.
    """

    def __init__(
        self,
        models: ModelStore,
        releases: ReleaseStore,
        promotions: PromotionStore,
        validator: Validator,
        reopen: Reopen,
        may_run: MayRun,
    ) -> None:
        self._models = models
        self._releases = releases
        self._promotions = promotions
        self._validator = validator
        self._reopen = reopen
        self._may_run = may_run

    def version(self, ref: str) -> ModelVersion:
        """The version that `credit@4` or `credit@challenger` names.

        Raises:
            UnknownModel: There is none.
        """
        name, which = split_ref(ref)
        found = self._models.resolve(name, which)
        if found is None:
            numbers = [str(one.version) for one in self._models.models(name)]
            raise UnknownModel(
                ref, got="no such version",
                promised=f"one of {name}: {', '.join(numbers) or 'none is registered'}",
                mend="splice models list",
            )  # fmt: skip
        return found

    def places(
        self, version: ModelVersion, integration: str | None = None, *, follows: bool = True
    ) -> list[Place]:
        """Where a version would answer: every live release that routes by its champion.

        Without `follows`, also where a route names another version of it by its number.
        """
        found: list[Place] = []
        for live in self._releases.live():
            if integration is not None and live.integration != integration:
                continue
            release = self._releases.release(live.integration, live.number)
            if release is None or not any(
                one.model == version.name for one in release.manifest.routes
            ):
                continue
            place = self._place(release, version, follows=follows)
            if place is not None:
                found.append(place)
        return found

    def _place(self, release: Release, version: ModelVersion, *, follows: bool) -> Place | None:
        manifest = release.manifest
        declaration = self._reopen(manifest.bundle, manifest.entry)
        routes: list[PinnedRoute] = []
        first: PinnedRoute | None = None
        for pinned, timed in zip(manifest.routes, declaration.routes, strict=True):
            route = pinned
            name, which = ("", "")
            if isinstance(timed.route, Model):
                name, which = split_ref(timed.route.ref)
            if name == version.name and (which == CHAMPION or not follows):
                route = placed(pinned, version)
                first = first or route
            routes.append(route)
        if first is None:
            return None
        # A challenger that becomes the champion is no challenger any more.
        rollout = settled(release.integration, manifest.rollout, declaration.plan, version.sha256)
        after = msgspec.structs.replace(manifest, routes=tuple(routes), rollout=rollout)
        case = self._validator.case(declaration, after, first, version, release)
        return Place(release, declaration, after, case)

    def promotion(self, ref: str) -> Move:
        """What promoting a version would change.

        Raises:
            UnknownModel: There is no such version.
            NotPromoted: It is withdrawn.
        """
        version = self.version(ref)
        self._refuse_withdrawn(version)
        return self._move("model.promote", version)

    def _refuse_withdrawn(self, version: ModelVersion) -> None:
        why = self._models.withdrawn().get(version.sha256, "") or version.withdrawn
        if why:
            raise NotPromoted(
                version.label, got=f"a withdrawn version: {why}", promised="one that may be used",
                mend=f"splice models restore {version.label}",
            )  # fmt: skip

    def _move(self, action: str, version: ModelVersion) -> Move:
        seen = self._models.aliases(version.name).get(CHAMPION, 0)
        return Move(action, version, seen, tuple(self.places(version)))

    def checked(self, move: Move, *, by: str, now_us: int) -> list[Validation]:
        """The validations that let a version in; runs the gates where nothing is known yet.

        Raises:
            NotPromoted: It did not pass, waits for a second person, or was changed.
            ModelUnavailable: The artifact is gone, or its bytes have another hash.
        """
        self._validator.check_artifact(move.version)
        cases = [one.case for one in move.places if one.case is not None]
        return [self._validator.admit(case, by=by, now_us=now_us) for case in cases]

    def promote(
        self, move: Move, validations: Sequence[Validation], *, by: str, why: str, now_us: int
    ) -> Promoted:
        """Alias, releases and audit event in one transaction.

        Raises:
            Overtaken: Somebody else was faster; nothing was changed.
        """
        return self._made(
            move, by=by, why=why, now_us=now_us,
            details={"validations": {one.integration: one.digest for one in validations},
                     "unchecked": move.unchecked},
        )  # fmt: skip

    def _made(
        self, move: Move, *, by: str, why: str, now_us: int, details: dict[str, object]
    ) -> Promoted:
        version = move.version
        repins = tuple(
            Repin(one.live.integration, one.live.number, one.manifest)
            for one in move.places
            if one.changes
        )
        return self._promotions.promote(
            Promotion(
                move.action, version.name, version.version, version.sha256, move.seen, repins,
                by, now_us, why, details,
            )
        )  # fmt: skip

    def rollback(self, name: str, to: int | None) -> Move:
        """What going back would change: to the champion before, or to a named one.

        Raises:
            UnknownModel: The model has no such version.
            NotPromoted: There is nothing to go back to, it never was champion, it is withdrawn, or
                may not run any more.
        """
        stack = self._champions(name)
        if to is None:
            before = [one for one in stack[:-1] if not self.version(f"{name}@{one}").withdrawn]
            if not before:
                raise NotPromoted(
                    name, got="no champion before this one", promised="one to go back to",
                    mend="splice models withdraw takes the version away from every route",
                )  # fmt: skip
            to = before[-1]
        version = self.version(f"{name}@{to}")
        self._refuse_withdrawn(version)
        if to not in {one.version for one in self._models.alias_history(name, CHAMPION)}:
            raise NotPromoted(
                version.label, got="a version that never was champion",
                promised=f"one that was: {', '.join(map(str, stack[:-1])) or 'none'}",
                mend=f"splice models promote {version.label}",
            )  # fmt: skip
        move = self._move("model.rollback", version)
        for place in move.places:
            self._refuse_idle(place, version)
        return move

    def _champions(self, name: str) -> list[int]:
        """Champions from the first to the present; what was rolled back is not among them."""
        stack: list[int] = []
        for change in reversed(self._models.alias_history(name, CHAMPION)):
            if change.version in stack:
                del stack[stack.index(change.version) + 1 :]
            else:
                stack.append(change.version)
        return stack

    def _refuse_idle(self, place: Place, version: ModelVersion) -> None:
        """Going back past gates to what never answered, or to what would not run, is no way out."""
        name = place.live.integration
        if place.case is not None and not any(
            route.sha256 == version.sha256
            for release in self._releases.releases(name)
            for route in release.manifest.routes
        ):
            raise NotPromoted(
                version.label, got=f"a version that never answered in {name}",
                promised="one that its gates let in once",
                mend=f"splice models promote {version.label}",
            )  # fmt: skip
        release = msgspec.structs.replace(place.live, manifest=place.manifest)
        for route in place.manifest.routes:
            if route.sha256 != version.sha256:
                continue
            why = self._may_run(route, release, place.declaration).why
            if why:
                raise NotPromoted(
                    version.label,
                    got=why,
                    promised=f"a version that may run in {name}",
                    mend=f"or go back to a whole release: splice release rollback {name}",
                )

    def roll_back(self, move: Move, *, by: str, why: str, now_us: int) -> Promoted:
        """Alias, releases and audit event in one transaction; no gate is asked again.

        Raises:
            NotPromoted: Its signature is not the artifact's.
            ModelUnavailable: The artifact is gone, or its bytes have another hash.
            Overtaken: Somebody else was faster; nothing was changed.
        """
        self._validator.check_artifact(move.version)
        return self._made(move, by=by, why=why, now_us=now_us, details={})
