"""Checkpoints: every so often a head of both trees is signed, kept, and told outside the ledger."""

from __future__ import annotations

import logging
import time

import msgspec

from splice.control.signing import Signer, is_signed
from splice.core import merkle
from splice.core.errors import StoreError
from splice.core.heads import NO_NOTE, Head, Note, PublicKey
from splice.ports.checkpoints import CheckpointStore, TreeView
from splice.ports.heads import HeadPlace

log = logging.getLogger("splice.audit")

_PAGE = 500
_STEP = 4096
"""Calls that become leaves at once: some milliseconds of a thread's time."""


class Tampered(StoreError):
    """The ledger contradicts a head that was signed: nothing more is signed until it is cleared."""

    code = "tampered"
    retryable = False


class Pace(msgspec.Struct, frozen=True):
    """How often: when so long after the last head there is news, or so many calls are new."""

    every_s: float = 60.0
    every_calls: int = 10_000


class Checkpointer:
    """Signs heads. Several may do it at once: a head is made in one transaction, after the last.

    Before it signs it looks whether the trees still begin with what was signed last, in the ledger
    and outside: a ledger that was rewritten gets no signature.

    Args:
        store: The trees.
        signer: Signs.
        place: Where heads are kept besides.
        pace: How often.
    """

    def __init__(
        self, store: CheckpointStore, signer: Signer, place: HeadPlace, pace: Pace
    ) -> None:
        self._store = store
        self._signer = signer
        self._place = place
        self._pace = pace
        self._last_s = float("-inf")

    def step(self, now_us: int) -> bool:
        """Make a head if it is time; says that there is nothing more to do.

        Raises:
            Tampered: The trees contradict a head.
            StoreError: It was not stored, or not outside; the next step does it.
        """
        # By this process's own clock: the wall's may be set.
        is_time = time.monotonic() - self._last_s >= self._pace.every_s
        made = self._make(now_us, 1 if is_time else self._pace.every_calls, self._pace.every_s)
        if made is not None or is_time:
            self._last_s = time.monotonic()
        self._tell()
        return False

    def make(self, now_us: int) -> Note | None:
        """A head of all that is there now; the newest one where nothing was added since.

        Raises:
            Tampered: The trees contradict a head.
            StoreError: It was not stored, or not outside.
        """
        while self._store.sequence(_STEP):
            pass
        made = self._make(now_us, 1, 0)
        self._tell()
        return made or self._store.newest_head()

    def _make(self, now_us: int, least: int, distance_s: float) -> Note | None:
        outside = self._place.newest()

        def head(last: Note | None, calls: TreeView, events: TreeView) -> tuple[Head, str] | None:
            if last is not None:
                _check(last, calls, events, self._signer.public)
            _check_outside(outside, last, self._place.name)
            before = None if last is None else last.head
            new = calls.size - (before.calls if before else 0)
            if new < least and not (least == 1 and events.size > (before.events if before else 0)):
                return None
            if least == 1 and before and 0 <= now_us - before.at_us < distance_s * 1e6:
                return None
            made = Head(
                self._signer.public.name,
                before.number + 1 if before else 1,
                max(now_us, before.at_us) if before else now_us,
                calls.size,
                merkle.root(calls.size, calls.subtree).hex(),
                events.size,
                merkle.root(events.size, events.subtree).hex(),
                last.sha256 if last else NO_NOTE,
            )
            return made, self._signer.sign(made)

        return self._store.add_head(head)

    def _tell(self) -> None:
        """Whatever heads are not outside yet, from whoever, and after whatever crash."""
        outside = self._place.newest()
        after = outside.head.number if outside is not None else 0
        while page := self._store.heads(after, _PAGE):
            self._place.add(page)
            after = page[-1].head.number


def _check(last: Note, calls: TreeView, events: TreeView, key: PublicKey) -> None:
    """That the trees begin with what was signed last.

    Raises:
        Tampered: They do not.
    """
    head = last.head
    if last.key_id == key.id and not is_signed(last, key):
        raise Tampered(f"head {head.number}", got="a signature that is not valid")
    for name, view, size, root in (
        ("calls", calls, head.calls, head.calls_root),
        ("events", events, head.events, head.events_root),
    ):
        try:
            same = view.size >= size and merkle.root(size, view.subtree).hex() == root
        except ValueError:
            same = False
        if not same:
            raise Tampered(
                f"the tree of {name}",
                got=f"another one than head {head.number} was signed for",
                promised=f"{size} leaves with the root {root[:16]}…",
                mend="splice audit verify says which record was changed; nothing more is signed "
                "until then",
            )


def _check_outside(outside: Note | None, last: Note | None, place: str) -> None:
    if outside is None or (last is not None and last.head.number > outside.head.number):
        return
    if last is None or last.text != outside.text:
        raise Tampered(
            place,
            got=f"head {outside.head.number}, which the ledger does not have",
            promised="what was signed before, and what came after it",
            mend="the ledger was rewritten, or restored from a backup: splice audit verify; after "
            "a restore begin anew with splice audit init and another file for [audit] heads",
        )
