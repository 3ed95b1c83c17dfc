"""Promoting: a challenger before its first call and after its last step; and who is told of it."""

from __future__ import annotations

from splice.app import gating, wiring
from splice.app.settings import Settings
from splice.control.promote import Move
from splice.control.registry import CHAMPION
from splice.control.rollouts import Who
from splice.core.errors import DeclarationError, Overtaken
from splice.core.release import ModelVersion, Release
from splice.core.rollout import challenger_of


def admit_challenger(
    settings: Settings, stores: wiring.Stores, integration: str, ref: str, who: Who
) -> str:
    """Passes a version that may answer calls of an integration: whoever has gates asks them first.

    Returns its label with its number: an alias may mean another one in a moment.

    Raises:
        NotPromoted: A gate, or a second person's consent, is lacking.
        UnknownModel: There is no such version.
    """
    promoter = gating.promoter_of(settings, stores)
    version = promoter.version(ref)
    places = tuple(promoter.places(version, integration, follows=False))
    promoter.checked(Move("rollout.start", version, 0, places), by=who.by, now_us=who.now_us)
    return version.label


def admit_champion(settings: Settings, stores: wiring.Stores, ref: str, who: Who) -> None:
    """Passes a version that may be the champion, wherever releases follow it.

    Raises:
        NotPromoted: A gate, or a second person's consent, is lacking.
        UnknownModel: There is no such version.
    """
    promoter = gating.promoter_of(settings, stores)
    promoter.checked(promoter.promotion(ref), by=who.by, now_us=who.now_us)


def promote_challenger(
    settings: Settings, stores: wiring.Stores, release: Release, who: Who
) -> str:
    """Make the challenger of a release the champion, through the gates; says what was done.

    Raises:
        NotPromoted: A gate, or a second person's consent, is lacking.
        Overtaken: Somebody changed what is live meanwhile.
        DeclarationError: It runs no challenger, or its route does not follow the champion.
    """
    challenger = challenger_of(release.manifest.rollout)
    if challenger is None:
        raise DeclarationError(release.integration, got="no rollout that is running")
    promoter = gating.promoter_of(settings, stores)
    label = challenger.routes[0].version
    move = promoter.promotion(label)
    live = {one.integration: one.number for one in stores.releases.live()}
    seen = {one.live.integration: one.live.number for one in move.places}
    # What was shown, or judged, must still be live: a stop in between is not to be overruled.
    for number in (live.get(release.integration), seen.get(release.integration, release.number)):
        if number != release.number:
            raise Overtaken(
                release.integration,
                got=f"release {number}, which is live now",
                promised=f"release {release.number}, whose challenger was to be promoted",
                mend="look again at what is live, and then decide",
            )
    if release.integration not in seen:
        raise DeclarationError(
            release.integration,
            got=f"a route to a version of {challenger.routes[0].model} by its number",
            promised="a route that follows the champion",
            mend="name the model without a number, and apply",
        )
    validations = promoter.checked(move, by=who.by, now_us=who.now_us)
    made = promoter.promote(move, validations, by=who.by, why=who.why, now_us=who.now_us)
    warning = after_move(settings, stores, move.version)
    now = ", ".join(f"release {one.number} of {one.integration}" for one in made.releases)
    said = f"{label} is the champion; live now: {now or 'as before'}"
    if move.unchecked:
        said += f" ({', '.join(move.unchecked)} declares no gates, so nothing was checked)"
    return f"{said}. {warning}" if warning else said


def after_move(settings: Settings, stores: wiring.Stores, version: ModelVersion) -> str:
    """Tells the registry elsewhere, where there is one, of a new champion; a warning, or empty."""
    if not settings.registry.url:
        return ""
    from splice.app.registries import after_alias  # the client is loaded where there is a registry

    return after_alias(settings, stores, version, CHAMPION)
