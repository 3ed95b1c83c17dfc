"""No input causes a 5xx or takes memory without bound; each bad input gets one clear problem."""

from __future__ import annotations

import contextlib
import random
import re
import selectors
import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from serve_project import calls_in

from splice.testing.project import Answer, Project, Server

CALLS = "/v1/integrations/{}/calls"
GOOD = {"customer": "c-1", "amount": 5.0}
MIB = 1 << 20


def problem_of(answer: Answer) -> dict[str, Any]:
    """The problem of a refusal, which every refusal has, whole."""
    assert answer.headers["content-type"] == "application/problem+json", answer
    problem = answer.json
    assert problem["status"] == answer.status
    assert problem["type"] == f"urn:splice:error:{problem['code']}"
    assert problem["title"]
    assert problem.get("got") or problem.get("expected") or problem["code"] == "not_found"
    return problem


@pytest.fixture
def nothing_recorded(server: Server, project: Project) -> Iterator[None]:
    time.sleep(0.03)  # the flush interval of this project is 1 ms
    before = calls_in(project)
    yield
    time.sleep(0.03)  # the flush interval of this project is 1 ms
    assert calls_in(project) == before


@pytest.mark.usefixtures("nothing_recorded")
@pytest.mark.parametrize(
    ("body", "status", "where", "got", "expected"),
    [
        (b"", 400, "input", "truncated", "one JSON value"),
        (b"{", 400, "input", "truncated", "one JSON value"),
        (b'{"customer":"c","amount":5', 400, "input", "truncated", "one JSON value"),
        (b'{"customer":"c","amount":5}}', 400, "input", "trailing", "one JSON value"),
        (b"customer=c&amount=5", 400, "input", "invalid character", "one JSON value"),
        (b'{"customer":"c","amount":NaN}', 400, "input", "invalid character", "NaN"),
        (b'{"customer":"c","amount":Infinity}', 400, "input", "invalid character", "NaN"),
        (b'{"customer":"c","amount":-Infinity}', 400, "input", "invalid", "NaN"),
        (b'{"customer":"c","amount":1e999}', 422, "input.amount", "out of range", "declared"),
        (b'{"customer":"c","amount":"5"}', 422, "input.amount", "str", "float"),
        (b'{"customer":"c","amount":true}', 422, "input.amount", "bool", "float"),
        (b'{"customer":"c","amount":null}', 422, "input.amount", "null", "float"),
        (b'{"customer":7,"amount":5}', 422, "input.customer", "int", "str"),
        (b'{"customer":"c","amount":5,"items":1.5}', 422, "input.items", "float", "int"),
        (b'{"customer":"c"}', 422, "input.amount", "nothing", "a value"),
        (b"{}", 422, "input.customer", "nothing", "a value"),
        (b"[]", 422, "input", "array", "object"),
        (b"null", 422, "input", "null", "object"),
        (b"5", 422, "input", "int", "object"),
        (b'"text"', 422, "input", "str", "object"),
        (b'{"customer":"c","amount":5,"extra":1}', 422, "input.extra", "unknown", "customer"),
        (b'{"customer":"c","amount":5,"amount":6}', 400, "input", "'amount' twice", "once"),
        (b'{"customer":"c","amount":5,"x":{},"x":{}}', 400, "input", "'x' twice", "once"),
        (b'{"customer":"","amount":5}', 422, "input.customer", "another length", "length >= 1"),
        (b'{"customer":"\xff","amount":5}', 400, "input", "not UTF-8", "UTF-8"),
        (b'{"customer":"\xed\xa0\x80","amount":5}', 400, "input", "not UTF-8", "UTF-8"),
        (b'{"customer":"\\ud800","amount":5}', 400, "input", "surrogate", "one JSON value"),
        (b'\xef\xbb\xbf{"customer":"c","amount":5}', 400, "input", "invalid", "one JSON"),
        ('{"customer":"c","amount":5}'.encode("utf-16"), 400, "input", "invalid", "one JSON"),
        (
            b'{"customer":"%b","amount":5}' % (b"x" * 10_000),
            422,
            "input.customer",
            "another length",
            "256",
        ),
        (b"[" * 100_000, 400, "input", "nested", "100 levels"),
        (b'{"customer":' + b"[" * 100_000, 400, "input", "nested", "100 levels"),
        (b'{"customer":"c","amount":5,"x":' + b"[" * 100_000, 400, "input", "nested", "100 levels"),
    ],
)
def test_a_bad_body_is_refused_with_its_field_what_came_and_what_was_expected(
    server: Server, body: bytes, status: int, where: str, got: str, expected: str
) -> None:
    answer = server.post(CALLS.format("orders"), body)

    problem = problem_of(answer)
    assert answer.status == status, problem
    assert problem["where"] == f"orders.{where}"
    assert got in problem["got"]
    assert expected in problem["expected"] + problem.get("mend", "")
    assert len(answer.body) < 2_000  # what came is named, not sent back


@pytest.mark.usefixtures("nothing_recorded")
@pytest.mark.parametrize(
    ("value", "where", "got"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "input", "nested too deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "input", "nested too deep"),
        (b"[" * 300 + b"]" * 300, "input", "nested too deep"),
        (b"NaN", "input", "malformed"),
        (b"1e999", "input.details[...]", "out of range"),
        (b'{"b":1,"b":2}', "input", "'b' twice"),
        (b'[[{"b":1,"b":{"c":2}}]]', "input", "'b' twice"),
    ],
)
def test_a_field_of_any_shape_takes_no_bad_json_either(
    server: Server, value: bytes, where: str, got: str
) -> None:
    answer = server.post(CALLS.format("notes"), b'{"details":{"a":%b}}' % value)

    problem = problem_of(answer)
    assert answer.status in (400, 422)
    assert problem["where"] == f"notes.{where}"
    assert got in problem["got"]


@pytest.mark.parametrize("levels", [1, 50, 97])
def test_what_is_nested_as_deep_as_allowed_is_answered_recorded_and_shown(
    server: Server, levels: int
) -> None:
    nested = b"[" * levels + b"]" * levels

    answer = server.post(CALLS.format("notes"), b'{"details":{"a":%b}}' % nested)

    assert answer.status == 200
    time.sleep(0.1)
    shown = server.get(f"/v1/calls/{answer.json['call_id']}")
    assert shown.status == 200
    assert nested in shown.body.replace(b" ", b"")


def test_every_depth_is_answered_or_refused_and_none_is_a_fault(server: Server) -> None:
    with contextlib.closing(server.connection()) as one:
        answered = {
            one.post(CALLS.format("notes"), b'{"details":{"a":%b}}' % (b"[" * n + b"]" * n)).status
            for n in range(90, 1100, 7)
        }

    assert answered == {200, 400}


@pytest.mark.usefixtures("nothing_recorded")
@pytest.mark.parametrize(
    "media",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; a=b", "é", ""],
)
def test_another_content_type_is_refused(server: Server, media: str) -> None:
    answer = server.ask("POST", CALLS.format("orders"), GOOD, content_type=media)

    problem = problem_of(answer)
    assert answer.status == 415
    assert problem["expected"] == "application/json"


@pytest.mark.parametrize(
    "media", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"]
)
def test_json_by_another_name_is_taken(server: Server, media: str) -> None:
    assert server.ask("POST", CALLS.format("orders"), GOOD, content_type=media).status == 200


@pytest.mark.usefixtures("nothing_recorded")
@pytest.mark.parametrize(
    "name", ["nobody", "a/b", "..", "%00", "%2e%2e", "%C3%A9", "Orders", "x" * 5000]
)
def test_an_unknown_integration_is_not_found_and_those_that_are_there_are_named(
    server: Server, name: str
) -> None:
    path = CALLS.format(name).encode()

    raw = exchange(server, b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" % path)

    assert raw.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in raw
    assert b"unknown_integration" in raw or b"not_found" in raw


def exchange(server: Server, raw: bytes, seconds: float = 5.0) -> bytes:
    """Sends bytes as they are; gives what came back until the server was quiet or hung up."""
    with server.socket(seconds) as wire:
        wire.sendall(raw)
        return read(wire, seconds)


def read(wire: socket.socket, seconds: float = 5.0) -> bytes:
    """One whole response, or what came of it."""
    wire.settimeout(seconds)
    came = b""
    try:
        while piece := wire.recv(65536):
            came += piece
            head, found, body = came.partition(b"\r\n\r\n")
            lengths = [x for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")]
            if found and lengths and len(body) >= int(lengths[0].split(b":")[1]):
                break
    except (TimeoutError, ConnectionResetError):
        pass
    return came


@pytest.mark.parametrize("path", [CALLS.format("orders"), "/v1/outcomes"])
def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(
    server: Server, path: str
) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" % path.encode()

    came = exchange(server, head + b"Content-Length: %d\r\n\r\n" % (100 * MIB))

    assert came.startswith(b"HTTP/1.1 413 ")
    assert b'"body_too_large"' in came
    assert b'"104857600 bytes"' in came
    assert b'"at most 1048576 bytes"' in came


@pytest.mark.parametrize("path", [CALLS.format("orders"), "/v1/outcomes"])
def test_a_body_without_a_length_is_refused_once_it_is_too_large_and_takes_no_memory(
    server: Server, path: str
) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode()
    chunk = b"%x\r\n%b\r\n" % (MIB, b"x" * MIB)
    before = server.memory()
    with server.socket() as wire:
        wire.sendall(head)
        wire.settimeout(0.001)
        sent, came = 0, b""
        try:
            while not came and sent < 100:
                wire.settimeout(30)
                wire.sendall(chunk)
                sent += 1
                wire.settimeout(0.02)
                try:
                    came = wire.recv(65536)
                except TimeoutError:
                    continue
        except OSError:
            pass

    assert came.startswith(b"HTTP/1.1 413 ")
    assert sent < 20
    assert server.memory() - before < 20 * MIB


def test_a_client_that_sends_a_body_somewhat_too_large_at_once_still_gets_its_answer(
    server: Server,
) -> None:
    answer = server.post(CALLS.format("orders"), b"x" * 4 * MIB)

    assert answer.status == 413
    assert problem_of(answer)["code"] == "body_too_large"


def test_a_client_that_never_ends_its_refused_body_is_hung_up_on(server: Server) -> None:
    sent = 0
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with server.socket() as wire, contextlib.suppress(OSError):
        wire.sendall(head % (CALLS.format("orders").encode(), 1000 * MIB))
        while sent < 300:
            wire.sendall(b"x" * MIB)
            sent += 1

    assert sent < 100


@pytest.mark.usefixtures("nothing_recorded")
@pytest.mark.parametrize("path", [CALLS.format("orders"), "/v1/outcomes"])
def test_a_body_that_does_not_arrive_in_time_is_refused(server: Server, path: str) -> None:
    with server.socket() as wire:
        wire.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 33\r\n\r\n" % path.encode())
        for byte in b'{"customer':
            time.sleep(0.1)
            wire.send(bytes([byte]))
        came = read(wire, 10)

    assert came.startswith(b"HTTP/1.1 400 ")
    assert b"no whole body within 1 s" in came


def test_a_head_that_does_not_arrive_in_time_ends_its_connection(server: Server) -> None:
    with server.socket() as wire:
        wire.sendall(b"POST /v1/outcomes HTTP/1.1\r\n")
        began, came = time.monotonic(), b""
        try:
            while time.monotonic() - began < 10:
                wire.sendall(b"X: y\r\n")
                time.sleep(0.1)
                wire.setblocking(False)
                try:
                    came += wire.recv(65536)
                    break
                except BlockingIOError:
                    wire.setblocking(True)
        except OSError:
            pass

    assert time.monotonic() - began < 8
    assert came.startswith(b"HTTP/1.1 408 ")


def test_a_connection_on_which_nothing_is_asked_is_ended(server: Server) -> None:
    with server.socket() as wire:
        wire.settimeout(10)
        came = wire.recv(1)

    assert came == b""


def test_two_hundred_slow_senders_do_not_keep_others_from_their_answers(server: Server) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    slow = [server.socket() for _ in range(200)]
    for wire in slow:
        wire.sendall(head % CALLS.format("orders").encode())

    answer = server.post(CALLS.format("orders"), GOOD)

    for wire in slow:
        wire.close()
    assert answer.status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 10 * MIB,
        b"GET /" + b"x" * 10 * MIB,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * (2 * MIB),
        b"POST /v1/outcomes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
        + b"x" * 20 * MIB,
        b"POST /v1/outcomes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        + b"X: y\r\n" * (4 * MIB),
    ],
    ids=["header", "path", "headers", "trailer", "trailers"],
)
def test_a_head_without_end_is_cut_off_and_takes_no_memory(server: Server, head: bytes) -> None:
    before = server.memory()
    with server.socket() as wire:
        try:
            wire.sendall(head)
            came = read(wire, 5)
        except OSError:
            came = b""

    assert came == b"" or came.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert server.memory() - before < 25 * MIB
    assert server.get("/healthz").status == 200


def test_heads_that_are_all_different_take_no_memory(server: Server) -> None:
    before = server.memory()

    with contextlib.closing(server.connection()) as one:
        for number in range(1000):
            one.post(CALLS.format("orders"), GOOD, x_request=f"{number}" + "x" * 60_000)

    assert server.memory() - before < 15 * MIB


@pytest.mark.usefixtures("nothing_recorded")
@pytest.mark.parametrize("key", [b"", b"x" * 256, b"\xff", b"a\tb", b"\x7f", "schlüssel".encode()])
def test_an_idempotency_key_that_is_none_is_refused(server: Server, key: bytes) -> None:
    raw = b"POST %b HTTP/1.1\r\nHost: x\r\nIdempotency-Key: %b\r\nContent-Length: 27\r\n\r\n%b" % (
        CALLS.format("orders").encode(), key, b'{"customer":"c","amount":5}')  # fmt: skip

    came = exchange(server, raw)

    assert came.startswith((b"HTTP/1.1 422 ", b"HTTP/1.1 400 ")), came


@pytest.mark.parametrize("key", [b"a\r\nX-Evil: 1", b"a\nX-Evil: 1", b"a\rX-Evil: 1", b"a\0b"])
def test_a_header_injected_by_an_idempotency_key_never_comes_back(
    server: Server, key: bytes
) -> None:
    raw = b"POST %b HTTP/1.1\r\nHost: x\r\nIdempotency-Key: %b\r\nContent-Length: 27\r\n\r\n%b" % (
        CALLS.format("orders").encode(), key, b'{"customer":"c","amount":5}')  # fmt: skip

    came = exchange(server, raw)

    assert not came.startswith(b"HTTP/1.1 5")
    assert b"evil" not in came.lower()


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=-1", "limit=1001", "limit=abc", "limit=", "limit=9" * 40,
        "limit=null", "status=null", "limit=1&limit=2", "release=-1", "release=1.5",
        "release=99999999999999999999", "since_us=-1",
        "since_us=9223372036854775808", "status=lost", "status=", "before_id=x", "before_id=",
        "before_id=" + "0" * 36, "before_id=0123456-89ab-cdef-0123-456789abcdef", "unknown=1",
        "before_id=" + "%20" * 36,
    ],
)  # fmt: skip
def test_an_absurd_query_is_refused_and_says_which_parameter(server: Server, query: str) -> None:
    answer = server.get(f"/v1/calls?{query}")

    assert answer.status == 422, answer
    assert problem_of(answer)["where"].startswith("calls.query")


@pytest.mark.parametrize(
    "query",
    [
        "entity=%00", "entity=%ff%fe", "entity=%ED%A0%80", "integration=" + "x" * 20_000,
        "route=%27%3B%20DROP%20TABLE%20calls%3B--", "entity=%25&route=_", "&&&",
        "since_us=4611686018427387903", "limit=1e2", f"before_id={uuid.UUID(int=0)}",
        f"before_id={uuid.UUID(int=2**128 - 1)}",
    ],
)  # fmt: skip
def test_an_odd_query_finds_what_there_is(server: Server, query: str) -> None:
    answer = server.get(f"/v1/calls?{query}")

    assert answer.status == 200, answer
    assert answer.json.keys() == {"calls", "next"}


@pytest.mark.parametrize(
    "call_id",
    [
        str(uuid.UUID(int=0)), "35fb5c03-5f9a-4aad-8a32-ca0acf0697db", "x", "0" * 36, "%00",
        "%20" * 36, "-" * 36, "0123456789abcdef0123456789abcdef----", "..%2f..", "x" * 5000,
        "%F0%9F%8E%B2",
    ],
)  # fmt: skip
def test_a_call_that_is_not_there_is_not_found(server: Server, call_id: str) -> None:
    answer = server.get(f"/v1/calls/{call_id}")

    assert answer.status == 404
    assert problem_of(answer)["code"] in ("unknown_call", "not_found") if answer.body else True


def test_a_call_is_found_by_its_id_in_capitals(server: Server) -> None:
    call_id = server.post(CALLS.format("high-orders"), GOOD).json["call_id"]

    assert server.get(f"/v1/calls/{call_id.upper()}").json["call_id"] == call_id


FAULTS = {
    "context raises": "context_failed",
    "context is no mapping": "context_failed",
    "context is not JSON": "context_failed",
    "context is a circle": "context_failed",
    "decide raises": "decision_failed",
    "decide is of another type": "decision_failed",
    "decide is NaN": "decision_failed",
    "decide is not a number": "decision_failed",
    "decide is None": "decision_failed",
}


@pytest.mark.parametrize(("how", "code"), FAULTS.items())
def test_a_fault_of_the_integrations_own_code_is_one_problem_with_the_id_of_its_record(
    server: Server, how: str, code: str
) -> None:
    answer = server.post(CALLS.format("faults"), {"how": how})

    problem = problem_of(answer)
    assert (answer.status, problem["code"]) == (500, code)
    assert answer.headers["splice-call-id"] == problem["call_id"]
    time.sleep(0.1)
    shown = server.get(f"/v1/calls/{problem['call_id']}").json
    assert (shown["status"], shown["problem"]["code"]) == ("failed", code)


def random_request(rng: random.Random) -> bytes:
    """Bytes that are nearly a request, or nothing like one."""
    methods = (b"POST", b"GET", b"PUT", b"X" * rng.randrange(1, 50), rng.randbytes(3))
    paths = (
        b"/v1/integrations/orders/calls", b"/v1/outcomes", b"/v1/calls", b"/v1/calls/x",
        b"/v1/integrations//calls", b"*", b"http://x/y", b"/%", b"/%zz", b"//", b"/\xff", b"",
        b"/openapi.json?" + rng.randbytes(20), b"/" + rng.randbytes(10), b"x:1", b"/v1/../readyz",
    )  # fmt: skip
    body = rng.choice((
        b"", b"{}", rng.randbytes(rng.randrange(300)), b'{"customer":"c","amount":5}',
        bytes(rng.choices(b'{}[]":,0123456789.eE+-truefalsnl\\u \n', k=rng.randrange(200))),
    ))  # fmt: skip
    headers = rng.choices(
        (
            b"Content-Type: application/json", b"Content-Type: " + rng.randbytes(8),
            b"Content-Length: %d" % len(body), b"Content-Length: -1", b"Content-Length: 5, 5",
            b"Content-Length: 0x5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip",
            b"Expect: 100-continue", b"Connection: close", b"Connection: Upgrade",
            b"Upgrade: websocket", b"Upgrade: h2c", b"Idempotency-Key: " + rng.randbytes(6),
            b"Traceparent: 00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
            b"Traceparent: " + rng.randbytes(9), b"X-" + rng.randbytes(5) + b": 1", b": :", b"",
        ),
        k=rng.randrange(7),
    )  # fmt: skip
    version = rng.choice((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b"x", b""))
    if rng.random() < 0.6:  # mostly well framed, so that it gets past the parser
        headers = [h for h in headers if not h.startswith((b"Content-Len", b"Transfer", b"Expect"))]
        headers = [b"Host: x", b"Content-Length: %d" % len(body), *headers]
    line = b"%b %b %b" % (rng.choice(methods), rng.choice(paths), version)
    return b"\r\n".join([line, *headers, b"", body])


def exchange_all(server: Server, sent: list[bytes]) -> list[bytes]:
    """Sends each on a connection of its own; gives what came back until all were quiet."""
    wires = [server.socket(10.0) for _ in sent]
    came = [b""] * len(wires)
    with selectors.DefaultSelector() as ready:
        for number, (wire, request) in enumerate(zip(wires, sent, strict=True)):
            wire.sendall(request)
            ready.register(wire, selectors.EVENT_READ, number)
        while ready.get_map() and (events := ready.select(0.03)):
            for key, _ in events:
                wire = wires[key.data]
                try:
                    piece = wire.recv(65536)
                except OSError:
                    piece = b""
                came[key.data] += piece
                if not piece:
                    ready.unregister(wire)
    for wire in wires:
        wire.close()
    return came


def test_ten_thousand_requests_of_random_bytes_cause_no_fault_and_the_server_still_answers(
    server: Server,
) -> None:
    rng = random.Random(20261123)
    faults: list[tuple[bytes, bytes]] = []
    statuses: dict[bytes, int] = {}
    for _ in range(100):
        sent = [random_request(rng) for _ in range(100)]
        for request, came in zip(sent, exchange_all(server, sent), strict=True):
            for status in re.findall(rb"^HTTP/1.1 (\d+) ", came):
                statuses[status] = statuses.get(status, 0) + 1
            if b"HTTP/1.1 5" in came:
                faults.append((request, came))

    assert faults == []
    assert {b"200", b"400", b"404", b"405", b"422"} <= statuses.keys(), statuses
    assert server.post(CALLS.format("orders"), GOOD).status == 200
    assert "Traceback" not in server.log, server.log[-3000:]


def test_ten_thousand_bodies_of_random_json_cause_no_fault(server: Server) -> None:
    rng = random.Random(7)
    pieces = [b'"customer":', b'"amount":', b'"items":', b'"c"', b"5", b"1.5", b"{", b"}", b"[",
              b"]", b",", b":", b"null", b"true", b"1e400", b"-0", b'"\\u0000"', b'"\\ud800"',
              b"\xff", b"NaN", b" ", b'"' + b"x" * 300 + b'"']  # fmt: skip
    statuses: dict[int, int] = {}

    with contextlib.closing(server.connection()) as one:
        for _ in range(10_000):
            body = b"{" + b"".join(rng.choices(pieces, k=rng.randrange(12))) + b"}"
            status = one.post(CALLS.format("orders"), body).status
            statuses[status] = statuses.get(status, 0) + 1

    assert set(statuses) <= {200, 400, 422}, statuses
