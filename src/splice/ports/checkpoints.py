"""Merkle trees over calls and audit events, and their signed heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from splice.core.call import Record
from splice.core.heads import Head, Note
from splice.core.leaves import CallLeaf
from splice.core.merkle import Subtree

CALLS, EVENTS = "calls", "events"
"""The names of the two trees."""


class Leaves(msgspec.Struct, frozen=True):
    """Some leaves of the tree of calls, side by side: the index of the first, the calls' ids."""

    first: int
    ids: tuple[str, ...]


class StoredCall(msgspec.Struct, frozen=True):
    """A call as the ledger has it now.

    `dropped` says that texts or entity are gone and only their digest is left; `texts` that there
    are some all the same, which cannot be. `problem` is why it cannot be read; then `leaf` is None.
    """

    leaf: CallLeaf | None
    dropped: bool = False
    texts: bool = False
    problem: str = ""


class TreeView(Protocol):
    """One tree at one moment."""

    @property
    def size(self) -> int:
        """How many leaves it has."""
        ...

    @property
    def subtree(self) -> Subtree:
        """Its perfect subtrees. Raises ValueError where a tile is cut off."""
        ...

    def tile(self, level: int, place: int) -> bytes:
        """Hashes of a tile, one after the other."""
        ...


class CheckpointStore(Protocol):
    """Merkle trees over calls and audit events, and their signed heads. Blocks."""

    def sequence(self, limit: int) -> bool:
        """Make leaves of about so many calls and events that wait, each once; says whether more do.

        Raises:
            StoreError: Nothing of the step was added.
        """
        ...

    def waiting(self) -> int:
        """About how many calls are in no tree yet."""
        ...

    def tree(self, name: str) -> AbstractContextManager[TreeView]:
        """A tree, for as long as the context lasts."""
        ...

    def leaves(self, after: int, until: int) -> Iterator[Leaves]:
        """Which calls are the leaves from `after` on, below `until`, in their order."""
        ...

    def index_of(self, call_id: str) -> int | None:
        """Which leaf a call is; None where it is none (yet)."""
        ...

    def stored(self, call_ids: Sequence[str]) -> dict[str, StoredCall]:
        """Those of the calls that are in the ledger, by id."""
        ...

    def sealed(self, call_ids: Sequence[str]) -> dict[str, Record]:
        """Those of the calls that are in the ledger, whole and with their seals, by id."""
        ...

    def strangers(self, limit: int) -> list[str]:
        """Calls of the ledger that are no leaf and do not wait: they were put in past everybody."""
        ...

    def add_head(
        self, make: Callable[[Note | None, TreeView, TreeView], tuple[Head, str] | None]
    ) -> Note | None:
        """Store what `make` gives of the newest head and the trees of calls and events.

        Nobody else adds one meanwhile, and the trees stand still. None where it gave none.

        Raises:
            StoreError: It was not stored.
        """
        ...

    def heads(self, after: int = 0, limit: int = 1000) -> list[Note]:
        """Signed heads with a number above `after`, in their order."""
        ...

    def newest_head(self) -> Note | None:
        """The last of them."""
        ...
