"""A constant load: so many calls a second over kept-alive connections, answered or not.

An open loop: a call is due when its time has come, whatever became of those before it, and its
latency is counted from then. wrk cannot do that: it waits for an answer before it asks again. One
thread, plain sockets, and a script that runs between the calls: it starts what is to happen.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
TIMEOUT_S = 5.0
LOOK_S = 0.02
"""How often the script goes on."""
START_S = 0.05
BROKEN = 0
"""The status of a call that got no answer."""


@dataclass(slots=True)
class Sample:
    """One call: when it was due, sent and answered (seconds), and what came."""

    due: float
    row: int
    sent: float = 0.0
    done: float = 0.0
    status: int = BROKEN
    body: bytes = b""

    @property
    def latency_ms(self) -> float:
        """From when it was due to its answer."""
        return (self.done - self.due) * 1e3


@dataclass(slots=True)
class _Caller:
    """One connection, and the call that it waits for."""

    link: socket.socket
    sample: Sample | None = None
    came: bytearray = field(default_factory=bytearray)


def _caller(link: socket.socket) -> _Caller:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setblocking(False)
    return _Caller(link)


class Constant:
    """The load, and what it has got so far.

    Args:
        links: Connections to the server, one a caller. Where all of them wait, a call that is due
            waits for the first one that is free, and that is part of its latency.
        requests: The bytes of one request a row, sent in turn.
        rate: Calls a second.
    """

    def __init__(
        self, links: Sequence[socket.socket], requests: Sequence[bytes], rate: float
    ) -> None:
        self._server = links[0].getpeername()
        self._requests = requests
        self._period = 1 / rate
        callers = [_caller(link) for link in links]
        self._callers = {one.link: one for one in callers}
        self._idle = deque(self._callers.values())
        self._late: deque[Sample] = deque()
        self.samples: list[Sample] = []
        """Those that are over, in the order in which they ended."""
        self.reopened = 0
        """Connections that the server closed while no call was on them."""

    def run(self, script: Iterator[None]) -> None:
        """Ask until the script is over, and wait for the last answers."""
        now = time.perf_counter()
        due, look, count = now + START_S, now, 0
        asking = True
        while asking or len(self._idle) < len(self._callers) or self._late:
            now = time.perf_counter()
            while asking and due <= now:
                self._late.append(Sample(due, count % len(self._requests)))
                due, count = due + self._period, count + 1
            while self._late and self._idle:
                self._send(self._idle.popleft(), self._late.popleft())
            if now >= look:
                look = now + LOOK_S
                self._give_up(now - TIMEOUT_S)
                if asking:
                    asking = next(script, self) is not self
            until = min(due, look) if asking else look
            wait = max(0.0, until - time.perf_counter())
            # select, not epoll: that one waits whole milliseconds, and half of one is a call.
            for link in select.select(list(self._callers), [], [], wait)[0]:
                self._receive(self._callers[link])

    def close(self) -> None:
        """Close every connection."""
        for link in self._callers:
            link.close()

    def _send(self, caller: _Caller, sample: Sample) -> None:
        sample.sent = time.perf_counter()
        caller.sample = sample
        try:
            caller.link.sendall(self._requests[sample.row])
        except OSError:
            self._broken(caller)

    def _receive(self, caller: _Caller) -> None:
        try:
            piece = caller.link.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self._broken(caller)
            return
        caller.came += piece
        head, found, body = caller.came.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not found or (length is not None and len(body) < int(length[1])):
            return
        sample, caller.sample = caller.sample, None
        if sample is None or length is None:  # an answer to nothing, or of no known length
            caller.sample = sample
            self._broken(caller)
            return
        sample.done = time.perf_counter()
        sample.status, sample.body = int(head[9:12]), bytes(body)
        self.samples.append(sample)
        caller.came.clear()
        self._idle.append(caller)

    def _broken(self, caller: _Caller) -> None:
        """The connection is gone, and with it the call that was on it."""
        sample = caller.sample
        if sample is None:
            self.reopened += 1
            self._idle.remove(caller)
        else:
            sample.done, sample.status = time.perf_counter(), BROKEN
            self.samples.append(sample)
        del self._callers[caller.link]
        caller.link.close()
        fresh = _caller(socket.create_connection(self._server, timeout=TIMEOUT_S))
        self._callers[fresh.link] = fresh
        self._idle.append(fresh)

    def _give_up(self, before: float) -> None:
        """Calls that were sent before then are lost."""
        for caller in list(self._callers.values()):
            if caller.sample is not None and caller.sample.sent < before:
                self._broken(caller)
