"""Time and chance, handed inward so that tests can hold them still."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Where the engine gets time and ids from."""

    def now_us(self) -> int:
        """Unix time in microseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back, and that an event loop's timers use."""
        ...

    def new_id(self) -> str:
        """A fresh UUIDv7."""
        ...
