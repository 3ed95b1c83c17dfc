"""Rolling: what is recorded is folded into the rollups beside the calls."""

from __future__ import annotations

import time

from splice.app.chores import Chore
from splice.app.clock import now_us
from splice.app.encoding import Encode, encoder_of
from splice.app.wiring import Services, Stores
from splice.monitor.rolling import Roller

EVERY_S = 1.0
_PRUNE_EVERY_S = 300.0


def chores_of_rollups(services: Services) -> list[Chore]:
    """The chore that folds calls into rollups, and the one that forgets what is not kept."""
    stores = services.stores
    return [
        Chore("rollups", EVERY_S, roller_of(stores, encoder_of(services.settings)).step),
        Chore("rollups kept", _PRUNE_EVERY_S, stores.rollups.prune),
    ]


def roller_of(stores: Stores, encoder: Encode | None = None) -> Roller:
    """Folds with profiles where splice-ai[monitor] is installed. `encoder` reads texts for them."""
    try:
        from splice.monitor.plans import plans_from
        from splice.monitor.profiles import Profiler, merge
    except ImportError:  # of an extra: calls, costs and latencies are counted all the same
        return Roller(stores.rollups)
    return Roller(stores.rollups, Profiler(plans_from(stores.releases), encoder).add, merge)


def catch_up(stores: Stores, most_s: float = 10.0) -> bool:
    """Folds what waits, for so long at the most: where no server runs, nobody else does.

    Says whether everything is folded.
    """
    roller, end = roller_of(stores), time.monotonic() + most_s
    while roller.step(now_us()):
        if time.monotonic() > end:
            return False
    return True
