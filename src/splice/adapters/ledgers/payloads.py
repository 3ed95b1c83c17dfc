"""Payloads: what a record holds beside its columns, packed in blocks of up to 64.

A block is a zstd frame over a msgpack list; each item is one byte that says how the rest of it is
encoded, and the rest: `0` is plain msgpack. Items stay apart so that one can be encrypted with a
key of its own, and a block is small so that reading one call unpacks little.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from os import urandom
from typing import Any, TypeAlias

import msgspec
import zstandard

from splice.core.call import Attempt, Gathered, Problem, Record, Trace
from splice.core.ids import id_unix_ms
from splice.core.leaves import DIGEST, SALT, leaf_head, payload_digest, row_hash
from splice.core.policies import PolicyRun

SLOTS = 64
"""Calls find their payload at `place = block * SLOTS + slot`: never change this number."""

_BLOCK_BYTES = 256 * 1024
_PLAIN = b"\0"
_DAY_MS = 86_400_000

Kind: TypeAlias = "tuple[str, int, str, str, str, str, str, str]"
"""integration, release, status, reason, surface, route, variant, version"""

Row: TypeAlias = "tuple[str, int, int, int, str, str | None, int | None, int]"
"""Columns of `calls`, in their order."""


class Payload(msgspec.Struct, array_like=True, frozen=True):
    """The order is the format: add at the end only, with a default."""

    input: bytes
    gathered: tuple[Gathered, ...]
    context: bytes | None
    attempts: tuple[Attempt, ...]
    prediction: bytes | None
    reply: bytes | None
    problem: Problem | None
    trace: Trace | None
    key: str | None
    notes: tuple[str, ...] = ()
    shadow_of: str | None = None
    policies: tuple[PolicyRun, ...] = ()
    locked: bytes = b""
    seal: bytes = b""


class Packed(msgspec.Struct):
    """Calls of one day, ready to be stored: rows, blocks by their numbers, the ids of each block.

    Ids are 16 bytes each, one after the other, in the order of the rows; leaves, the hashes that go
    into the Merkle tree, 32.
    """

    day: int
    rows: list[Row]
    blocks: dict[int, bytes]
    ids: dict[int, bytes]
    leaves: dict[int, bytes]


_encode = msgspec.msgpack.Encoder().encode
_items = msgspec.msgpack.Decoder(list[bytes]).decode
_payload = msgspec.msgpack.Decoder(Payload).decode


def day_of(call_id: str) -> int:
    """The day of a call id, in days since 1970."""
    return id_unix_ms(call_id) // _DAY_MS


def first_id(day: int) -> str:
    """The smallest id that a day can have."""
    text = f"{day * _DAY_MS:012x}"
    return f"{text[:8]}-{text[8:]}-0000-0000-000000000000"


def by_day(records: Sequence[Record]) -> Iterator[tuple[int, Sequence[Record]]]:
    """Records by the day of their ids; as a rule that is one day."""
    ids = [record.call_id for record in records]
    first, last = day_of(min(ids)), day_of(max(ids))
    if first == last:
        yield first, records
        return
    days: dict[int, list[Record]] = {}
    for record in records:
        days.setdefault(day_of(record.call_id), []).append(record)
    yield from days.items()


class Packer:
    """Turns records into rows and blocks. One at a time: the compressor is not for two threads."""

    def __init__(
        self, kind_number: Callable[[Kind], int], take_blocks: Callable[[], range]
    ) -> None:
        self._kind_number = kind_number
        self._take_blocks = take_blocks
        self._free = iter(range(0))
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._packing = threading.Lock()

    def pack(self, records: Sequence[Record]) -> list[Packed]:
        """Rows and blocks, a day each. Compressing lets other threads run."""
        with self._packing:
            return [self._pack(day, some) for day, some in by_day(records)]

    def _pack(self, day: int, records: Sequence[Record]) -> Packed:
        # The hottest loop of the ledger: it holds the GIL. Measured at 1.0 microsecond a record
        # without the hash of its leaf.
        encode, kind_number = _encode, self._kind_number
        rows: list[Row] = []
        blocks: dict[int, bytes] = {}
        ids: dict[int, bytes] = {}
        items: list[bytes] = []
        leaves, hashes = dict[int, bytes](), list[bytes]()
        last: Kind | None = None  # those of a batch are of one kind, as a rule
        number, head = 0, b""
        salts, salted = urandom(SALT * len(records)), 0
        block, size = self._block(), 0
        place = block * SLOTS
        for r in records:
            if len(items) == SLOTS or size > _BLOCK_BYTES:
                blocks[block] = encode(items)
                ids[block] = _ids(rows[-len(items) :])
                leaves[block] = b"".join(hashes)
                items, block, size = [], self._block(), 0
                hashes, place = [], block * SLOTS
            kind = (
                r.integration, r.release, r.status, r.reason, r.surface, r.route, r.variant,
                r.version,
            )  # fmt: skip
            if kind != last:
                last, number, head = kind, kind_number(kind), leaf_head(kind)
            rows.append(
                (r.call_id, number, r.asked_us, r.duration_us, r.caller, r.entity,
                 r.cost_nano, place)
            )  # fmt: skip
            seal = r.seal or salts[salted : salted + SALT]
            salted += SALT
            item = _PLAIN + encode(
                (r.input, r.gathered, r.context, r.attempts, r.prediction, r.reply, r.problem,
                 r.trace, r.key, r.notes, r.shadow_of, r.policies, r.locked, seal)
            )  # fmt: skip
            digest = seal if len(seal) == DIGEST else payload_digest(item, r.entity)
            row = r.call_id, r.asked_us, r.duration_us, r.caller, r.cost_nano, digest
            hashes.append(row_hash(head, row))
            items.append(item)
            size += len(item)
            place += 1
        blocks[block] = encode(items)
        ids[block] = _ids(rows[-len(items) :])
        leaves[block] = b"".join(hashes)
        return Packed(day, rows, self._compress(blocks), ids, leaves)

    def _block(self) -> int:
        number = next(self._free, None)
        if number is None:
            self._free = iter(self._take_blocks())
            number = next(self._free)
        return number

    def _compress(self, blocks: dict[int, bytes]) -> dict[int, bytes]:
        # One call for all blocks: each call gives the GIL away, and a busy event loop hands it
        # back only after milliseconds.
        bodies: list[Any] = list(blocks.values())  # ByteString to zstandard, gone from Python 3.14
        if len(bodies) == 1 or "multi_compress_to_buffer" not in zstandard.backend_features:
            packed = [self._compressor.compress(body) for body in bodies]
        else:
            together = self._compressor.multi_compress_to_buffer(bodies, threads=1)
            packed = [segment.tobytes() for segment in together]
        return dict(zip(blocks, packed, strict=True))


def _ids(rows: Sequence[Row]) -> bytes:
    return bytes.fromhex("".join([row[0] for row in rows]).replace("-", ""))


def unpack(body: bytes) -> list[bytes]:
    """The items of a block.

    Raises:
        ValueError: The block is damaged.
    """
    try:
        return _items(zstandard.ZstdDecompressor().decompress(body))
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise ValueError(f"a damaged payload block: {error}") from None


def decode(item: bytes) -> Payload:
    """The payload of one item.

    Raises:
        ValueError: It is encoded in a way that this version does not know, or damaged.
    """
    if item[:1] != _PLAIN:
        raise ValueError(f"a payload of encoding {item[:1].hex()}, which this version cannot read")
    return _payload(memoryview(item)[1:])
