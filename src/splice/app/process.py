"""Process: what every process that answers calls does at its start, whatever it reads them from."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
import threading
import time

_PARENT_SECONDS = 0.5
_STRETCH_S = 0.02  # four times Python's own
_M_TRIM_THRESHOLD, _M_TOP_PAD = -1, -2  # of glibc's malloc.h
_KEPT = ((_M_TRIM_THRESHOLD, 256 * 1024 * 1024), (_M_TOP_PAD, 16 * 1024 * 1024))


def settle_memory() -> None:
    """Once started: what start-up made stays for good, and is not walked again and again."""
    # At thousands of calls a second the collector's defaults would have it run on every few.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def work_in_stretches() -> None:
    """For a process that works through batches, and in which nobody waits for milliseconds.

    Threads change less often: each finds what it works on out of the processor's caches. What one
    batch freed stays for the next, where the C library is glibc: to give it back to the system and
    to take it again takes some twentieth of a consumer's time.
    """
    sys.setswitchinterval(_STRETCH_S)
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            for option, value in _KEPT:
                mallopt(option, value)


def log_to_stderr() -> None:
    """Warnings of everybody, and what Splice says."""
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("splice").setLevel(logging.INFO)


def say(text: str) -> None:
    """One line for whoever watches it start and stop."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def leave_with_parent() -> None:
    """End with SIGTERM once the parent is gone: a worker whose parent was killed would go on."""
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
