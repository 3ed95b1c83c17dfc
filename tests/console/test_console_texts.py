"""Figures and addresses of the console as texts."""

from __future__ import annotations

import math

import pytest

from splice.console import units
from splice.console.search import Comparison, search_of
from splice.console.span import span_of
from splice.console.sparks import spark
from splice.core.call import Reason, Status
from splice.core.errors import InputMismatch

NOW_US = 1_795_000_000_000_000


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (units.count(9_999_999), "9,999,999"),
        (units.count(10_000_000), "10.0 M"),
        (units.count(0), "0"),
        (units.count(None), "–"),
        (units.share(0), "0 %"),
        (units.share(0.00001), "<0.01 %"),
        (units.share(0.0123), "1.23 %"),
        (units.share(0.995), "99.5 %"),
        (units.share(math.nan), "–"),
        (units.duration(0.000_082), "82.0 µs"),
        (units.duration(0.084_2), "84.2 ms"),
        (units.duration(1.2345), "1.23 s"),
        (units.duration(90), "90.0 s"),
        (units.duration(7200), "2.00 h"),
        (units.amount(0.000_333_4), "0.000333"),
        (units.amount(1234.5), "1,234"),
        (units.amount(12.5), "12.50"),
        (units.amount(-0.02), "-0.02"),
        (units.amount(4e-9), "<0.000001"),
        (units.amount(2_500_000), "2.500 M"),
        (units.cost(None), "–"),
        (units.cost(0), "0"),
        (units.digits(0.00999), "0.00999"),
        (units.digits(999.6), "1,000"),
        (units.score(0.2534), "0.253"),
        (units.score(0.0001), "<0.001"),
        (units.moment(NOW_US, millis=True), "2026-11-18 11:06:40.000"),
        (units.moment(None), "not yet"),
        (units.moment(1 << 62), "–"),
        (units.machine(NOW_US), "2026-11-18T11:06:40Z"),
        (units.age(NOW_US - 180_000_000, NOW_US), "3.00 min ago"),
        (units.age(NOW_US, NOW_US), "now"),
        (units.age(NOW_US + 7_200_000_000, NOW_US), "in 2.00 h"),
    ],
)  # fmt: skip
def test_a_figure_is_told_with_its_unit_and_the_unknown_as_unknown(text: str, made: str) -> None:
    assert text == made


def test_a_span_without_words_is_the_last_week_to_the_full_minute() -> None:
    span = span_of({}, NOW_US)

    assert (span.name, span.query) == ("7d", {})
    assert span.until_us % 60_000_000 == 0
    assert 0 < span.until_us - NOW_US <= 60_000_000
    assert span.until_us - span.since_us == 7 * 86_400_000_000
    assert span.before.until_us == span.since_us


def test_a_span_of_moments_is_kept_in_addresses() -> None:
    query = {"since": "2026-10-25T00:30:00+02:00", "until": "2026-10-25T04:00:00Z"}

    span = span_of(query, NOW_US)

    assert span.query == {"since": "2026-10-24T22:30:00Z", "until": "2026-10-25T04:00:00Z"}
    assert span_of(span.query, NOW_US) == span


def test_a_span_of_a_hairs_breadth_is_a_minute() -> None:
    span = span_of({"since": "2026-10-25T00:00:00Z", "until": "2026-10-25T00:00:01Z"}, NOW_US)

    assert span.seconds == 60


@pytest.mark.parametrize(
    "query",
    [
        {"range": "8d"},
        {"since": "yesterday"},
        {"since": "2026-10-25", "until": "2026-10-24"},
        {"until": "1300-01-01"},
        {"since": "2999-01-01"},
        {"since": "9" * 10_000},
    ],
)
def test_a_span_that_cannot_be_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(InputMismatch):
        span_of(query, NOW_US)


def test_a_search_says_to_the_index_what_it_knows_and_sieves_the_rest() -> None:
    query = {
        "integration": "fraud", "status": "answered", "reason": "fallback", "release": "3",
        "q": " Überweisung ", "slower": "250", "dearer": "0.002", "decision": "risk>=0.5",
        "entity": "", "unknown": "x",
    }  # fmt: skip

    search = search_of(query, span_of({}, NOW_US))

    wanted, sieve = search.wanted, search.sieve
    assert (wanted.integration, wanted.status, wanted.reason) == (
        "fraud", Status.ANSWERED, Reason.FALLBACK,
    )  # fmt: skip
    assert (wanted.release, wanted.entity) == (3, None)
    assert (sieve.text, sieve.slower_us, sieve.dearer_nano) == ("Überweisung", 250_000, 2_000_000)
    assert sieve.decision == Comparison("risk", ">=", "0.5")
    assert sieve.needs_payload
    assert not sieve.is_open
    assert search_of({}, None).sieve.is_open


@pytest.mark.parametrize(
    "query",
    [
        {"status": "done"}, {"release": "-1"}, {"release": "١"}, {"slower": "fast"},
        {"slower": "nan"}, {"cheaper": "-1"}, {"before": "x"}, {"decision": "= 3"},
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_read_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(InputMismatch):
        search_of(query, None)


@pytest.mark.parametrize(
    ("comparison", "value", "holds"),
    [
        (Comparison("a"), None, True),
        (Comparison("a", "=", "Block"), "block", True),
        (Comparison("a", "!=", "block"), "block", False),
        (Comparison("a", ">", "0.5"), 0.6, True),
        (Comparison("a", ">", "0.5"), 0.5, False),
        (Comparison("a", "<=", "1e3"), 1000, True),
        (Comparison("a", "=", "true"), True, True),
        (Comparison("a", "=", "1"), True, False),
        (Comparison("a", "=", "x"), 5, False),
        (Comparison("a", "!=", "x"), 5, True),
        (Comparison("a", ">", "b"), "c", False),
        (Comparison("a", "=", "null"), None, True),
    ],
)  # fmt: skip
def test_a_comparison_holds_for_numbers_truths_and_texts(
    comparison: Comparison, value: object, holds: bool
) -> None:
    assert comparison.holds(value) is holds


def test_a_spark_shows_gaps_and_names_itself() -> None:
    made = str(spark([1.0, 2.0, None, 4.0, 3.0], 'Calls of <"x">'))

    assert made.count("M") == 4  # the line and the area each begin anew after the gap
    assert "&lt;" in made
    assert "<x" not in made
    assert "svg" not in str(spark([None, 1.0], "Calls"))
