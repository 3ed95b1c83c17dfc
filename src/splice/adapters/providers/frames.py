"""JSON in frames over a pipe: what LlamaProvider and its child process speak."""

from __future__ import annotations

from typing import Any, BinaryIO

import msgspec

from splice.adapters.child.frames import framed, read_body

_MOST = 64 * 1024 * 1024

Frame = dict[str, Any]  # JSON of the two ends' own making


def write_frame(pipe: BinaryIO, frame: Frame) -> None:
    """Write one frame and flush it."""
    pipe.write(framed(msgspec.json.encode(frame)))
    pipe.flush()


def read_frame(pipe: BinaryIO) -> Frame | None:
    """The next frame, or None where the pipe has ended, also in the middle of a frame.

    Raises:
        ValueError: What came is not a frame: something else wrote into the pipe.
    """
    body = read_body(pipe, _MOST)
    return None if body is None else msgspec.json.decode(body, type=Frame)
