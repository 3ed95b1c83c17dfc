"""Labelling: outcomes joined with calls beside the calls, or before somebody looks."""

from __future__ import annotations

import time

from splice.app.chores import Chore
from splice.app.wiring import Services, Stores
from splice.monitor.labelling import Labeller

EVERY_S = 2.0


def chores_of_labels(services: Services) -> list[Chore]:
    """The chore that joins outcomes with calls."""
    stores = services.stores
    return [Chore("labels", EVERY_S, Labeller(stores.labels, stores.releases).step)]


def catch_up(stores: Stores, now_us: int, most_s: float = 5.0) -> None:
    """Joins what waits, for so long at the most: where no server runs, nobody else does."""
    labeller = Labeller(stores.labels, stores.releases)
    end = time.monotonic() + most_s
    while labeller.step(now_us) and time.monotonic() < end:
        pass
