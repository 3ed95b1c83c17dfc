"""What a worker process gives up before it loads a model: containment, as far as it goes.

It holds a model that crashes, leaks or looks around. It is no sandbox against a determined
attacker: the process has the user's rights to files, and the whole of the kernel's interface.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_CHILD_SUBREAPER = 36
_FILES = 256  # open at once; importing scikit-learn takes about 30
_NICE = 5
_FIRST_TO_GO = "600"  # of 1000: where memory ends, the kernel takes this process before the server

USER = "user namespace"
NETWORK = "network namespace"
PRIVILEGES = "no new privileges"


def confine(memory_mb: int | None) -> tuple[str, ...]:
    """Give up what can be given up here; the names of what is in force.

    Called before any thread is started: a process of several cannot have a user namespace of its
    own. In one, it may read neither the memory nor the environment of the server that started it,
    though both run as one user.
    """
    force: list[str] = []
    _limit(resource.RLIMIT_CORE, 0)  # its memory holds what it was asked
    _limit(resource.RLIMIT_NOFILE, _FILES)
    if memory_mb is not None:
        # The parent watches what is resident. This stops what is faster than it looks; it counts
        # memory that is only reserved as well, and so must leave room.
        _limit(resource.RLIMIT_DATA, (2 * memory_mb + 1024) << 20)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    if sys.platform == "linux":
        force += _namespaces()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            force.append(PRIVILEGES)
        # What it forks and abandons stays below it, where the parent finds it.
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, "ascii")
    return tuple(force)


def _namespaces() -> list[str]:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        own = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
        for name, text in own.items():
            # Without a map it is nobody to itself, which costs nothing but a strange name.
            with contextlib.suppress(OSError):
                Path(f"/proc/self/{name}").write_text(text, "ascii")
        return [USER, NETWORK]
    if libc.unshare(_CLONE_NEWNET) == 0:  # root where user namespaces are switched off
        return [NETWORK]
    return []


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (most, most))
