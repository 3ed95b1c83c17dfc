"""A meter counts what is spent and asked, exactly, for every worker that shares it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Slot(msgspec.Struct, frozen=True, gc=False):
    """One counter with its bound.

    `name` is its key; `until_us` (Unix microseconds) when it may be forgotten. Amounts and bounds
    are whole numbers below 10**18, and exact.
    """

    name: str
    limit: int
    until_us: int


class Take(msgspec.Struct, frozen=True, gc=False):
    """Ask a slot for so much."""

    slot: Slot
    amount: int


class BegunAnew(Exception):
    """The meter began from nothing since the epoch that its caller knows; nothing is reserved."""


class Meter(Protocol):
    """Counters that grow only as far as their bounds.

    What is reserved counts at once; `settle` puts what it really was in its place. A process that
    dies in between leaves what it reserved counted: never too little.
    """

    async def reserve(self, takes: Sequence[Take], since: str = "") -> Take | None:
        """Add every amount, or none of them. Returns the first that has no room; None if all had.

        An amount of 0 always has room. A caller that is cancelled has reserved nothing.

        Args:
            takes: What to add, each to its slot.
            since: The `epoch` for which the caller knows the counters to be complete; any if empty.

        Raises:
            BegunAnew: The epoch is another. Counters that lost what they counted have room that
                is not there; giving it back later would lower what they were raised to meanwhile.
            ValueError: An amount is below 0.
            StoreError: It cannot be reached; what was reserved all the same stays counted.
        """
        ...

    async def settle(self, changes: Sequence[Take], once: str = "") -> None:
        """Add the amounts (they may be negative), whatever the bounds say; never below 0.

        Args:
            changes: What to add, each to its slot.
            once: An id by which a second try, after an error and within `ONCE_S` seconds, changes
                nothing where the first one worked after all; without one every try counts.

        Raises:
            StoreError: It cannot be reached; what was reserved stays counted.
        """
        ...

    async def used(self, slots: Sequence[Slot]) -> list[int]:
        """What is counted now, in the order given; 0 for a slot that nobody used.

        Raises:
            StoreError: It cannot be reached.
        """
        ...

    async def raise_to(self, slot: Slot, amount: int) -> None:
        """Make a counter at least `amount`: what the ledger knows was spent before this process.

        Raises:
            StoreError: It cannot be reached.
        """
        ...

    def now_us(self) -> int:
        """Unix microseconds that never run backwards, even where the clock is set back."""
        ...

    def epoch(self) -> str:
        """Another text than before where what was counted may be lost.

        So it is with a Redis that came back empty: its counters are then to be raised again to
        what the ledger knows.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


ONCE_S = 120
"""How long a meter remembers the id of a change."""
