"""Which worker of a server holds how many connections: each must have some, or it is not tested."""

from __future__ import annotations

import os
from pathlib import Path

from processes import family

ESTABLISHED = "01"


def each_has_some(root: int, port: int, workers: int) -> list[int]:
    """How many connections each worker of the server `root` holds; waits until all are taken.

    Raises:
        RuntimeError: Fewer than `workers` processes hold any.
    """
    inodes = _sockets(port)
    held = [len(inodes & _held(process)) for process in family(root)]
    spread = sorted(count for count in held if count)
    if len(spread) < workers:
        raise RuntimeError(f"{workers} workers, but the connections are with {spread}")
    return spread


def _sockets(port: int) -> set[str]:
    """The inodes of the established connections at `port` of this machine."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    end = f":{port:04X}"
    return {one[9] for one in lines if one[1].endswith(end) and one[3] == ESTABLISHED}


def _held(process: int) -> set[str]:
    """The inodes of the sockets that a process has open."""
    found: set[str] = set()
    for link in Path(f"/proc/{process}/fd").glob("*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found
