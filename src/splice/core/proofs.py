"""A proof that one call was recorded, which needs no ledger to be checked."""

from __future__ import annotations

import base64

import msgspec

from splice.core.heads import Note, notes
from splice.core.leaves import CallLeaf, payload_digest
from splice.core.merkle import root_by_inclusion

FORMAT = "splice call proof 1"


class Texts(msgspec.Struct, frozen=True):
    """What the digest of a call's payload is over: the item as stored, in base64, and the entity.

    With an encrypted payload that is the ciphertext.
    """

    item: str
    entity: str | None


class CallProof(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A call, the path from its leaf to the root, and the signed head that has this root.

    `index` is the call's place in the tree of `size` leaves, both counted as RFC 9162 does. The
    path is hexadecimal, from the leaf up. `head` is the whole note. `texts` are there only if they
    were asked for.
    """

    format: str
    call: CallLeaf
    index: int
    size: int
    path: tuple[str, ...]
    head: str
    texts: Texts | None = None


def signed_head(proof: CallProof) -> Note:
    """The head of a proof that holds; its signature is still to be verified.

    Raises:
        ValueError: It does not hold; says why.
    """
    if proof.format != FORMAT:
        raise ValueError(f"another format: {proof.format[:40]!r}")
    found = notes(proof.head)
    if len(found) != 1 or found[0].text != proof.head:
        raise ValueError("the head is no signed note")
    head = found[0].head
    if head.calls != proof.size:
        raise ValueError(f"the path is of a tree of {proof.size}, the head of one of {head.calls}")
    path = [bytes.fromhex(each) for each in proof.path]
    if any(len(each) != 32 for each in path):
        raise ValueError("a hash of the path has another length than 32 bytes")
    root = root_by_inclusion(proof.call.hashed(), proof.index, proof.size, path)
    if root is None or root.hex() != head.calls_root:
        raise ValueError("the path does not lead from this call to the root of the head")
    if proof.texts is not None:
        item = base64.b64decode(proof.texts.item, validate=True)
        if payload_digest(item, proof.texts.entity).hex() != proof.call.payload:
            raise ValueError("the texts are not those that were recorded")
    return found[0]


def proof_of(body: bytes) -> CallProof:
    """The proof in a JSON document.

    Raises:
        ValueError: It is none.
    """
    try:
        return msgspec.json.decode(body, type=CallProof)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no proof of a call: {error}") from None
