"""Rollups of calls: what the inner floors need of their store. Blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from splice.core.call import Record
from splice.core.rollups import (
    Caller,
    CallerKey,
    Counted,
    Kind,
    Profiled,
    ProfileKey,
    Spent,
    SpentKey,
    Timed,
    Wanted,
)


class Piece(msgspec.Struct, frozen=True):
    """Spans of one length: those that start at `since_s` or later, and before `until_s`."""

    span_s: int
    since_s: int
    until_s: int


class Batch(msgspec.Struct):
    """Recorded calls that are in no rollup yet, with what the store needs to take them off.

    `records` are whole; where `damaged` has the call, its payload could not be read, and it is
    there without.
    """

    records: list[Record]
    token: object
    damaged: dict[str, str] = {}  # call id to why
    more: bool = False  # whether others wait


class TimedKey(NamedTuple):
    """What latencies are counted by."""

    integration: str
    release: int
    variant: str
    route: str


class Rolled(msgspec.Struct):
    """What a batch adds to the rollups: by span (its length and start, in seconds) and key.

    Lists of numbers are in the order of the fields of `Counted`, `Spent` and `Caller`; histograms
    are `bucket: count`; profiles are to be merged.
    """

    counted: dict[tuple[int, int, Kind], list[int]] = {}
    durations: dict[tuple[int, int, TimedKey], dict[int, int]] = {}
    first_tokens: dict[tuple[int, int, TimedKey], dict[int, int]] = {}
    spent: dict[tuple[int, int, SpentKey], list[int]] = {}
    callers: dict[tuple[int, int, CallerKey], list[int]] = {}
    profiles: dict[tuple[int, int, ProfileKey], list[bytes]] = {}


class Damage(msgspec.Struct, frozen=True):
    """A call that the rollups could not take whole, and why: said once, and passed by."""

    call_id: str
    at_us: int
    why: str


class RollupStore(Protocol):
    """Rollups of calls: every recorded call is in them once."""

    def take(self, limit: int) -> Batch | None:
        """About so many calls that are in no rollup yet, or None where there are none.

        Nothing is reserved: another may take the same. Calls that an older version of Splice
        recorded come after those of this one.

        Raises:
            StoreError: The ledger could not be read.
        """
        ...

    def add(
        self,
        batch: Batch,
        rolled: Rolled,
        merge_profiles: Callable[[bytes, bytes], bytes],
        now_us: int = 0,
    ) -> bool:
        """Add what a batch came to, and take its calls off, in one transaction.

        False where another has added it meanwhile: then nothing was done.
        """
        ...

    def waiting(self) -> int:
        """How many blocks of calls are in no rollup yet (about; a block has up to 64)."""
        ...

    def prune(self, now_us: int) -> bool:
        """Forget spans that are no longer kept; says whether there is more to forget."""
        ...

    def kept_since(self) -> Mapping[str, int]:
        """The first start, in Unix seconds, from which on spans are whole.

        `minutes`, `caller_hours` and `profile_hours`; earlier windows want the next longer span.
        """
        ...

    def counted(
        self, wanted: Wanted, pieces: Sequence[Piece], step_s: int = 0
    ) -> Sequence[Counted]:
        """Calls by kind within the pieces, and by steps of `step_s` seconds where it is not 0.

        A step is its start, a multiple of `step_s`. The window of `wanted` is not looked at.
        Shadow calls are among them.
        """
        ...

    def timed(self, wanted: Wanted, pieces: Sequence[Piece], step_s: int = 0) -> Sequence[Timed]:
        """Latencies of the same; a key may come many times."""
        ...

    def spent(self, wanted: Wanted, pieces: Sequence[Piece], step_s: int = 0) -> Sequence[Spent]:
        """Attempts of the same; the route of `wanted` is that of the attempt."""
        ...

    def callers(self, wanted: Wanted, pieces: Sequence[Piece]) -> Sequence[Caller]:
        """By caller, most calls first; shadow calls only where `wanted` names them.

        Pieces are of hours and days. The route of `wanted` is not looked at.
        """
        ...

    def profiles(
        self,
        wanted: Wanted,
        pieces: Sequence[Piece],
        columns: Sequence[str] | None = None,
        segment: str | None = None,
    ) -> Sequence[Profiled]:
        """Profiles, of these columns and this segment where they are given; oldest first.

        The route of `wanted` is not looked at.
        """
        ...

    def integrations(self) -> Sequence[str]:
        """All that ever had a call, in order of name."""
        ...

    def damaged(self, limit: int = 100) -> Sequence[Damage]:
        """Calls that could not be taken whole, newest first."""
        ...
