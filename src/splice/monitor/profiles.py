"""Profiles of calls as they are recorded: made in batches, merged, and read again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from splice.core.call import Record
from splice.core.profiles import PinnedProfile, Profile
from splice.core.rollups import ProfileKey

Plans = Callable[[str, int], PinnedProfile]
"""Integration and number of the release to what its declaration says about profiles."""


class Profiler:
    """Makes partial profiles of batches of records. One thread uses it at a time.

    Args:
        plans: What a release declares. A release that cannot be found has a plan without anything.
    """

    def __init__(self, plans: Plans) -> None:
        self._plans = plans

    def add(self, records: Sequence[Record]) -> dict[tuple[int, ProfileKey], bytes]:
        """The profiles of these records alone, encoded, by hour and key.

        The hour is its start in Unix seconds (UTC). Nothing is kept between two calls.

        A record without texts (refused, not sampled) gives nothing; none raises.
        """
        raise NotImplementedError


def merge(one: bytes, other: bytes) -> bytes:
    """The profile of both; their order does not matter. Empty `bytes` are one of nothing.

    A profile in a form that this version does not know (of a later one) counts as nothing.
    """
    raise NotImplementedError


def merged(encoded: Iterable[bytes]) -> Profile:
    """One profile of many: cheaper than merging two and two."""
    raise NotImplementedError


def decode(encoded: bytes) -> Profile:
    """The profile; one of nothing where it cannot be read."""
    raise NotImplementedError
