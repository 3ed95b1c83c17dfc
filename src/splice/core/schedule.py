"""A schedule: the moments at which something is due, in UTC. Pure: nobody's clock is read here."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from splice.core.errors import DeclarationError
from splice.core.units import seconds

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_S = 86_400
_EPOCH_DAY = 3  # 1970-01-01 was a Thursday
_TEXT = re.compile(r"(?:([A-Za-z]{3}(?:\s*,\s*[A-Za-z]{3})*)\s+)?([01]\d|2[0-3]):([0-5]\d)")
_LEAST_S, _MOST_S = 60.0, 366.0 * _DAY_S


class Schedule(msgspec.Struct, frozen=True):
    """When: either at a time of some days of the week, or every so many seconds since 1970."""

    text: str
    days: tuple[int, ...] = ()  # 0 is Monday
    at_s: int = 0  # seconds after midnight, UTC
    every_s: int = 0


def read_schedule(text: str) -> Schedule:
    """The schedule of "03:00", "Sun 03:00", "Mon, Thu 18:30", "every 6 h" or "every 7 d".

    All times are UTC: no hour of it is there twice, or not at all. What comes every so long is
    counted from 1970-01-01 00:00, so that every process means the same moments.

    Raises:
        DeclarationError: It is none of these, or shorter than a minute, or longer than a year.
    """
    said = text.strip()
    if said.startswith("every "):
        every = seconds(said.removeprefix("every "), "schedule")
        if _LEAST_S <= every <= _MOST_S:
            return Schedule(said, every_s=round(every))
    elif match := _TEXT.fullmatch(said):
        names = [one.strip().title() for one in match[1].split(",")] if match[1] else list(DAYS)
        if all(one in DAYS for one in names):
            days = tuple(sorted({DAYS.index(one) for one in names}))
            return Schedule(said, days, int(match[2]) * 3600 + int(match[3]) * 60)
    raise DeclarationError(
        "schedule", got=repr(text)[:80],
        promised='a time in UTC such as "Sun 03:00", "03:00" or "every 7 d", from a minute to a '
        "year apart",
        mend='write schedule="Sun 03:00"',
    )  # fmt: skip


def last_slot(schedule: Schedule, now_us: int) -> int:
    """The newest moment of the schedule that is not after `now_us`, in Unix microseconds."""
    now = now_us // 1_000_000
    if schedule.every_s:
        return now // schedule.every_s * schedule.every_s * 1_000_000
    today = now // _DAY_S
    for day in range(today, today - 8, -1):
        at = day * _DAY_S + schedule.at_s
        if (day + _EPOCH_DAY) % 7 in schedule.days and at <= now:
            return at * 1_000_000
    raise AssertionError(schedule)  # a schedule has a day of the week


def next_slot(schedule: Schedule, now_us: int) -> int:
    """The first moment of the schedule after `now_us`, in Unix microseconds."""
    now = now_us // 1_000_000
    if schedule.every_s:
        return (now // schedule.every_s + 1) * schedule.every_s * 1_000_000
    today = now // _DAY_S
    for day in range(today, today + 8):
        at = day * _DAY_S + schedule.at_s
        if (day + _EPOCH_DAY) % 7 in schedule.days and at > now:
            return at * 1_000_000
    raise AssertionError(schedule)  # as above


def moment_text(at_us: int) -> str:
    """A moment as a person reads it: "2026-11-29 03:00 UTC"."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
