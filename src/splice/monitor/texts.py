"""Texts: what they look like and what they are about, without keeping a word of them.

Needs splice-ai[monitor]. A text becomes a vector of `DIMENSIONS` numbers, in one of two ways: of
its spelling (which runs of three bytes it has; any language), or of its meaning, by a sentence
encoder. Of many texts only the mean and the spread of their vectors are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np

from splice.core.profiles import Numbers, Texts, Vectors
from splice.monitor.sketches import (
    FEW_VALUES,
    Floats,
    Hashes,
    join_numbers,
    mixed,
    numbers_of,
)

Encode = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""Texts to vectors of one length: a sentence encoder."""

DIMENSIONS = 16
_TRIGRAMS = 1 << 12
_MOST_BYTES = 2000
"""Of a longer text only the beginning is looked at, but for its length."""
MOST_LOOKED_AT = 512
"""Texts of a batch that are looked at in full: each takes up to half a millisecond."""
_PIECE = 128
MOST_ENCODED = 32
"""Texts of a batch that an encoder reads: each takes it some milliseconds."""
SPELLING = "trigrams-1"
MEANING = "encoder-1"
_FIGURES = ("length", "unknown", "letters", "digits")


def texts_of(
    texts: Sequence[str], encode: Encode | None = None, most: int = MOST_LOOKED_AT
) -> Texts:
    """What texts were like: all by their length, up to `most` of them, evenly spread, in full."""
    looked_at = _spread(texts, most)
    lengths = np.array([[len(text) for text in texts]], np.float64)
    shares = np.array([_shares(text) for text in looked_at], np.float64).T.copy()
    numbers = [one for rows in (lengths, shares) for one in numbers_of(rows, [*map(_few, rows)])]
    meaning = Vectors()
    if encode is not None:
        encoded = np.array(encode(_spread(texts, MOST_ENCODED)), np.float64)
        if encoded.ndim == 2:
            meaning = vectors_of(encoded @ _signs(encoded.shape[1]), MEANING)
    # In pieces: of all texts at once, what runs they have would fill the memory.
    pieces = [looked_at[place : place + _PIECE] for place in range(0, len(looked_at), _PIECE)]
    vectors = np.concatenate([spelled(piece) for piece in pieces])
    return Texts(len(texts), *numbers, spelling=vectors_of(vectors, SPELLING), meaning=meaning)


def _spread(texts: Sequence[str], most: int) -> Sequence[str]:
    return texts[:: max(1, -(-len(texts) // most))]


def _few(row: Floats) -> dict[float, int] | None:
    values: list[float] = row.tolist()
    counts = Counter(values)
    return dict(counts) if len(counts) <= FEW_VALUES else None


def _shares(text: str) -> tuple[float, float, float]:
    """The shares of unreadable characters, letters and digits of its beginning."""
    begin = text[:_MOST_BYTES]
    size = len(begin) or 1
    letters = sum(map(str.isalpha, begin))
    digits = sum(map(str.isdigit, begin))
    readable = sum(map(str.isprintable, begin)) + sum(map(begin.count, "\n\t\r"))
    unknown = size - readable + begin.count("\ufffd") if begin else 0
    return unknown / size, letters / size, digits / size


def spelled(texts: Sequence[str]) -> Floats:
    """A vector for each text, by its runs of three bytes, letters in lower case."""
    rows = np.zeros((len(texts), _TRIGRAMS))
    for number, text in enumerate(texts):
        raw = text[:_MOST_BYTES].lower().encode("utf-8", "surrogatepass")[:_MOST_BYTES]
        code = np.frombuffer(b"  " + raw + b"  ", np.uint8).astype(np.uint32)
        runs = code[:-2] * np.uint32(0x9E3779B1) ^ code[1:-1] * np.uint32(0x85EBCA6B)
        runs ^= code[2:] * np.uint32(0xC2B2AE35)
        # High bits, for the low ones of a product depend on the low ones of its factors alone.
        counts = np.bincount(runs >> np.uint32(20), minlength=_TRIGRAMS)
        # The square root keeps a word that is repeated a hundred times from being all of a text.
        rows[number] = np.sqrt(counts)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ _signs(_TRIGRAMS)


@cache
def _signs(size: int) -> Floats:
    """A fixed random projection to `DIMENSIONS`: the same on every machine and for good."""
    seeds: Hashes = np.arange(size * DIMENSIONS, dtype=np.uint64)
    signs = (mixed(seeds) >> np.uint64(63)).astype(np.float64) * 2 - 1
    return signs.reshape(size, DIMENSIONS)


def vectors_of(rows: Floats, made_by: str) -> Vectors:
    """Mean and spread of vectors, one a row."""
    if not len(rows):
        return Vectors()
    mean = rows.mean(axis=0)
    off = rows - mean
    return Vectors(len(rows), mean.tobytes(), (off.T @ off).tobytes(), made_by)


def join_vectors(parts: Sequence[Vectors]) -> Vectors:
    """Mean and spread of all; those that were made in another way than the first are left out."""
    filled = [part for part in parts if part.count]
    same = [part for part in filled if part.made_by == filled[0].made_by]
    if len(same) < 2:
        return same[0] if same else Vectors()
    counts = np.array([part.count for part in same], np.float64)
    means = np.array([np.frombuffer(part.mean) for part in same])
    mean = counts @ means / counts.sum()
    off = means - mean
    products = np.sum([np.frombuffer(part.products) for part in same], axis=0)
    products = products + ((off.T * counts) @ off).ravel()
    return Vectors(int(counts.sum()), mean.tobytes(), products.tobytes(), same[0].made_by)


def join_texts(parts: Sequence[Texts]) -> Texts:
    """What all texts were like."""
    joined: Iterable[Numbers] = (
        join_numbers([getattr(part, figure) for part in parts]) for figure in _FIGURES
    )
    return Texts(
        sum(part.count for part in parts), *joined,
        spelling=join_vectors([part.spelling for part in parts]),
        meaning=join_vectors([part.meaning for part in parts]),
    )  # fmt: skip
