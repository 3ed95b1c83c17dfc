"""Verifying the ledger: the chain of events, both trees, signed heads, files of the archive."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from splice.control.following import Follower, Leaf, broken_tile, leaves_of
from splice.control.signing import is_signed
from splice.core.audit import FIRST, AuditEvent
from splice.core.call import Record
from splice.core.errors import StoreError
from splice.core.heads import NO_NOTE, Note, PublicKey
from splice.core.inspection import Broken, Inspection
from splice.core.leaves import leaf_of
from splice.core.merkle import leaf_hash
from splice.ports.audit import AuditLog
from splice.ports.checkpoints import CALLS, EVENTS, CheckpointStore, StoredCall, TreeView

_PAGE = 1000
_STEP = 4096

HeadSource = Callable[[], Iterable[Note]]
"""Heads in the order of their numbers, from one place, as often as it is asked."""

Archived = Callable[[Sequence[str]], dict[str, Record]]
"""Those of the calls that are in files of the archive, by id, with their seals. Raises StoreError.
"""


class Verifier:
    """Looks at everything once; memory does not grow with the ledger.

    Args:
        store: The trees and the calls.
        audit: The events.
        archived: Reads calls that went to files.
        key: What heads must be signed with; None checks no signature, and says so.
        sources: Where heads are, by a name for people: the ledger's own, a file outside, a file
            that somebody kept.
    """

    def __init__(
        self,
        store: CheckpointStore,
        audit: AuditLog,
        archived: Archived,
        key: PublicKey | None,
        sources: Mapping[str, HeadSource],
    ) -> None:
        self._store = store
        self._audit = audit
        self._archived = archived
        self._key = key
        self._sources = sources

    def verify(self) -> Inspection:
        """What holds, and the first that does not.

        Raises:
            StoreError: The ledger could not be read.
        """
        while self._store.sequence(_STEP):
            pass
        seen = Inspection(waiting=self._store.waiting(), warnings=[])
        if self._key is None:
            seen.warnings.append("no public key was given: signatures were not checked")
        for check in (self._heads, self._events, self._calls, self._strangers):
            seen.broken = check(seen)
            if seen.broken is not None:
                break
        return seen

    def _heads(self, seen: Inspection) -> Broken | None:
        for place, source in self._sources.items():
            broken = broken_head(source(), place, self._key)
            if broken is not None:
                return broken
        return None

    def _merged(self, name: str) -> Iterator[Note]:
        def size(note: Note) -> int:
            return note.head.calls if name == CALLS else note.head.events

        return heapq.merge(*(source() for source in self._sources.values()), key=size)

    def _events(self, seen: Inspection) -> Broken | None:
        with self._store.tree(EVENTS) as view:
            follower = Follower("event", leaves_of(view), self._merged(EVENTS))
            chain = Chain()
            broken = follower.follow(chain.leaves(self._all_events(), view.size))
            seen.events = chain.count
            # What the chain says is more exact where no head was signed yet.
            broken = chain.broken if chain.is_before(broken) else broken
            return broken or broken_tile("event", view)

    def _all_events(self) -> Iterator[AuditEvent]:
        number = 0
        while page := self._audit.events(since=number, limit=_PAGE):
            yield from page
            number = page[-1].number

    def _calls(self, seen: Inspection) -> Broken | None:
        with self._store.tree(CALLS) as view:
            follower = Follower("call", leaves_of(view), self._merged(CALLS))
            broken = follower.follow(self._call_leaves(view, seen))
            seen.heads, seen.covered = follower.agreed, follower.covered
            if broken is None and next(iter(self._store.leaves(view.size, 1 << 62)), None):
                size = f"has more leaves than the {view.size} that it says"
                return Broken("tree", "of calls", size)
            return broken or broken_tile("call", view)

    def _call_leaves(self, view: TreeView, seen: Inspection) -> Iterator[Leaf]:
        expected = 0
        for some in self._store.leaves(0, view.size):
            if some.first != expected:
                return
            expected += len(some.ids)
            here = self._store.stored(some.ids)
            gone = [one for one in some.ids if one not in here]
            files: dict[str, Record] = {}
            lost = ""
            if gone:
                try:
                    files = self._archived(gone)
                except StoreError as error:
                    lost = f"cannot be read: {error}"
            for call_id in some.ids:
                seen.calls += 1
                yield self._leaf(call_id, here.get(call_id), files.get(call_id), lost, seen)

    @staticmethod
    def _leaf(
        call_id: str, here: StoredCall | None, file: Record | None, lost: str, seen: Inspection
    ) -> Leaf:
        if here is None:
            seen.archived += file is not None
            return Leaf(
                call_id, None if file is None else leaf_of(file).hashed(), "" if file else lost
            )
        if here.leaf is None:
            return Leaf(call_id, None, f"cannot be read: {here.problem}")
        seen.dropped += here.dropped
        put_in = "has texts where they were dropped: they were put in" if here.texts else ""
        return Leaf(call_id, here.leaf.hashed(), put_in)

    def _strangers(self, seen: Inspection) -> Broken | None:
        found = self._store.strangers(1)
        if not found:
            return None
        return Broken("call", found[0], "is in no tree and does not wait for one: it was put in")


def broken_head(heads: Iterable[Note], place: str, key: PublicKey | None) -> Broken | None:
    """The first head of one place that is not signed, numbered, chained, or goes back."""
    before: Note | None = None
    for note in heads:
        if how := _wrong(note, before, key):
            return Broken("head", str(note.head.number), f"of {place} {how}", note.head.number)
        before = note
    return None


def _wrong(note: Note, before: Note | None, key: PublicKey | None) -> str:
    head = note.head
    if key is not None and not is_signed(note, key):
        return "is not signed by the key that was given, or was changed"
    if before is None:
        return "names a head before it" if head.number == 1 and head.previous != NO_NOTE else ""
    last = before.head
    if note.text == before.text:  # a crash in the middle of the first: it was written again
        return ""
    if head.number <= last.number:
        return f"comes after head {last.number}"
    if head.number == last.number + 1 and head.previous != before.sha256:
        return f"does not follow head {last.number}: one of them was changed or replaced"
    if head.calls < last.calls or head.events < last.events or head.at_us < last.at_us:
        return f"goes back behind head {last.number}"
    return ""


class Chain:
    """The chain of events as they are read: each names the hash of the one before."""

    def __init__(self) -> None:
        self.count = 0
        self.broken: Broken | None = None

    def leaves(self, events: Iterable[AuditEvent], size: int) -> Iterator[Leaf]:
        """A leaf for each event that a tree of that size has; those after it are looked at, too."""
        number, previous = 0, FIRST
        for event in events:
            if number + 1 < event.number:
                self._note(number + 1, f"is missing: the next is event {event.number}")
            for missing in range(number + 1, min(event.number, size + 1)):
                yield Leaf(str(missing), None)
            number = event.number
            if event.hashed() != event.sha256:
                self._note(number, f"({event.action} of {event.subject}) was changed")
            elif event.previous != previous:
                self._note(number, "does not follow the one before, which was changed")
            previous = event.sha256
            self.count += 1
            if number <= size:
                yield Leaf(str(number), leaf_hash(event.canonical()))

    def is_before(self, other: Broken | None) -> bool:
        """Whether the chain found something, and the other found nothing earlier."""
        if self.broken is None:
            return False
        return other is None or not other.name.isdigit() or int(self.broken.name) < int(other.name)

    def _note(self, number: int, how: str) -> None:
        if self.broken is None:
            self.broken = Broken("event", str(number), how)
