"""Process: what every process that answers calls does at its start, whatever it reads them from."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time

_PARENT_SECONDS = 0.5


def settle_memory() -> None:
    """Once started: what start-up made stays for good, and is not walked again and again."""
    # At thousands of calls a second the collector's defaults would have it run on every few.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


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
