"""Duties of an integration by a project's settings and ledger: what a checklist is made of."""

from __future__ import annotations

from splice.app import labelling, rolling
from splice.app.settings import Settings
from splice.app.wiring import Stores
from splice.control.duties.checklist import checklist
from splice.control.duties.known import Known, Shelves, Terms
from splice.core.evidence import Checklist
from splice.core.units import seconds
from splice.declare.law import eu_ai_act

_ROLL_S, _LABEL_S = 30.0, 10.0


def terms_of(settings: Settings) -> Terms:
    """What a process knows beside its ledger."""
    keep = settings.ledger.keep
    kept_days = seconds(keep, "ledger.keep") / 86_400 if keep else None
    return Terms(kept_days=kept_days)


def known_of(settings: Settings, stores: Stores, integration: str, now_us: int) -> Known:
    """All that is known of an integration, with what waits counted before.

    Raises:
        UnknownIntegration: It never had a release.
    """
    rolling.catch_up(stores, _ROLL_S)
    labelling.catch_up(stores, now_us, _LABEL_S)
    return Known(stores, integration, now_us, terms_of(settings))


def duties_of(
    settings: Settings, shelves: Shelves, integration: str, now_us: int, *, all_duties: bool = False
) -> Checklist:
    """The checklist as it is now, without waiting for what is not counted yet.

    Raises:
        UnknownIntegration: It never had a release.
    """
    known = Known(shelves, integration, now_us, terms_of(settings))
    return checklist(known, eu_ai_act(), all_duties=all_duties)
