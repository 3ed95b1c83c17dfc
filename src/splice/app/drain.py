"""Drain: what runs when a process stops has its time; what outlives it is cut off, and recorded."""

from __future__ import annotations

import asyncio
import time

from splice.core.errors import Draining
from splice.engine.engine import Engine


class Drain:
    """The shutdown of one process.

    Args:
        seconds: How long those that run may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None

    def begin(self, engine: Engine) -> float:
        """Starts the clock once; returns when it has run down, on `time.monotonic()`.

        Streams that still run then end with an error.
        """
        if self._until is None:
            self._until = time.monotonic() + self._seconds
            asyncio.get_running_loop().call_later(self._seconds, _cut_off, engine)
        return self._until

    async def run_down(self, engine: Engine) -> None:
        """Returns once nothing runs any more, or the time has passed."""
        until = self.begin(engine)
        while engine.in_flight and time.monotonic() < until:
            await asyncio.sleep(0.01)
        _cut_off(engine)


def _cut_off(engine: Engine) -> None:
    late = "a stream that still ran when the time for shutting down had passed"
    engine.cut_off(Draining("server", got=late, mend="ask again"))
