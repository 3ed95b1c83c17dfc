"""Histograms of whole numbers that can be added to each other, and their quantiles.

The buckets are fixed: numbers below 128 have one each, larger ones share it with those that have
the same leading seven bits. So a quantile is off by at most 1/128 of itself whatever the numbers
are, adding two histograms loses nothing, and the order of adding does not matter: rollups can be
compared with a full count, to the last byte. This is the layout of HdrHistogram (Gil Tene), with
64 buckets for each doubling.

Stored as the buckets (16 bits each) and, after them, how many numbers are in each (32 bits), both
little-endian, by bucket.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable, Mapping

_EXACT = 128  # numbers below it have a bucket each
_HALF = 64  # buckets of each doubling beyond
_BITS = 7
_MOST = (1 << 32) - 1

ERROR = 1 / 128
"""How far a quantile may be from the number of that rank, as a share of it."""


def bucket_of(value: int) -> int:
    """The bucket of a number; negative ones are taken for 0."""
    if value < _EXACT:
        return max(value, 0)
    shift = value.bit_length() - _BITS
    return shift * _HALF + (value >> shift)


def middle_of(bucket: int) -> float:
    """The number that stands for a bucket."""
    if bucket < _EXACT:
        return float(bucket)
    shift, lead = divmod(bucket, _HALF)
    # The leading bits are 64 to 127, so the division gives one doubling too many.
    shift, lead = shift - 1, lead + _HALF
    return (lead << shift) + ((1 << shift) - 1) / 2


def pack(counts: Mapping[int, int]) -> bytes:
    """A histogram as it is stored; nothing of an empty one."""
    buckets = sorted(counts)
    return _bytes("H", buckets) + _bytes("I", [min(counts[bucket], _MOST) for bucket in buckets])


def unpack_into(counts: dict[int, int], packed: Iterable[bytes]) -> None:
    """Add stored histograms to `counts`, which are `bucket: count`.

    Raises:
        ValueError: One of them is cut short.
    """
    get = counts.get
    for body in packed:
        size, rest = divmod(len(body), 6)
        if rest:
            raise ValueError(f"a histogram of {len(body)} bytes")
        for bucket, count in zip(
            _array("H", body[: 2 * size]), _array("I", body[2 * size :]), strict=True
        ):
            counts[bucket] = get(bucket, 0) + count


def quantiles(counts: Mapping[int, int], shares: Iterable[float]) -> list[float] | None:
    """The numbers at these ranks (0.5 is the median), by the nearest rank; None of no number."""
    total = sum(counts.values())
    if not total:
        return None
    found: dict[float, float] = {}
    shares = list(shares)
    wanted = sorted(set(shares), reverse=True)
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        while wanted and seen >= max(1, math.ceil(wanted[-1] * total)):
            found[wanted.pop()] = middle_of(bucket)
    return [found[share] for share in shares]


def _bytes(kind: str, values: list[int]) -> bytes:
    packed = array(kind, values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _array(kind: str, body: bytes) -> array[int]:
    values = array(kind, body)
    if sys.byteorder == "big":
        values.byteswap()
    return values
