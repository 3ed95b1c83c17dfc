"""Following a tree from leaf to leaf: what is stored, what the tree has, what heads were signed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from splice.core.heads import Note
from splice.core.inspection import Broken
from splice.core.merkle import TILE, WIDTH, Growing, perfect, split
from splice.ports.checkpoints import EVENTS, TreeView


class Leaf(msgspec.Struct, frozen=True):
    """One place of a tree: whose it is, and the hash of what is stored (None where nothing is).

    `problem` is what else is wrong with what is stored.
    """

    name: str
    stored: bytes | None
    problem: str = ""


class Follower:
    """Compares leaves with a tree and with heads; the first that does not hold ends it.

    Where what is stored and the tree differ, a head that covers both says which of them was
    changed. Where both agree and a head does not, both were rewritten, after the head before it.

    Args:
        kind: `call` or `event`.
        kept: The hashes of all leaves, as the tree has them.
        heads: Signed heads, by size of this tree.
    """

    def __init__(self, kind: str, kept: Iterator[bytes], heads: Iterable[Note]) -> None:
        self._kind = kind
        self._leaves = kept
        self._heads = _Heads(kind, heads)
        self._kept, self._found = Growing(), Growing()
        self._suspect: Broken | None = None
        self._since: str = ""  # the first after the last head that holds
        self._last: str = ""
        self._number = 0
        self.agreed = 0
        self.covered = 0

    def follow(self, leaves: Iterable[Leaf]) -> Broken | None:
        """Look at all of them, which are in the order of the tree, from its first leaf."""
        kept, broken = self._leaves, self._settle()
        for leaf in leaves:
            if broken is not None:
                return broken
            self._add(leaf, next(kept, b""))
            broken = self._settle()
        if broken is None and next(kept, None) is not None:
            return self._ends()
        return broken or self._suspect or self._cut_off()

    def _add(self, leaf: Leaf, kept: bytes) -> None:
        self._since = self._since or leaf.name
        self._last = leaf.name
        if self._suspect is None:
            how = leaf.problem
            if leaf.stored is None:
                how = how or "is missing: it was removed"
            elif leaf.stored != kept:
                how = how or "was changed, or another is in its place"
            if how:
                self._suspect = Broken(self._kind, leaf.name, how)
        self._kept.add(kept)
        self._found.add(kept if leaf.stored is None else leaf.stored)

    def _settle(self) -> Broken | None:
        """Whether heads at this size agree."""
        while (note := self._heads.at(self._kept.size)) is not None:
            root = bytes.fromhex(self._heads.root(note))
            if self._kept.root() == root:
                if self._suspect is not None:
                    return msgspec.structs.replace(self._suspect, head=note.head.number)
                self.agreed += note.head.number != self._number
                self._number = note.head.number
                self.covered = self._kept.size
                self._since = ""
            elif self._suspect is not None and self._found.root() == root:
                return Broken(
                    self._kind, self._suspect.name,
                    "holds, but the tree's hash of it was changed: proofs of it fail",
                    note.head.number,
                )  # fmt: skip
            else:
                return self._rewritten(note)
        return None

    def _rewritten(self, note: Note) -> Broken:
        if self._suspect is not None:
            return msgspec.structs.replace(self._suspect, head=note.head.number)
        if not self._kept.size:
            return Broken("head", str(note.head.number), "has another root than an empty tree")
        first, last = self._since, self._last
        which = "" if first == last else f", or one after it up to {self._kind} {last}, "
        return Broken(
            self._kind, first,
            f"{which}was rewritten with all its hashes: it contradicts head {note.head.number}",
            note.head.number,
        )  # fmt: skip

    def _ends(self) -> Broken:
        """The tree has more leaves than there are records."""
        note = self._heads.beyond()
        return Broken(
            self._kind, f"after {self._last}" if self._last else "1",
            "is missing: it was removed, with all that followed it",
            0 if note is None else note.head.number,
        )  # fmt: skip

    def _cut_off(self) -> Broken | None:
        note = self._heads.beyond()
        if note is None:
            return None
        size = self._heads.size(note)
        return Broken(
            self._kind, f"after {self._last}" if self._last else "1",
            f"is missing: head {note.head.number} was signed for {size} {self._kind}s, and there "
            f"are {self._kept.size}",
            note.head.number,
        )  # fmt: skip


class _Heads:
    """Heads in the order of their sizes of one tree."""

    def __init__(self, kind: str, heads: Iterable[Note]) -> None:
        self._is_events = kind == EVENTS.removesuffix("s")
        self._rest = iter(heads)
        self._next = next(self._rest, None)

    def size(self, note: Note) -> int:
        return note.head.events if self._is_events else note.head.calls

    def root(self, note: Note) -> str:
        return note.head.events_root if self._is_events else note.head.calls_root

    def at(self, size: int) -> Note | None:
        """The next head of just this size."""
        found = self._next
        if found is None or self.size(found) > size:
            return None
        self._next = next(self._rest, None)
        return found

    def beyond(self) -> Note | None:
        """The next head, which no size has reached."""
        return self._next


def leaves_of(view: TreeView) -> Iterator[bytes]:
    """The hashes of all leaves of a tree."""
    for place in range(0, view.size, TILE):
        yield from split(view.tile(0, place // TILE))[: view.size - place]


def broken_tile(kind: str, view: TreeView) -> Broken | None:
    """The first tile that is not what the tiles below it say; each leaf is hashed once."""
    level, full = 0, view.size // TILE
    while full:
        for place in range(full):
            above, at = divmod(place, TILE)
            below, kept = view.tile(level, place), view.tile(level + 1, above)
            own = kept[at * WIDTH : (at + 1) * WIDTH]
            if len(below) != TILE * WIDTH or perfect(split(below)) != own:
                name = f"of {kind}s"
                how = f"was changed in tile {place} of level {level}: the records hold"
                return Broken("tree", name, how)
        level, full = level + 1, full // TILE
    return None
