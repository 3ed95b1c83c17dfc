"""Envelopes: how enciphered texts lie in a store, and whose they are.

An envelope begins with a mark and the form, then names whose key it needs: 16 bytes of his HMAC and
8 of the key's own id. Then come the nonce and what AES-256-GCM made of the texts. Everything before
the nonce, and the place where the envelope belongs (a call id, say), is authenticated with it: an
envelope that was put elsewhere cannot be opened.
"""

from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import msgspec
import zstandard

MARK = b"\xc1SPL\x01"
"""The first byte is one with which no text in UTF-8 and no msgpack begins."""

TAG_BYTES, ID_BYTES, _NONCE = 16, 8, 12
OWNER = len(MARK) + TAG_BYTES
"""So many bytes at the start are the same in all envelopes of one person."""
_HEAD = OWNER + ID_BYTES
_SMALL = 512
"""Bytes; what is shorter hardly becomes shorter by compression."""
_PLAIN, _ZSTD = b"\0", b"\1"


class Aead(Protocol):
    """A cipher that authenticates what it enciphers."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Enciphered."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Deciphered; raises where it is not what was enciphered."""
        ...


class Held(msgspec.Struct, frozen=True, gc=False):
    """A key in memory, ready to use: its cipher, and how its envelopes begin."""

    aead: Aead
    head: bytes


ToSeal: TypeAlias = "tuple[Held, Any, bytes]"
"""A key, what is to be sealed with it, and where the envelope belongs."""


def head_of(tag: bytes, key_id: bytes) -> bytes:
    """How envelopes of a key begin."""
    return MARK + tag + key_id


def is_envelope(value: bytes | None) -> bool:
    """Whether it is one."""
    return value is not None and value.startswith(MARK)


def owner_of(envelope: bytes) -> tuple[bytes, bytes]:
    """Whose it is (his HMAC), and the id of the key."""
    return envelope[len(MARK) : OWNER], envelope[OWNER:_HEAD]


_pack = msgspec.msgpack.Encoder(enc_hook=str).encode


class Sealer:
    """Makes envelopes. One thread at a time uses it: so does the compressor."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1)

    def sealed(self, some: Sequence[ToSeal], always: bytes = b"") -> list[bytes]:
        """An envelope of each: of a key in memory, what msgpack can hold, and where it belongs.

        With a secret `always`, the same texts give the same envelope: then a store can tell that
        it has one. Different texts still have different nonces.
        """
        packed = self._packed([_pack(texts) for _, texts, _ in some])
        random = os.urandom(_NONCE * len(some))
        envelopes: list[bytes] = []
        for number, ((held, _, place), body) in enumerate(zip(some, packed, strict=True)):
            head = held.head
            if always:
                text = b"splice nonce\0" + head + place + body
                nonce = hmac.digest(always, text, "sha256")[:_NONCE]
            else:
                nonce = random[number * _NONCE : (number + 1) * _NONCE]
            envelopes.append(head + nonce + held.aead.encrypt(nonce, body, head + place))
        return envelopes

    def _packed(self, bodies: list[bytes]) -> list[bytes]:
        """The bodies, the longer ones compressed."""
        long = [number for number, body in enumerate(bodies) if len(body) >= _SMALL]
        some: list[Any] = [bodies[number] for number in long]
        # One call for all: each gives the GIL away, which a busy event loop hands back late.
        if len(long) > 1 and "multi_compress_to_buffer" in zstandard.backend_features:
            together = self._compressor.multi_compress_to_buffer(some, threads=1)
            short = [one.tobytes() for one in together]
        else:
            short = [self._compressor.compress(one) for one in some]
        found = [_PLAIN + body for body in bodies]
        for number, body in zip(long, short, strict=True):
            found[number] = _ZSTD + body
        return found


def opened(held: Held, envelope: bytes, place: bytes) -> bytes:
    """The msgpack within.

    Raises:
        ValueError: It was changed, or belongs elsewhere.
    """
    head, start = envelope[:_HEAD], _HEAD + _NONCE
    try:
        packed = held.aead.decrypt(envelope[_HEAD:start], envelope[start:], head + place)
    except Exception as error:  # noqa: BLE001 - of a library that is imported late
        raise ValueError(f"an envelope that does not open ({type(error).__name__})") from None
    return _decompressed(packed[1:]) if packed[:1] == _ZSTD else packed[1:]


class _Own(threading.local):
    """A decompressor for each thread: making one takes longer than what it does with a call."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_own = _Own()


def _decompressed(body: bytes) -> bytes:
    return _own.decompressor.decompress(body)
