"""Connections to every worker of a server, as many to each.

The workers of a server share one listening socket, and while they idle the first of them takes
every connection. Here each is given its own, while the others are held still for a moment.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from processes import family

ESTABLISHED, LISTENING = "01", "0A"
TAKEN_S = 20.0
"""A generous bound for a worker to take a connection."""


def spread(root: int, port: int, workers: int, connections: int) -> list[socket.socket]:
    """Open connections to the server `root`, shared evenly among its workers.

    Raises:
        RuntimeError: It has not so many workers, or one does not take its connections.
    """
    listening = _sockets(port, LISTENING)
    found = [one for one in family(root) if listening & _held(one)]
    if workers > 1:
        found.remove(root)  # it only watches over them
    if len(found) != workers:
        raise RuntimeError(f"{len(found)} workers, expected {workers}")
    links: list[socket.socket] = []
    for at, worker in enumerate(found):
        share = connections // workers + (at < connections % workers)
        with _still([one for one in found if one != worker]):
            before = _taken(worker, port)
            links += [socket.create_connection(("127.0.0.1", port)) for _ in range(share)]
            give_up = time.monotonic() + TAKEN_S
            while _taken(worker, port) < before + share:
                if time.monotonic() > give_up:
                    raise RuntimeError(f"worker {worker} does not take its connections")
                time.sleep(0.01)
    return links


@contextmanager
def _still(processes: Sequence[int]) -> Generator[None]:
    """These workers, all of them our own server's, do nothing for a while."""
    for one in processes:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in processes:
            os.kill(one, signal.SIGCONT)


def _taken(process: int, port: int) -> int:
    """How many connections at `port` a process holds."""
    return len(_sockets(port, ESTABLISHED) & _held(process))


def _sockets(port: int, state: str) -> set[str]:
    """The inodes of the sockets at `port` of this machine that are in that state."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    end = f":{port:04X}"
    return {one[9] for one in lines if one[1].endswith(end) and one[3] == state}


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
