"""The time that a page is about: one of a few usual ones, or from a moment to another (UTC)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from splice.console import units
from splice.core.errors import InputMismatch
from splice.core.rollups import Window

_SECOND = 1_000_000
_MINUTE, _HOUR, _DAY = 60 * _SECOND, 3600 * _SECOND, 86_400 * _SECOND

USUAL = {"1h": _HOUR, "24h": _DAY, "7d": 7 * _DAY, "30d": 30 * _DAY, "90d": 90 * _DAY}
"""How far back from now, by what stands in an address."""

DEFAULT = "7d"
_LATEST_US = 253_402_300_799_000_000  # the end of the year 9999
_SHORTEST = _MINUTE


class Span(msgspec.Struct, frozen=True):
    """From a moment (included) to another (excluded), in Unix microseconds.

    `name` is one of the usual ones, or empty.
    """

    since_us: int
    until_us: int
    name: str = ""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.until_us - self.since_us) / _SECOND

    @property
    def window(self) -> Window:
        """The same, as figures are asked for."""
        return Window(self.since_us, self.until_us)

    @property
    def query(self) -> dict[str, str]:
        """What an address says to mean it."""
        if self.name:
            return {} if self.name == DEFAULT else {"range": self.name}
        return {"since": units.machine(self.since_us), "until": units.machine(self.until_us)}

    @property
    def words(self) -> str:
        """What a person reads."""
        if self.name:
            return f"last {self.name[:-1]} {'h' if self.name.endswith('h') else 'd'}"
        return f"{units.moment(self.since_us)[:16]} to {units.moment(self.until_us)[:16]} UTC"

    @property
    def before(self) -> Span:
        """The span of the same length just before it."""
        return Span(2 * self.since_us - self.until_us, self.since_us)


def span_of(query: Mapping[str, str], now_us: int, default: str = DEFAULT) -> Span:
    """The span that an address names.

    Raises:
        InputMismatch: A moment cannot be read, or the end is not after the beginning.
    """
    since, until = query.get("since", ""), query.get("until", "")
    if not since and not until:
        name = query.get("range", "") or default
        if name not in USUAL:
            raise InputMismatch("range", got=name[:40], promised=f"one of {', '.join(USUAL)}")
        # To the full minute, so that a page asked for twice is the same page.
        end = (now_us // _MINUTE + 1) * _MINUTE
        return Span(end - USUAL[name], end, name)
    end = _moment("until", until) if until else (now_us // _MINUTE + 1) * _MINUTE
    begin = _moment("since", since) if since else end - USUAL[default]
    if end <= begin:
        raise InputMismatch("until", got=until[:40] or "now", promised="a moment after `since`")
    # A brush may be a hair's breadth: no figure is kept for less than a minute.
    return Span(begin, max(end, begin + _SHORTEST))


def _moment(where: str, text: str) -> int:
    """A date or a moment, in UTC where no zone is given."""
    try:
        when = datetime.fromisoformat(text[:40])
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        found = int(when.timestamp() * _SECOND)
    except (ValueError, OverflowError):
        found = -1
    if not 0 <= found <= _LATEST_US:
        raise InputMismatch(where, got=text[:40], promised="a moment such as 2026-11-23T12:00:00Z")
    return found
