"""Length-prefixed frames: what a parent and its child process speak, whatever is in them."""

from __future__ import annotations

from typing import Protocol

LENGTH = 4
"""Bytes of the length before each frame, big end first."""


class Readable(Protocol):
    """A blocking pipe or a socket's file."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, or fewer where it has ended."""
        ...


def framed(body: bytes) -> bytes:
    """A body with its length before it."""
    return len(body).to_bytes(LENGTH, "big") + body


def read_body(pipe: Readable, most: int) -> bytes | None:
    """The body of the next frame; None where the pipe has ended, also in the middle of a frame.

    Raises:
        ValueError: It is longer than `most`: something else wrote into the pipe.
    """
    head = pipe.read(LENGTH)
    if len(head) < LENGTH:
        return None
    length = int.from_bytes(head, "big")
    if length > most:
        raise ValueError(f"a frame of {length} bytes")
    body = pipe.read(length)
    return None if len(body) < length else body
