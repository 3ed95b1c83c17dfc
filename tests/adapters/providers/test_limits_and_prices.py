"""Waiting times and costs, as pure functions."""

from __future__ import annotations

import pytest

from splice.adapters.providers.limits import retry_after_s
from splice.adapters.providers.prices import Price, cost_nano
from splice.core.call import Usage

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "-4"}, 0.0),
        ({"retry-after": "1e12"}, 86_400.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 15 Jan 2027 07:59:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 99 Jan 2027 07:59:00 GMT"}, None),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOW) == seconds


PRICE = Price(input_nano=3_000_000_000, output_nano=15_000_000_000, cached_nano=300_000_000)


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        (PRICE, Usage(1_000_000, 1_000_000, 0), 18_000_000_000),
        (PRICE, Usage(1_000_000, 0, 1_000_000), 300_000_000),
        (PRICE, Usage(10, 2), 60_000),
        (PRICE, Usage(10, 0, 99), 3_000),  # more cached than read is a miscount
        (Price(input_nano=1, output_nano=1), Usage(500_000, 0, 500_000), 1),
        (Price(input_nano=1, output_nano=1), Usage(499_999, 0), 0),
        (PRICE, Usage(None, 2), None),
        (PRICE, Usage(2, None), None),
        (None, Usage(2, 2), None),
    ],
)
def test_what_a_call_cost(price: Price | None, usage: Usage, cost: int | None) -> None:
    assert cost_nano(price, usage) == cost
