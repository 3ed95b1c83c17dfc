"""Files that a command writes: whole, or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from splice.cli.moments import WrongOption


def write_whole(file: Path, pieces: Iterable[bytes]) -> int:
    """Write all pieces beside the file, then put it in its place; returns how many bytes.

    Whatever interrupts it, the file is as it was before, or as it should be.

    Raises:
        WrongOption: It cannot be written.
    """
    size = 0
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as out:
            for piece in pieces:
                out.write(piece)
                size += len(piece)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(file)
    except OSError as error:
        raise WrongOption(
            "--out", got=str(error), promised="a file that can be written", mend="name another"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
    return size


def write_out(pieces: Iterable[bytes]) -> None:
    """Write to stdout as it is; who reads only the beginning ends it without a word."""
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python would complain once more when it closes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
