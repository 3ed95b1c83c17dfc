"""The quick lane gives what ASGI gives, whatever the pieces that a request comes in."""

from __future__ import annotations

import json
import time

import pytest

from splice.serve.http.quick import fits, read_head
from splice.testing.project import Server

PATH = b"/v1/integrations/orders/calls"
GOOD = b'{"customer":"c-1","amount":900.0}'


def request(body: bytes = GOOD, path: bytes = PATH, extra: bytes = b"", method: bytes = b"POST"):
    return (
        b"%b %b HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n%b"
        b"content-length: %d\r\n\r\n%b" % (method, path, extra, len(body), body)
    )


class Wire:
    """A raw connection that reads whole responses."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket = server.socket(10.0)
        self._left = b""

    def send(self, raw: bytes) -> None:
        self._socket.sendall(raw)

    def reply(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self._left:
            self._more()
        head, _, self._left = self._left.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers["content-length"])
        while len(self._left) < length:
            self._more()
        body, self._left = self._left[:length], self._left[length:]
        return int(status.split()[1]), headers, body

    def ended(self) -> bool:
        return self._left == b"" and self._socket.recv(1) == b""

    def again(self) -> None:
        self._socket.close()
        self._socket = self._server.socket(10.0)

    def _more(self) -> None:
        piece = self._socket.recv(65536)
        if not piece:
            raise EOFError(self._left)
        self._left += piece

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def wire(server: Server):
    made = Wire(server)
    yield made
    made.close()


def shape(body: bytes) -> dict[str, object]:
    plain = json.loads(body)
    for changing in ("call_id", "duration_ms", "attempts", "cost"):
        plain.pop(changing, None)
    return plain


def test_the_installed_uvicorn_has_what_the_lane_builds_on() -> None:
    assert fits()


def test_a_plain_head_is_read_and_anything_else_is_not() -> None:
    def head(extra: bytes = b"", **changes: bytes) -> bytes:
        return request(extra=extra, **changes).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    plain = read_head(head(), 1 << 20)

    assert plain is not None
    assert (plain.name, plain.length) == ("orders", len(GOOD))
    for extra in (
        b"transfer-encoding: chunked\r\n",
        b"expect: 100-continue\r\n",
        b"connection: close\r\n",
        b"connection: upgrade\r\nupgrade: websocket\r\n",
        b"idempotency-key: one\r\n",
        b"traceparent: 00-aa-bb-01\r\n",
        b"content-length: 5\r\n",
        b"content-encoding: gzip\r\n",
    ):
        assert read_head(head(extra), 1 << 20) is None, extra
    assert read_head(head(path=b"/v1/integrations/a%2Fb/calls"), 1 << 20) is None
    assert read_head(head(path=b"/v1/integrations/a/b/calls"), 1 << 20) is None
    assert read_head(head(path=PATH + b"?x=1"), 1 << 20) is None
    assert read_head(head(path=b"/v1/integrations//calls"), 1 << 20) is None
    assert read_head(head(), max_body=5) is None
    assert read_head(head().replace(b"HTTP/1.1", b"HTTP/1.0"), 1 << 20) is None
    assert read_head(head().replace(b"application/json", b"text/plain"), 1 << 20) is None
    assert read_head(b"POST \x00 HTTP/1.1\r\n\r\n", 1 << 20) is None


def test_a_request_in_one_piece_gets_what_the_same_bytes_in_many_pieces_get(wire: Wire) -> None:
    wire.send(request())
    whole = wire.reply()
    pieces = []
    for size in (1, 7, 40, 90):
        raw = request()
        for start in range(0, len(raw), size):
            wire.send(raw[start : start + size])
            time.sleep(0.0005)
        pieces.append(wire.reply())

    assert whole[0] == 200
    assert [shape(body) for _, _, body in pieces] == [shape(whole[2])] * 4
    assert all(status == 200 for status, _, _ in pieces)
    assert whole[1].keys() == pieces[0][1].keys()


def test_bad_bodies_get_the_same_problem_on_both_ways(wire: Wire) -> None:
    for body in (b"{", b'{"customer":"c"}', b"[]", b'{"customer":1,"amount":2}', b"\xff"):
        answers = []
        for extra in (b"", b"traceparent: x\r\n"):
            wire.send(request(body, extra=extra))
            answers.append(wire.reply())
            if answers[-1][1].get("connection") == "close":
                assert wire.ended()
                wire.again()
        quick, slow = answers
        assert (quick[0], json.loads(quick[2])) == (slow[0], json.loads(slow[2]))
        assert quick[1]["content-type"] == slow[1]["content-type"] == "application/problem+json"


def test_pipelined_requests_are_answered_in_their_order(wire: Wire) -> None:
    bodies = [b'{"customer":"c-%d","amount":%d}' % (i, 900 * (i % 2)) for i in range(20)]

    wire.send(b"".join(request(body) for body in bodies))
    replies = [wire.reply() for _ in bodies]

    assert [status for status, _, _ in replies] == [200] * 20
    actions = [json.loads(body)["reply"]["action"] for _, _, body in replies]
    assert actions == ["ship", "review"] * 10


def test_requests_of_both_ways_share_one_connection(wire: Wire) -> None:
    order = []
    for i in range(30):
        if i % 3 == 0:
            wire.send(b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n")
        else:
            wire.send(request(extra=b"traceparent: x\r\n" if i % 3 == 1 else b""))
        order.append(wire.reply()[0])

    assert order == [200] * 30


def test_a_body_that_is_cut_short_and_a_new_connection_do_no_harm(server: Server) -> None:
    for cut in (10, 60, len(request()) - 1):
        broken = Wire(server)
        broken.send(request()[:cut])
        broken.close()
    wire = Wire(server)
    wire.send(request())

    assert wire.reply()[0] == 200
    wire.close()


def test_a_caller_who_leaves_before_the_answer_is_recorded_all_the_same(server: Server) -> None:
    wire = Wire(server)
    wire.send(request(b'{"customer":"gone-1","amount":900.0}'))
    wire.close()

    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = server.get("/v1/calls?entity=gone-1").json["calls"]
        if found:
            assert [one["status"] for one in found] == ["answered"]
            return
        time.sleep(0.05)
    raise AssertionError("the call is not in the ledger")


def test_more_heads_than_are_remembered_are_all_answered(wire: Wire) -> None:
    for i in range(600):
        wire.send(request(extra=b"x-number: %d\r\n" % i))
        assert wire.reply()[0] == 200
