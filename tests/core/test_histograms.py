"""Histograms add up exactly, and their quantiles are off by a known share at most."""

from __future__ import annotations

import math
import random

import pytest

from splice.core.histograms import (
    ERROR,
    bucket_of,
    middle_of,
    pack,
    quantiles,
    unpack_into,
)


def counts_of(values: list[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for value in values:
        counts[bucket_of(value)] = counts.get(bucket_of(value), 0) + 1
    return counts


def test_a_bucket_stands_for_a_number_near_every_one_in_it() -> None:
    rng = random.Random(1)
    values = [*range(5000), *(1 << n for n in range(63)), *((1 << n) - 1 for n in range(1, 64))]
    values += [rng.getrandbits(rng.randrange(1, 63)) for _ in range(5000)]

    for value in values:
        assert abs(middle_of(bucket_of(value)) - value) <= value * ERROR, value


def test_buckets_are_in_the_order_of_the_numbers() -> None:
    values = sorted({*range(3000), *(random.Random(2).getrandbits(40) for _ in range(3000))})

    buckets = [bucket_of(value) for value in values]

    assert buckets == sorted(buckets)
    assert bucket_of((1 << 63) - 1) < 1 << 16  # they are stored in 16 bits


def test_parts_in_any_order_make_the_same_whole() -> None:
    rng = random.Random(3)
    values = [int(rng.lognormvariate(9, 2)) for _ in range(2000)]
    parts = [pack(counts_of(values[start : start + 100])) for start in range(0, 2000, 100)]
    rng.shuffle(parts)

    whole: dict[int, int] = {}
    unpack_into(whole, parts)

    assert pack(whole) == pack(counts_of(values))


def test_quantiles_are_the_numbers_at_their_ranks() -> None:
    rng = random.Random(4)
    values = sorted(int(rng.lognormvariate(9, 2)) for _ in range(999))
    shares = [0.99, 0.5, 0.0, 1.0, 0.5]

    found = quantiles(counts_of(values), shares)

    assert found is not None
    for share, value in zip(shares, found, strict=True):
        truth = values[max(0, math.ceil(share * 999) - 1)]
        assert math.isclose(value, truth, rel_tol=ERROR), share


def test_of_nothing_there_are_no_quantiles() -> None:
    assert quantiles({}, [0.5]) is None
    assert pack({}) == b""


def test_a_negative_number_is_taken_for_none() -> None:
    assert bucket_of(-5) == 0


def test_a_count_beyond_what_is_stored_stays_the_most_there_can_be() -> None:
    whole: dict[int, int] = {}
    unpack_into(whole, [pack({7: 1 << 40})])

    assert whole == {7: (1 << 32) - 1}


def test_a_histogram_that_is_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="7 bytes"):
        unpack_into({}, [b"1234567"])
