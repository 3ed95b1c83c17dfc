"""Length-prefixed JSON over a pipe: what LlamaProvider and its child process speak."""

from __future__ import annotations

from typing import Any, BinaryIO

import msgspec

_LENGTH = 4
_MOST = 64 * 1024 * 1024

Frame = dict[str, Any]  # JSON of the two ends' own making


def write_frame(pipe: BinaryIO, frame: Frame) -> None:
    """Write one frame and flush it."""
    body = msgspec.json.encode(frame)
    pipe.write(len(body).to_bytes(_LENGTH, "big") + body)
    pipe.flush()


def read_frame(pipe: BinaryIO) -> Frame | None:
    """The next frame, or None where the pipe has ended, also in the middle of a frame.

    Raises:
        ValueError: What came is not a frame: something else wrote into the pipe.
    """
    head = pipe.read(_LENGTH)
    if len(head) < _LENGTH:
        return None
    length = int.from_bytes(head, "big")
    if length > _MOST:
        raise ValueError(f"a frame of {length} bytes")
    body = pipe.read(length)
    if len(body) < length:
        return None
    return msgspec.json.decode(body, type=Frame)
