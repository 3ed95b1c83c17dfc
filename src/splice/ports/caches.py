"""Caches: answers kept for a while, found by an exact key or by the nearness of their meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Cache(Protocol):
    """Bytes by key, each for so many seconds. A cache that fails is no cache: it never raises."""

    async def get(self, key: str) -> bytes | None:
        """The bytes, or None where nothing is kept (any more), or where the cache is away."""
        ...

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep it; where it has no room, the least recently used goes first."""
        ...

    async def clear(self, prefix: str) -> int:
        """Forget every key that begins so; returns how many."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class Near(msgspec.Struct, frozen=True, gc=False):
    """Something kept whose meaning is near: the text it was asked with, its value, the cosine."""

    text: str
    value: bytes
    cosine: float


class SemanticCache(Protocol):
    """Bytes by the meaning of a text, in spaces that know nothing of each other."""

    async def near(self, space: str, text: str, at_least: float) -> Near | None:
        """The nearest that passes both checks: its cosine, and the second, lexical one."""
        ...

    async def put(self, space: str, text: str, value: bytes, seconds: float) -> None:
        """Keep it for so many seconds."""
        ...

    async def clear(self, prefix: str) -> int:
        """Forget every space whose name begins so; returns how many entries."""
        ...

    async def close(self) -> None:
        """Let go of the encoder."""
        ...


class Encoder(Protocol):
    """Turns texts into vectors of length 1."""

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text, in order."""
        ...
