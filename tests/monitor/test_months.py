"""Months and their days by the clocks of a place."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest

from splice.core.errors import SettingsError
from splice.monitor.months import Month, month_of

HOUR_US = 3_600_000_000


def hours(month: Month) -> list[int]:
    return [(one.window.until_us - one.window.since_us) // HOUR_US for one in month.days]


@pytest.mark.parametrize(
    ("text", "zone", "number", "odd"),
    [
        ("2026-11", "UTC", 30, {}),
        ("2026-10", "Europe/Berlin", 31, {25: 25}),
        ("2026-03", "Europe/Berlin", 31, {29: 23}),
        ("2026-11", "America/New_York", 30, {1: 25}),
        ("2027-02", "Asia/Kolkata", 28, {}),
        ("2028-02", "UTC", 29, {}),
        ("2026-04", "Africa/Cairo", 30, {24: 23}),  # there midnight itself is left out
    ],
)
def test_days_are_as_long_as_their_clocks_say(
    text: str, zone: str, number: int, odd: dict[int, int]
) -> None:
    month = month_of(text, zone)

    assert hours(month) == [odd.get(day, 24) for day in range(1, number + 1)]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu"])
def test_days_and_months_leave_no_gap_and_overlap_nowhere(zone: str) -> None:
    month = month_of("2027-03", zone)
    days = month.days

    assert days[0].window.since_us == month.window.since_us == month.before.window.until_us
    assert days[-1].window.until_us == month.window.until_us
    for one, after in pairwise(days):
        assert one.window.until_us == after.window.since_us
    assert all(month.date_of(one.window.since_us) == one.date for one in days)
    assert all(month.date_of(one.window.until_us - 1) == one.date for one in days)


def test_a_month_begins_at_the_midnight_of_its_place() -> None:
    berlin = month_of("2026-11", "Europe/Berlin")

    assert berlin.window.since_us == 1_793_487_600_000_000  # 2026-10-31 23:00 UTC
    assert berlin.time_of(berlin.window.since_us) == "2026-11-01 00:00"
    assert (berlin.name, berlin.code, berlin.before.code) == ("November 2026", "2026-11", "2026-10")
    assert month_of("2027-01").before.code == "2026-12"


@pytest.mark.parametrize(
    ("zone", "whole"),
    [("Europe/Berlin", True), ("Asia/Kolkata", False), ("Asia/Kathmandu", False)],
)
def test_it_is_known_where_days_begin_within_an_hour_of_utc(zone: str, whole: bool) -> None:
    assert month_of("2026-11", zone).whole_hours is whole


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-13", "2026-00", "26-11", "2026-1", "2026-11-01", "November", "9999-12"],
)
def test_what_is_no_month_is_said_to_be_none(text: str) -> None:
    with pytest.raises(SettingsError, match="2026-11"):
        month_of(text)


@pytest.mark.parametrize("zone", ["Nowhere/Land", "", "../etc/passwd", "a" * 300, "Europe/\0"])
def test_what_is_no_zone_is_said_to_be_none(zone: str) -> None:
    with pytest.raises(SettingsError, match="Europe/Berlin"):
        month_of("2026-11", zone)


def test_the_same_month_is_the_same() -> None:
    assert Month(date(2026, 11, 1)) == month_of("2026-11")
