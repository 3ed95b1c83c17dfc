"""The figures of a report, with what waits counted before: where no server runs, nobody else does.

Needs splice-ai[monitor].
"""

from __future__ import annotations

import time

from splice.app import labelling, rolling
from splice.app.wiring import Stores
from splice.monitor.experiments import Studies
from splice.monitor.months import Month
from splice.monitor.reporting import MonthFigures, figures_of

_ROLL_S, _LABEL_S, _STUDY_S = 60.0, 30.0, 30.0


def month_of_stores(
    stores: Stores, integration: str, month: Month, now_us: int, currency: str
) -> MonthFigures:
    """The figures of a month, of all that was recorded until now if that can be had soon.

    Raises:
        UnknownIntegration: It has no release.
    """
    rolling.catch_up(stores, _ROLL_S)
    labelling.catch_up(stores, now_us, _LABEL_S)
    studies, end = Studies(stores, currency), time.monotonic() + _STUDY_S
    for live in stores.releases.live():
        if live.integration == integration:
            while studies.step(integration, live.number, now_us, at_once=True):
                if time.monotonic() > end:
                    break
    return figures_of(stores, integration, month, now_us, currency)
