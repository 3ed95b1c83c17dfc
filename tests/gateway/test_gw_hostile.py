"""Hostile input at a real server: headers, bodies, URLs and framings that nobody should send."""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gw_house import (
    BASE,
    CHAT,
    HELLO,
    MESSAGES,
    Gateway,
    eventually,
    provider,
    raw_request,
    read_response,
    serving,
)

from splice.testing.anthropic_server import AnthropicServer
from splice.testing.openai_server import OpenAIServer, Scripted

MB = 1 << 20
RESPONSES = "/v1/responses"

INTEGRATIONS = '''
import splice


class Talk(splice.Conversation):
    """Talk."""

    models = ["a/*", "c/*"]
    routes = [splice.LLM("a/m", retries=0)]


class Claude(splice.Conversation):
    """Talk by Anthropic's API."""

    routes = [splice.LLM("c/m", retries=0)]
'''


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with AnthropicServer() as claude:
        toml = BASE + provider("a", upstream.base_url)
        toml += provider("c", claude.base_url, kind="anthropic")
        with serving(tmp_path_factory.mktemp("hostile"), toml, INTEGRATIONS) as running:
            yield running


@pytest.fixture
def wire(gateway: Gateway) -> Iterator[socket.socket]:
    with gateway.server.socket(20.0) as one:
        yield one


def good(**more: Any) -> dict[str, Any]:
    return {"model": "talk", "messages": HELLO, "max_tokens": 20, **more}


EVIL = [
    "talk\r\nx-evil: 1",
    "a/m\r\nx-evil: 1\r\n\r\nGET / HTTP/1.1",
    "a/m\nx-evil: 1",
    "a/\r\nm",
    "talk\x00",
    "a/m\u2028x-evil: 1",
    "a/ｍ\u0085x",
    "a/../../v1/models",
    "a/m?api-version=1#x",
    "c/m\r\nx-evil: 1",
    "talk/a/m\r\nx-evil: 1",
    "\ud83d\ude00" * 50,
    "a/" + "m" * 100_000,
]


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize("model", EVIL, ids=range(len(EVIL)))
def test_a_name_of_a_model_starts_no_header_here_or_upstream(
    gateway: Gateway, upstream: OpenAIServer, wire: socket.socket, path: str, model: str
) -> None:
    upstream.asked.clear()
    body = {"model": model, "messages": HELLO, "max_tokens": 20, "input": "hi"}
    if path == RESPONSES:
        del body["messages"], body["max_tokens"]

    wire.sendall(raw_request(body, path))
    status, headers, answer = read_response(wire)

    # Of these, `a/../../v1/models` and `a/m?…` could be names; it is for the provider to say.
    assert status in (200, 400, 404)
    assert "x-evil" not in headers
    assert len(answer) < 5000
    json.loads(answer)
    for asked in upstream.asked:
        assert "x-evil" not in asked.headers
        assert asked.path.startswith("/v1/")
    wire.sendall(raw_request(good()))  # the connection is still in step
    assert read_response(wire)[0] == 200


@pytest.mark.parametrize(
    "header",
    [
        "idempotency-key: a\tb",
        "idempotency-key: " + "k" * 300,
        "idempotency-key: käse",
        "openai-beta: a\x7fb",
        "anthropic-beta: a\x7fb",
        "anthropic-version: ä",
        "traceparent: 00-zz-zz-zz",
        "traceparent: " + "0" * 5000,
        "authorization: Bearer ",
        "authorization: Bearer \x7f\xff",
        "x-api-key: ä" * 50,
    ],
)
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_an_odd_header_is_refused_or_ignored_and_never_passed_on(
    upstream: OpenAIServer, wire: socket.socket, path: str, header: str
) -> None:
    upstream.asked.clear()

    wire.sendall(raw_request(good(), path, header))
    status, _, answer = read_response(wire)

    assert status in (200, 400, 422), answer
    for asked in upstream.asked:
        assert "\x7f" not in str(asked.headers)
        assert "ä" not in str(asked.headers)


def test_no_url_of_a_caller_is_fetched(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0.0)
        port = canary.getsockname()[1]
        for url in (
            f"http://127.0.0.1:{port}/a.png",
            f"http://[::ffff:127.0.0.1]:{port}/a.png",
            f"http://0:{port}/a.png",
            f"http://localhost.:{port}/a.png",
            f"http://user:pw@127.0.0.1:{port}/",
            "file:///etc/passwd",
            "gopher://127.0.0.1/",
            f"HTTP://127.1:{port}/latest/meta-data",
        ):
            image = {"type": "image_url", "image_url": {"url": url}}
            source = {"type": "url", "url": url}
            answers = [
                gateway.ask(good(model=model, messages=[{"role": "user", "content": [part]}]), to)
                for model in ("talk", "claude")
                for part, to in (
                    (image, CHAT),
                    ({"type": "image", "source": source}, MESSAGES),
                    ({"type": "document", "source": source}, MESSAGES),
                )
            ]
            answers.append(
                gateway.ask(
                    {
                        "model": "talk", "messages": [],
                        "input": [{"role": "user", "content": [
                            {"type": "input_image", "image_url": url, "detail": "auto"}]}],
                    },
                    RESPONSES,
                )
            )  # fmt: skip
            for answer in answers:
                assert answer.status in (200, 400), (url, answer.body)
                assert b"root:" not in answer.body
        with pytest.raises(BlockingIOError):
            canary.accept()


@pytest.mark.parametrize("lane", ["", "traceparent: x"])
def test_two_megabytes_of_text_pass_whole(
    gateway: Gateway, upstream: OpenAIServer, lane: str
) -> None:
    text = "äöü🙂 words " * (2 * MB // 20)
    upstream.always = Scripted(text="short")
    upstream.asked.clear()
    with gateway.server.socket(20.0) as one:
        for path in (CHAT, MESSAGES):
            for stream in (False, True):
                body = good(messages=[{"role": "user", "content": text}], stream=stream)
                one.sendall(raw_request(body, path, *([lane] if lane else [])))
                status, _, answer = read_response(one)
                assert (status, b"short" in answer) == (200, True)

    upstream.always = Scripted()
    assert [one.body["messages"][0]["content"] == text for one in upstream.asked] == [True] * 4


BAD_TEXT = [
    b'{"model":"talk","messages":[{"role":"user","content":"\xff\xfe"}]}',
    b'{"model":"talk","messages":[{"role":"user","content":"\xed\xa0\x80"}]}',  # a surrogate
    b'{"model":"talk","messages":[{"role":"user","content":"\xc0\xaf"}]}',  # too long a form
    b'{"model":"t\xe4lk","messages":[]}',
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b"",
    b"null",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"model":"talk","model":"a/m","messages":1e999}',
    b'{"model":"talk","messages":[{"role":"user","content":NaN}]}',
    b"\x00" * 1000,
    b'{"model":"talk","messages":[],"n":' + b"9" * 5000 + b"}",
    b'{"model":"talk","messages":[{"role":"user","content":"x"}],"max_tokens":-1e400}',
]


@pytest.mark.parametrize("body", BAD_TEXT, ids=range(len(BAD_TEXT)))
@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES, "/v1/embeddings"])
def test_what_is_no_text_or_no_json_is_400_on_either_way(
    wire: socket.socket, path: str, body: bytes
) -> None:
    answers = []
    for headers in ((), ("traceparent: x",)):
        wire.sendall(raw_request(body, path, *headers))
        answers.append(read_response(wire))

    for status, headers, answer in answers:
        assert status == 400, answer
        assert headers["content-type"] == "application/json"
        error = json.loads(answer)["error"]
        assert error["type"] == "invalid_request_error"


def test_half_of_a_surrogate_pair_is_answered_or_refused_and_no_fault(gateway: Gateway) -> None:
    for text in ('"\\ud800"', '"\\udfff tail"', '"\\ud83d\\ude00"', '"\\u0000"'):
        for path in (CHAT, MESSAGES):
            for model in ("talk", "claude"):
                said = f'[{{"role":"user","content":{text}}}]'
                body = f'{{"model":"{model}","max_tokens":9,"messages":{said}}}'.encode()
                answer = gateway.ask(body, path)
                assert answer.status in (200, 400), (text, path, model, answer.body)


def test_schemas_that_recurse_are_passed_on_or_refused_and_no_fault(gateway: Gateway) -> None:
    circle = {
        "type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"],
    }  # fmt: skip
    defined = {
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        "$ref": "#/$defs/node",
    }
    both = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(300):
        deep = {"type": "object", "properties": {"x": deep}}
    for schema in (circle, defined, both, deep, {"$ref": "http://127.0.0.1/s.json"}, {"$ref": 3}):
        for model in ("talk", "claude"):
            ours = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
            theirs = [{"name": "f", "input_schema": {"type": "object", **schema}}]
            wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
            answers = [
                gateway.ask(good(model=model, tools=ours)),
                gateway.ask(good(model=model, tools=theirs), MESSAGES),
                gateway.ask(good(model=model, response_format=wanted)),
            ]
            for answer in answers:
                # The scripted provider may fail over such a schema; we may not.
                assert answer.status in (200, 400, 503), answer.body
                assert b"nobody foresaw" not in answer.body
    assert "Traceback" not in gateway.server.log


def test_ten_thousand_bad_requests_cost_no_memory_and_are_no_fault(gateway: Gateway) -> None:
    choose = random.Random(7)
    bodies = [
        b"{", b"[]", b"{}", b'{"model":"nothing","messages":[]}', b'{"model":5}', b"\xff",
        b'{"model":"talk"}', b'{"model":"talk","messages":{}}', b'{"model":"a/","messages":[]}',
        json.dumps(good(temperature="hot")).encode(), json.dumps(good(tools=7)).encode(),
        json.dumps(good(messages=[7])).encode(), json.dumps(good(model="x" * 3000)).encode(),
    ]  # fmt: skip

    def many(number: int) -> Counter[int]:
        seen: Counter[int] = Counter()
        with gateway.server.socket(20.0) as one:
            for index in range(500):
                body, path = choose.choice(bodies), choose.choice([CHAT, MESSAGES])
                odd = f"x-number: {number}-{index}" if index % 3 else "traceparent: x"
                one.sendall(raw_request(body, path, odd))
                seen[read_response(one)[0]] += 1
        return seen

    memory, seen = list[int](), Counter[int]()
    with ThreadPoolExecutor(4) as pool:
        for first in (0, 4, 12):
            seen += sum(pool.map(many, range(first, first + (8 if first else 4))), Counter())
            memory.append(gateway.server.memory())

    assert set(seen) <= {400, 404}
    assert sum(seen.values()) == 10_000
    # What is loaded only once may come in between; what is kept of a request comes each time.
    assert min(memory[1] - memory[0], memory[2] - memory[1]) < 4 * MB
    assert gateway.ask().status == 200


def test_callers_who_name_models_make_only_so_many_metrics(gateway: Gateway) -> None:
    def named(number: int) -> int:
        with gateway.server.socket(20.0) as one:
            for index in range(150):
                one.sendall(raw_request(good(model=f"a/m-{number}-{index}", max_tokens=5)))
                status = read_response(one)[0]
        return status

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(named, range(8))) == {200}
    gateway.rest()

    routes = set(re.findall(r'route="([^"]*)"', gateway.metrics()))
    assert len(routes) <= 1001
    assert "other" in routes


def test_a_body_over_the_limit_is_413_before_it_is_sent(gateway: Gateway) -> None:
    for path in (CHAT, MESSAGES):
        with gateway.server.socket(20.0) as one:
            one.sendall(raw_request(b"{", path, length=33 * MB))
            status, _, answer = read_response(one)
        assert status == 413
        assert json.loads(answer)["error"]["type"] in (
            "invalid_request_error",
            "request_too_large",
        )
        assert "gateway.max_body_bytes" in answer.decode()


def test_a_chunked_body_over_the_limit_is_413_and_is_not_kept(gateway: Gateway) -> None:
    before = gateway.server.memory()
    head = b"POST %b HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n" % CHAT.encode()
    chunk = b"%x\r\n%b\r\n" % (MB, b"x" * MB)
    with gateway.server.socket(20.0) as one:
        one.sendall(head)
        for _ in range(34):
            one.sendall(chunk)
        assert read_response(one)[0] == 413

    assert gateway.server.memory() - before < 100 * MB


def test_a_body_just_under_the_limit_is_answered(gateway: Gateway, upstream: OpenAIServer) -> None:
    upstream.always = Scripted(text="short")
    picture = "data:image/png;base64," + "A" * (32 * MB - 2000)
    part = {"type": "image_url", "image_url": {"url": picture}}

    answer = gateway.ask(good(messages=[{"role": "user", "content": [part]}]))

    upstream.always = Scripted()
    upstream.asked.clear()
    assert answer.status == 200


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_body_that_does_not_come_is_an_error_in_time(gateway: Gateway, path: str) -> None:
    whole = raw_request(good(), path)
    with gateway.server.socket(20.0) as one:
        one.sendall(whole[:-5])
        status, _, answer = read_response(one)

    assert status in (400, 408)
    assert "no whole body" in answer.decode()


@pytest.mark.parametrize("cut", [10, 60, -30, -1])
def test_half_a_request_harms_nobody(gateway: Gateway, cut: int) -> None:
    for path in (CHAT, MESSAGES):
        with gateway.server.socket() as one:
            one.sendall(raw_request(good(), path)[:cut])

    assert gateway.ask().status == 200
    gateway.rest()


def test_pipelined_requests_are_answered_in_their_order_on_both_ways(
    wire: socket.socket,
) -> None:
    def numbered(number: int) -> bytes:
        said = [{"role": "user", "content": f"number {number}"}]
        body = good(messages=said, stream=number % 4 == 0)
        path = MESSAGES if number % 3 == 0 else CHAT
        return raw_request(body, path, *(["traceparent: x"] if number % 5 == 0 else []))

    wire.sendall(b"".join(numbered(number) for number in range(20)))
    reader = wire.makefile("rb")
    answers = [one_response(reader) for _ in range(20)]
    reader.close()

    for number, (status, body) in enumerate(answers):
        assert status == 200
        said = body.replace(b'"," ', b"")
        assert b"NUMBER" in said
        assert b"%d" % number in said


def one_response(reader: Any) -> tuple[int, bytes]:
    """One response of several on a connection."""
    status = int(reader.readline().split()[1])
    headers = http.client.parse_headers(reader)
    if headers.get("transfer-encoding") != "chunked":
        return status, reader.read(int(headers["content-length"]))
    body = b""
    while size := int(reader.readline(), 16):
        body += reader.read(size)
        reader.readline()
    reader.readline()
    return status, body


def test_two_requests_at_once_on_one_connection_are_both_answered(
    wire: socket.socket, upstream: OpenAIServer
) -> None:
    upstream.always = Scripted(delay_s=0.1)
    wire.sendall(raw_request(good(user="1")))
    time.sleep(0.03)
    for byte in (whole := raw_request(good(user="2", stream=True)))[:40]:
        wire.sendall(bytes([byte]))
    wire.sendall(whole[40:])

    reader = wire.makefile("rb")
    first, second = one_response(reader), one_response(reader)
    reader.close()
    upstream.always = Scripted()

    assert (first[0], second[0]) == (200, 200)
    assert b"chat.completion.chunk" not in first[1]
    assert b"chat.completion.chunk" in second[1]


def test_http_1_0_and_a_wish_to_close_are_understood(gateway: Gateway) -> None:
    for version, headers in (("1.0", ()), ("1.1", ("connection: close",))):
        with gateway.server.socket() as one:
            one.sendall(raw_request(good(), CHAT, *headers, version=version))
            status, _, body = read_response(one)
            assert (status, b"HELLO" in body) == (200, True)
            assert one.recv(1) == b""


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_expect_100_continue_is_answered_before_the_body(gateway: Gateway, path: str) -> None:
    whole = raw_request(good(), path, "expect: 100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")
    with gateway.server.socket() as one:
        one.sendall(head + b"\r\n\r\n")
        assert one.recv(1000).startswith(b"HTTP/1.1 100")
        one.sendall(body)
        assert read_response(one)[0] == 200


@pytest.mark.parametrize(
    "raw",
    [
        raw_request(good(), CHAT, "content-length: 5"),
        raw_request(good(), CHAT, "transfer-encoding: chunked"),
        raw_request(good(), CHAT, "transfer-encoding: gzip, chunked"),
        raw_request(good(), CHAT, "transfer-encoding: identity"),
        raw_request(good(), CHAT, "transfer-encoding : chunked"),
        raw_request(good()).replace(b"content-length: ", b"content-length: +"),
        raw_request(good()).replace(b"content-length: ", b"content-length: 0x"),
        raw_request(good()).replace(b"\r\n", b"\n"),
        raw_request(good()).replace(b"HTTP/1.1", b"HTTP/1.1 "),
        raw_request(good()).replace(b"HTTP/1.1", b"HTTP/9.9"),
        raw_request(good()).replace(b"host: test", b"host: test\r\n folded: yes"),
        raw_request(good()).replace(CHAT.encode(), b"/v1/chat/completions HTTP/1.1\r\nx: y"),
    ],
    ids=range(12),
)
def test_a_request_that_two_servers_could_read_in_two_ways_is_asked_once_at_most(
    gateway: Gateway, upstream: OpenAIServer, raw: bytes
) -> None:
    smuggled = raw_request(good(model="smuggled"))
    upstream.asked.clear()
    with gateway.server.socket(1.0) as one:
        one.sendall(raw)
        answer = b""
        try:
            while piece := one.recv(65536):
                answer += piece
        except TimeoutError:
            pass
    assert b"smuggled" not in answer
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert len(upstream.asked) <= 1
    assert smuggled not in answer


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "*/*"])
def test_the_content_type_does_not_matter_as_little_as_at_the_vendors(
    wire: socket.socket, kind: str
) -> None:
    raw = raw_request(good()).replace(b"application/json", kind.encode())

    wire.sendall(raw)

    assert read_response(wire)[0] in (200, 400, 415)


def test_nothing_was_a_fault_and_nothing_is_left(gateway: Gateway) -> None:
    gateway.rest()
    eventually(lambda: gateway.server.get("/readyz").status == 200)

    assert "Traceback" not in gateway.server.log
    assert "nobody foresaw" not in gateway.server.log
