"""Months, and the days in them, by the clocks of a place: also where clocks are put back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from splice.core.errors import SettingsError
from splice.core.rollups import HOUR_S, Window

_MICRO = 1_000_000


class Day(msgspec.Struct, frozen=True):
    """One day of a place, and when it was: 23 or 25 hours where clocks were changed."""

    date: date
    window: Window


class Month(msgspec.Struct, frozen=True):
    """A month by the clocks of a place.

    Args:
        first: Its first day.
        zone: The name of the time zone, `UTC` or as `Europe/Berlin`.
    """

    first: date
    zone: str = "UTC"

    @property
    def name(self) -> str:
        """`November 2026`."""
        return f"{_NAMES[self.first.month - 1]} {self.first.year}"

    @property
    def code(self) -> str:
        """`2026-11`."""
        return f"{self.first.year:04}-{self.first.month:02}"

    @property
    def before(self) -> Month:
        """The month before."""
        return Month((self.first - timedelta(days=1)).replace(day=1), self.zone)

    @property
    def window(self) -> Window:
        """From its first moment until the first of the next month."""
        zone = zone_of(self.zone)
        return Window(_begins_us(self.first, zone), _begins_us(_next_month(self.first), zone))

    @property
    def days(self) -> list[Day]:
        """Its days, first to last."""
        zone = zone_of(self.zone)
        found: list[Day] = []
        day, end = self.first, _next_month(self.first)
        while day < end:
            after = day + timedelta(days=1)
            found.append(Day(day, Window(_begins_us(day, zone), _begins_us(after, zone))))
            day = after
        return found

    @property
    def whole_hours(self) -> bool:
        """Whether its days begin with an hour of UTC: else what is counted by the hour overlaps."""
        return all(day.window.since_us % (HOUR_S * _MICRO) == 0 for day in self.days)

    def date_of(self, unix_us: int) -> date:
        """The day of a moment."""
        return datetime.fromtimestamp(unix_us // _MICRO, zone_of(self.zone)).date()

    def time_of(self, unix_us: int) -> str:
        """A moment by the clocks of the place, to the minute: `2026-11-03 14:05`."""
        found = datetime.fromtimestamp(unix_us // _MICRO, zone_of(self.zone))
        return found.strftime("%Y-%m-%d %H:%M")


_NAMES = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def month_of(text: str, zone: str = "UTC") -> Month:
    """The month of `2026-11`.

    Raises:
        SettingsError: It is no month, or there is no such zone.
    """
    zone_of(zone)
    year, dash, number = text.strip().partition("-")
    try:
        if not dash or len(year) != 4 or len(number) != 2:
            raise ValueError(text)
        first = date(int(year), int(number), 1)
        if not 1970 < first.year < 9999:
            raise ValueError(text)
    except ValueError:
        raise SettingsError("month", got=repr(text[:80]), promised="a month as 2026-11") from None
    return Month(first, zone)


def zone_of(name: str) -> tzinfo:
    """The time zone of that name.

    Raises:
        SettingsError: There is none.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(
            "zone", got=repr(name[:80]), promised="a time zone as Europe/Berlin",
            mend="name another; on a system without time zones, install tzdata",
        ) from None  # fmt: skip


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def _begins_us(day: date, zone: tzinfo) -> int:
    """When a day begins there. Midnight may come twice, or never: then what comes first counts."""
    found = datetime(day.year, day.month, day.day, tzinfo=zone)
    return round(found.timestamp()) * _MICRO
