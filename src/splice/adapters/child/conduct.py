"""How a child process behaves: it ends with its parent, and leaves signals to it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Let the kernel end this process when the thread that started it ends (Linux only).

    The end of its pipe says the same, but not to a process whose every thread is stuck in C.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(1)


def leave_signals_to_parent() -> None:
    """Ignore what asks a process to end.

    Terminals and service managers send it to a whole group: the parent may be draining, and ends
    this process when it is done.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module in a fresh interpreter.

    -P: a directory named `splice` where the parent happens to stand must not be run.
    """
    return [sys.executable, "-P", "-m", module, *arguments]
