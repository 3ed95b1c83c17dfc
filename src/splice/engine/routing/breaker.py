"""Breaker: what keeps failing is left alone for a while, and then asked by one call first."""

from __future__ import annotations

import time

import msgspec

from splice.core.errors import ProviderFailed, ProviderLimited, RouteError, RouteTimeout


class Breaking(msgspec.Struct, frozen=True):
    """When something is left alone: after so many failures in a row, for so many seconds."""

    failures: int = 5
    seconds: float = 10.0


class Breaker:
    """What the last calls of one place have shown.

    A client that went away says nothing of the place and is never counted.
    """

    __slots__ = ("_breaking", "failures", "open_until", "probing")

    def __init__(self, breaking: Breaking | None = None) -> None:
        self._breaking = breaking or Breaking()
        self.failures = 0
        self.open_until = 0.0
        self.probing = False

    @property
    def breaking(self) -> Breaking:
        """When it is left alone."""
        return self._breaking

    def answered(self) -> None:
        """It works."""
        self.failures = 0
        self.open_until = 0.0
        self.probing = False

    def failed(self, error: RouteError) -> None:
        """It did not answer: a limit keeps us away for as long as it says, failures add up."""
        self.probing = False
        if isinstance(error, ProviderLimited):
            wait = error.retry_after
            if wait:
                self.open_until = max(self.open_until, time.monotonic() + min(wait, 300.0))
            return
        if not isinstance(error, (ProviderFailed, RouteTimeout)):
            return
        self.failures += 1
        if self.failures >= self._breaking.failures:
            self.open_until = time.monotonic() + self._breaking.seconds

    def left(self) -> None:
        """The caller went away before it could answer: nothing is known."""
        self.probing = False

    def ready(self, now: float) -> bool:
        """Whether it may be asked now; after its time alone, by one call first."""
        if not self.open_until:
            return True
        return now >= self.open_until and not self.probing

    def asked(self) -> None:
        """It is being asked: where it was left alone, nobody else asks until that is settled."""
        if self.open_until:
            self.probing = True
