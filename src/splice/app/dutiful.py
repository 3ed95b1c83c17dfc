"""Duties of an integration by a project's settings and ledger: what a checklist is made of."""

from __future__ import annotations

import msgspec

from splice.app import labelling, rolling
from splice.app.settings import Settings
from splice.app.signatures import verifier_of
from splice.app.wiring import Stores
from splice.control.duties.known import Known, Terms
from splice.core.units import seconds

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
    terms = msgspec.structs.replace(terms_of(settings), signed=verifier_of(settings, stores.models))
    return Known(stores, integration, now_us, terms)
