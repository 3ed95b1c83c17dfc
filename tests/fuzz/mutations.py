"""Mutations: what is read, changed a little, the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_ODD = (
    b"", b"\0", b"\xff", b"\xff\xfe", b"\xed\xa0\x80", b"NaN", b"Infinity", b"-0", b"1e400",
    b"99999999999999999999999", b"null", b"true", b"[]", b"{}", b'"', b"\\", b"\\ud800", b"\\u0000",
    b"[" * 200, b'{"a":' * 200, b"\r\n\r\n", b"\xef\xbb\xbf", b"\x80" * 11, b"'", b"=", b"---\n",
    "\u202e\u0130\u0000\ufeff".encode(), b"__proto__", b"\x7f\xff\xff\xff",
)  # fmt: skip


def mutations(seeds: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """So many inputs, each made from one of the seeds."""
    draw = random.Random(seed)
    yield from seeds
    yield from _ODD
    for _ in range(count):
        raw = bytearray(draw.choice(seeds))
        for _ in range(draw.choice((1, 1, 2, 3, 8))):
            _change(raw, draw)
        yield bytes(raw)


def _change(raw: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(raw) + 1)
    end = min(len(raw), at + draw.choice((1, 1, 2, 4, 16)))
    kind = draw.randrange(6)
    if kind == 0:
        raw[at:end] = draw.randbytes(end - at)
    elif kind == 1:
        raw[at:at] = draw.choice(_ODD)
    elif kind == 2:
        del raw[at:end]
    elif kind == 3:
        raw[at:at] = raw[at:end] * draw.choice((1, 2, 50))
    elif kind == 4 and at < len(raw):
        raw[at] ^= 1 << draw.randrange(8)
    else:
        del raw[at:]
