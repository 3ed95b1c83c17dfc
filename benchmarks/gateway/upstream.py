"""`python upstream.py PORT [TOGETHER]`: a provider that answers any chat at once, and always alike.

It must be far faster than what is measured before it, so it parses nothing: it looks for the end of
a request and for `"stream":true` in it, and sends bytes that were made beforehand. A bare loop over
epoll took half the time of uvloop's protocols for it.

A streamed reply goes out event by event, each in a chunk of the transfer encoding of its own and in
a `send` of its own, all connections in turn: what reads it wakes up for each, as it does for a real
model's tokens. TOGETHER (1) is how many go out in one `send`.

`GET /asked` tells how many whole and how many streamed replies it has begun: a gateway that
answered more often than it asked has answered from a cache.
"""

from __future__ import annotations

import contextlib
import gc
import json
import select
import socket
import sys
from collections import deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway.replies import stream_events, whole_reply

READ_BYTES = 65536
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n"


class Connection:
    """One caller: what came and is no whole request yet, and what is still to be streamed."""

    __slots__ = ("came", "socket", "to_send")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.came = b""
        self.to_send: list[bytes] = []


class Upstream:
    """The provider."""

    def __init__(self, port: int, together: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.listener.setblocking(False)
        self.whole = _plain(whole_reply())
        self.streams = {
            with_usage: _sends(stream_events(with_usage=with_usage), together)
            for with_usage in (False, True)
        }
        self.asked = {"whole": 0, "streamed": 0}
        self.connections: dict[int, Connection] = {}
        self.streaming: deque[Connection] = deque()
        self.events = select.epoll()

    def serve(self) -> None:
        """Answer until the process is ended."""
        listening = self.listener.fileno()
        self.events.register(listening, select.EPOLLIN)
        while True:
            for number, _ in self.events.poll(0 if self.streaming else -1):
                if number == listening:
                    self._accept()
                elif number in self.connections:
                    self._read(self.connections[number])
            # One event to each stream, then a look at who else has come.
            for _ in range(len(self.streaming)):
                self._send_next(self.streaming.popleft())

    def _accept(self) -> None:
        """Take the callers that wait."""
        while True:
            try:
                accepted, _ = self.listener.accept()
            except BlockingIOError:
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections[accepted.fileno()] = Connection(accepted)
            self.events.register(accepted.fileno(), select.EPOLLIN)

    def _read(self, connection: Connection) -> None:
        """Take what came, and answer if it is a whole request."""
        try:
            came = connection.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        if not came:
            self._close(connection)
            return
        connection.came += came
        request = connection.came
        if not _is_whole(request):
            return
        connection.came = b""
        if request.startswith(b"GET"):
            self._send(connection, _plain(json.dumps(self.asked).encode()))
        elif _is_true(request, b"stream"):
            self.asked["streamed"] += 1
            sends = self.streams[_is_true(request, b"include_usage")]
            connection.to_send = sends[::-1]
            self.streaming.append(connection)
        else:
            self.asked["whole"] += 1
            self._send(connection, self.whole)

    def _send_next(self, connection: Connection) -> None:
        """Send the next of what is to be streamed; then the caller waits behind the others."""
        if connection.to_send:
            self._send(connection, connection.to_send.pop())
        if connection.to_send:
            self.streaming.append(connection)

    def _send(self, connection: Connection, content: bytes) -> None:
        """Send all of it; where a caller does not read in time, everybody waits for him.

        That is rare: a reply is far smaller than a socket's buffer.
        """
        sent = 0
        try:
            with contextlib.suppress(BlockingIOError):
                sent = connection.socket.send(content)
            if sent < len(content):
                connection.socket.setblocking(True)
                connection.socket.sendall(content[sent:])
                connection.socket.setblocking(False)
        except OSError:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        """Forget a caller that is gone."""
        connection.to_send = []
        number = connection.socket.fileno()
        if number >= 0:
            self.events.unregister(number)
            del self.connections[number]
            connection.socket.close()


def _is_whole(request: bytes) -> bool:
    """Whether a request has come to its end, by its length or by its last chunk."""
    head = request.find(b"\r\n\r\n")
    if head < 0:
        return False
    fields = request[:head].lower()
    at = fields.find(b"content-length:")
    if at >= 0:
        length = int(fields[at + 15 :].partition(b"\r\n")[0])
        return len(request) >= head + 4 + length
    return b"transfer-encoding: chunked" not in fields or request.endswith(b"\r\n0\r\n\r\n")


def _is_true(request: bytes, name: bytes) -> bool:
    """Whether a field of the body is true, as any usual writer of JSON puts it."""
    return b'"%b":true' % name in request or b'"%b": true' % name in request


def _plain(body: bytes) -> bytes:
    """A whole response with a length."""
    head = HEAD % b"application/json"
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def _sends(events: list[bytes], together: int) -> list[bytes]:
    """What goes out in one `send` each.

    Events are in chunks of their own; the head comes before the first, the end of the transfer
    encoding behind the last.
    """
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    sends = [b"".join(chunks[at : at + together]) for at in range(0, len(chunks), together)]
    sends[0] = HEAD % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\n" + sends[0]
    sends[-1] += b"0\r\n\r\n"
    return sends


if __name__ == "__main__":
    # Nothing here makes circles, and a collection would show as a slow reply.
    gc.disable()
    Upstream(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1).serve()
