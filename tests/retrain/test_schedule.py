"""Schedules: each moment once, whatever the clock does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from retrain_house import DAY_US, SUNDAY_US

from splice.control.schedule import SKEW_US, Due, due
from splice.core.errors import DeclarationError
from splice.core.schedule import last_slot, next_slot, read_schedule

TEXTS = ("03:00", "Sun 03:00", "mon, thu 18:30", "every 7 d", "every 6 h", "every 90 min")


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("text", "now", "last", "following"),
    [
        ("Sun 03:00", "2026-11-29T02:59:59", "2026-11-22T03:00", "2026-11-29T03:00"),
        ("Sun 03:00", "2026-11-29T03:00:00", "2026-11-29T03:00", "2026-12-06T03:00"),
        ("03:00", "2026-11-28T02:00", "2026-11-27T03:00", "2026-11-28T03:00"),
        ("Mon,Thu 18:30", "2026-11-28T12:00", "2026-11-26T18:30", "2026-11-30T18:30"),
        ("every 6 h", "2026-11-28T13:00", "2026-11-28T12:00", "2026-11-28T18:00"),
        ("every 7 d", "2026-11-28T13:00", "2026-11-26T00:00", "2026-12-03T00:00"),
        # 03:00 UTC is there once on the days on which clocks in Europe and America are changed.
        ("03:00", "2026-03-29T12:00", "2026-03-29T03:00", "2026-03-30T03:00"),
        ("03:00", "2026-11-01T12:00", "2026-11-01T03:00", "2026-11-02T03:00"),
    ],
)
def test_moments_are_those_of_the_calendar(text: str, now: str, last: str, following: str) -> None:
    schedule = read_schedule(text)

    assert last_slot(schedule, us(now)) == us(last)
    assert next_slot(schedule, us(now)) == us(following)


@given(st.sampled_from(TEXTS), st.integers(0, 4_000_000_000_000_000))
def test_the_next_moment_is_the_last_one_when_it_has_come(text: str, now_us: int) -> None:
    schedule = read_schedule(text)
    following = next_slot(schedule, now_us)

    assert last_slot(schedule, now_us) <= now_us < following
    assert last_slot(schedule, following) == following
    assert last_slot(schedule, following - 1) == last_slot(schedule, now_us)


@pytest.mark.parametrize(
    "text",
    ["", "3:00", "24:00", "Sunday 03:00", "Sun", "every", "every 5 s", "every 400 d", "0 3 * * 0",
     "Sun 03:00 Europe/Berlin", "٠٣:٠٠", "every -7 d", "every 1e9 d"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(DeclarationError):
        read_schedule(text)


WEEKLY = read_schedule("Sun 03:00")


def test_a_schedule_that_was_never_seen_counts_from_now() -> None:
    assert due(WEEKLY, None, SUNDAY_US + 5) == Due(count_from_us=SUNDAY_US)


def test_of_three_missed_moments_the_newest_is_due() -> None:
    found = due(WEEKLY, SUNDAY_US, SUNDAY_US + 24 * DAY_US)

    assert found == Due(slot_us=SUNDAY_US + 21 * DAY_US)


def test_a_moment_that_was_taken_is_not_due_again() -> None:
    assert due(WEEKLY, SUNDAY_US, SUNDAY_US) == Due()
    assert due(WEEKLY, SUNDAY_US, SUNDAY_US + 6 * DAY_US) == Due()


def test_a_clock_a_little_behind_changes_nothing() -> None:
    assert due(WEEKLY, SUNDAY_US, SUNDAY_US - SKEW_US) == Due()


def test_a_clock_that_was_years_ahead_does_not_silence_a_schedule() -> None:
    ahead = SUNDAY_US + 3 * 364 * DAY_US

    found = due(WEEKLY, ahead, SUNDAY_US + DAY_US)

    assert found == Due(count_from_us=SUNDAY_US, clock_was_set=True)
    assert due(WEEKLY, SUNDAY_US, SUNDAY_US + 7 * DAY_US).slot_us == SUNDAY_US + 7 * DAY_US
