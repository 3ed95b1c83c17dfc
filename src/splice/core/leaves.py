"""What of a stored call is hashed into the Merkle tree: its columns, and a digest of the rest.

It is what the database holds, after masking and enciphering: destroying a key changes nothing. The
payload and the entity go in as one digest. A proof need not show them, and when they are dropped,
the digest takes the place of the salt that was hashed along with them (see `seal` of a record).
Without the salt, whoever has the digest could try out what a payload may have been.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TypeAlias

import msgspec

from splice.core.call import Record

SALT = 16
"""Bytes of a seal while the payload is there: random."""

DIGEST = 32
"""Bytes of a seal once texts or entity were dropped: what `payload_digest` gave before."""

_MOST = 2047
"""Bytes that are hashed at once. From 2048 on hashlib gives the GIL away, and a busy event loop
hands it back only after milliseconds: that would be for every call."""

KindValues: TypeAlias = "tuple[str, int, str, str, str, str, str, str]"
"""integration, release, status, reason, surface, route, variant, version"""

_UNSEALED = 11  # fields of a payload from before there were seals

_encode = msgspec.msgpack.Encoder().encode
_sha256 = hashlib.sha256
_NOBODY = _encode(None)


class CallLeaf(msgspec.Struct, frozen=True):
    """One stored call as the tree has it. The order of fields is that of the hash.

    `payload` is what `payload_digest` gives, in hexadecimal. Times and the cost have the units of a
    record.
    """

    integration: str
    release: int
    status: str
    reason: str
    surface: str
    route: str
    variant: str
    version: str
    call_id: str
    asked_us: int
    duration_us: int
    caller: str
    cost_nano: int | None
    payload: str

    def hashed(self) -> bytes:
        """The hash of the leaf.

        Raises:
            ValueError: `payload` is not hexadecimal.
        """
        kind = (
            self.integration, self.release, self.status, self.reason, self.surface, self.route,
            self.variant, self.version,
        )  # fmt: skip
        row = self.call_id, self.asked_us, self.duration_us, self.caller, self.cost_nano
        return call_hash(kind, row, bytes.fromhex(self.payload))


def leaf_of(record: Record) -> CallLeaf:
    """The leaf of a record that was read with its seal.

    Of a call from before there were seals the payload is without the fields that came since.
    """
    seal = record.seal
    digest = seal if len(seal) == DIGEST else payload_digest(item_of(record), record.entity)
    return CallLeaf(
        record.integration, record.release, record.status, record.reason, record.surface,
        record.route, record.variant, record.version, record.call_id, record.asked_us,
        record.duration_us, record.caller, record.cost_nano, digest.hex(),
    )  # fmt: skip


def item_of(record: Record) -> bytes:
    """The payload item of a record, byte for byte as it was stored."""
    r = record
    fields: tuple[object, ...] = (
        r.input, r.gathered, r.context, r.attempts, r.prediction, r.reply, r.problem, r.trace,
        r.key, r.notes, r.shadow_of, r.policies, r.locked, r.seal,
    )  # fmt: skip
    return b"\0" + _encode(fields if r.seal else fields[:_UNSEALED])


def call_hash(
    kind: KindValues, row: tuple[str, int, int, str, int | None], payload: bytes
) -> bytes:
    """The hash of a call's leaf: RFC 9162's, over two msgpack arrays, one after the other.

    Args:
        kind: What it has in common with others.
        row: call id, asked_us, duration_us, caller, cost_nano.
        payload: What `payload_digest` gave.
    """
    return row_hash(leaf_head(kind), (*row, payload))


@lru_cache(maxsize=4096)
def leaf_head(kind: KindValues) -> bytes:
    """How the leaves of a kind begin."""
    return b"\0" + _encode([_stored(each) if isinstance(each, str) else each for each in kind])


def row_hash(head: bytes, row: tuple[str, int, int, str, int | None, bytes]) -> bytes:
    """What `call_hash` gives, of a head and of the rest: its row with the payload's digest."""
    if "\0" in row[3]:
        row = (*row[:3], _stored(row[3]), *row[4:])
    return _sha256(head + _encode(row)).digest()


def payload_digest(item: bytes, entity: str | None) -> bytes:
    """The digest of a payload item, as it is stored, and of the entity."""
    if entity is not None and "\0" in entity:
        entity = _stored(entity)
    tail = _NOBODY if entity is None else _encode(entity)
    if len(item) + len(tail) <= _MOST:
        return _sha256(item + tail).digest()
    digest = _sha256()
    for part in (memoryview(item), memoryview(tail)):
        for start in range(0, len(part), _MOST):
            digest.update(part[start : start + _MOST])
    return digest.digest()


def _stored(text: str) -> str:
    """PostgreSQL's text cannot hold a NUL: there a picture of one is stored, and all hash that."""
    return text.replace("\0", "\u2400")
