"""Faults of the user's own code: told with their place, in the record and in the log."""

from __future__ import annotations

import logging
import time
import traceback
from pathlib import Path

log = logging.getLogger("splice.faults")

_QUIET_SECONDS = 10.0
_MOST_PLACES = 1000


class Faults:
    """Logs each faulty place once in a while, however many calls run into it.

    The message of the error stays out of the log: it may hold what a customer sent. It is in the
    record of the call.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}

    def told(self, where: str, error: BaseException) -> str:
        """What happened and where: `KeyError: 'claims' at rules.py:12`. Also logs the place."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "no place"
        key, now = (where, place), time.monotonic()
        if now - self._told.get(key, -_QUIET_SECONDS) >= _QUIET_SECONDS:
            if len(self._told) >= _MOST_PLACES:
                self._told.clear()
            self._told[key] = now
            steps = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames[-5:]))
            log.error("%s raised %s at %s", where, type(error).__name__, steps)
        return f"{type(error).__name__}: {error} at {place}"


faults = Faults()
