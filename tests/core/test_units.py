"""Durations and money as people write them."""

from __future__ import annotations

import pytest

from splice.core.errors import DeclarationError
from splice.core.units import NANO, Money, money, plural, seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100 ms", 0.1), ("100ms", 0.1), (" 2 s ", 2.0), ("5 min", 300.0), ("1 h", 3600.0),
        ("40 d", 3_456_000.0), ("1_000 us", 0.001), ("1.5 s", 1.5), (2, 2.0), (0.25, 0.25),
    ],
)  # fmt: skip
def test_a_duration_is_in_seconds(text: str | float, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    ["", "5", "ms", "5 years", "-1 s", "0 s", "1e3 s", "1,5 s", "٣ s", "inf s", 0, -1, True, None,
     float("nan"), float("inf"), 10**400, -(10**400), "9" * 400 + " s", [1]],
)  # fmt: skip
def test_what_is_no_duration_above_zero_is_refused(text: object) -> None:
    with pytest.raises(DeclarationError) as raised:
        seconds(text, "deadline")  # type: ignore[arg-type]

    assert raised.value.where == "deadline"
    assert raised.value.promised


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("EUR 4_100_000", 4_100_000 * NANO), ("EUR 4,100,000.50", 4_100_000 * NANO + NANO // 2),
        ("EUR 0.25", NANO // 4), ("EUR -0.25", -NANO // 4), ("EUR -3", -3 * NANO),
        ("EUR 0.000000001", 1), ("EUR 0.0000000019", 1), (" EUR  1 ", NANO),
    ],
)  # fmt: skip
def test_money_is_whole_billionths(text: str, nano: int) -> None:
    assert money(text) == Money("EUR", nano)


@pytest.mark.parametrize(
    "text",
    ["", "EUR", "5", "5 EUR", "eur 5", "EURO 5", "EUR 1,5", "EUR 1,50", "EUR 1.000.000", "EUR ,1",
     "EUR 1,0000", "EUR 12,34,567", "EUR nan", "EUR 1e6", "€ 5", "EUR --5", 5, None],
)  # fmt: skip
def test_what_could_be_two_amounts_is_none(text: object) -> None:
    with pytest.raises(DeclarationError):
        money(text)  # type: ignore[arg-type]


def test_money_is_shown_with_its_currency() -> None:
    assert str(money("EUR 4_100_000")) == "EUR 4,100,000.00"


def test_one_thing_is_not_called_several() -> None:
    assert [plural(n, "call") for n in (0, 1, 2, 1234)] == [
        "0 calls", "1 call", "2 calls", "1,234 calls",
    ]  # fmt: skip
    assert [plural(n, "policy is", "policies are") for n in (1, 2)] == [
        "1 policy is", "2 policies are",
    ]  # fmt: skip
