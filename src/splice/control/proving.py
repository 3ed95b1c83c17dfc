"""Proving one call, and exporting what proves all of them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec

from splice.control.following import leaves_of
from splice.control.verifying import Archived
from splice.core import merkle
from splice.core.call import Record
from splice.core.errors import SpliceError
from splice.core.heads import Note, PublicKey
from splice.core.leaves import DIGEST, item_of, leaf_of
from splice.core.proofs import FORMAT, CallProof, Texts
from splice.ports.audit import AuditLog
from splice.ports.checkpoints import CALLS, CheckpointStore

EXPORT = "splice audit export 1"
_PAGE = 1000


class NotProvable(SpliceError):
    """A call that cannot be proved: unknown, or no signed head covers it yet."""

    code = "not_provable"


def prove(
    store: CheckpointStore, record: Record | None, call_id: str, head: Note | None
) -> CallProof:
    """The proof of a call under a signed head.

    Args:
        store: The tree.
        record: The call, read with its seal; None where there is none.
        call_id: Its id.
        head: The head to prove it under, as a rule the newest.

    Raises:
        NotProvable: It is no leaf of the tree that the head is of.
    """
    index = store.index_of(call_id)
    if index is None or record is None:
        raise NotProvable(
            f"call {call_id[:40]}", got="no leaf of the tree",
            mend="look for it with splice calls show; what was archived before the ledger had a "
            "tree has none",
        )  # fmt: skip
    if head is None or head.head.calls <= index:
        raise NotProvable(
            f"call {call_id}", got="no signed head that covers it yet",
            mend="make one with splice audit head, where the signing key is",
        )  # fmt: skip
    size = head.head.calls
    with store.tree(CALLS) as view:
        path = merkle.inclusion(index, size, view.subtree)
    leaf = leaf_of(record)
    return CallProof(FORMAT, leaf, index, size, tuple(each.hex() for each in path), head.text)


def with_texts(proof: CallProof, record: Record) -> CallProof:
    """The same with what was asked and answered, as it is stored.

    Raises:
        NotProvable: The texts were dropped.
    """
    if len(record.seal) == DIGEST:
        raise NotProvable(f"call {record.call_id}", got="texts that are not kept any more")
    item = base64.b64encode(item_of(record)).decode()
    return msgspec.structs.replace(proof, texts=Texts(item, record.entity))


def export(
    store: CheckpointStore, audit: AuditLog, archived: Archived, key: PublicKey | None
) -> Iterator[bytes]:
    """Lines of JSON: what it is, signed heads, events, and the leaves of all calls, in order."""
    with store.tree(CALLS) as view:
        size = view.size
    yield _line({"format": EXPORT, "public_key": key.text() if key else "", "calls": size})
    number = 0
    while page := store.heads(number, _PAGE):
        for note in page:
            number = note.head.number
            yield _line({"head": note.text})
    number = 0
    while events := audit.events(since=number, limit=_PAGE):
        for event in events:
            number = event.number
            yield _line({"event": event})
    with store.tree(CALLS) as view:
        kept = leaves_of(view)
        for some in store.leaves(0, size):
            here = store.stored(some.ids)
            gone = [one for one in some.ids if one not in here]
            files = archived(gone) if gone else {}
            for index, call_id in enumerate(some.ids, some.first):
                stored, record = here.get(call_id), files.get(call_id)
                leaf = stored.leaf if stored else None if record is None else leaf_of(record)
                kept_hash = next(kept, b"").hex()
                yield _line({"call": leaf, "id": call_id, "leaf": kept_hash, "index": index})


def _line(what: dict[str, Any]) -> bytes:
    return msgspec.json.encode(what) + b"\n"
