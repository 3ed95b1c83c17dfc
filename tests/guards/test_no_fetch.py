"""Promise 10: no fetch to private addresses on a caller's word; model files run no code.

The other half of the corpus is in tests/gateway/test_gw_hostile.py (a listener that nobody reaches)
and tests/registering (hostile pickles, archives and registries).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splice.adapters.net.http import Http, origin_of
from splice.core.errors import ModelUnavailable, RequestError
from splice.serve.anthropic.surface import asked_message
from splice.serve.events.cloudevents import letters_of_http
from splice.serve.openai.chat import asked_chat
from splice.serve.openai.responses import asked_response
from splice.serve.urls import check_url

HOSTS = (
    # loopback, however written
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "017700000001", "0x7f.1",
    "0177.0.0.1", "127.0.0.1.", "127.000.000.001", "0", "0.0.0.0", "①②⑦.⓪.⓪.①", "127。0。0。1",
    "%31%32%37.0.0.1", "1２7.0.0.1", "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "localhost",
    "LOCALHOST.", "foo.localhost",
    # the other private ranges
    "10.0.0.1", "10.1", "172.16.0.1", "192.168.0.1", "192.168.1", "100.64.0.1", "169.254.169.254",
    "0xa9fea9fe", "2852039166", "169.254.43518", "198.18.0.1", "224.0.0.1", "255.255.255.255",
    "240.0.0.1", "192.0.2.1",
    # IPv6 with something inside
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:a9fe:a9fe]", "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::]",
    "[2001:0:7f00:1::]", "[fe80::1]", "[fe80::1%25eth0]", "[fc00::1]", "[fd12:3456::1]",
    "[ff02::1]", "[::ffff:0:127.0.0.1]",
    # names that lead inside
    "metadata.google.internal", "db.internal", "printer.local", "router.lan",
    "kubernetes.default.svc", "intranet", "app", "127.0.0.1.nip.io", "10-0-0-1.sslip.io",
    "localtest.me", "a.lvh.me",
    "7f000001.7f000001.rbndr.us", "make-1.2.3.4-rebind-127.0.0.1-rr.1u.ms",
)  # fmt: skip
SHAPES = (
    "file:///etc/passwd", "gopher://127.0.0.1:6379/_", "ftp://127.0.0.1/", "dict://127.0.0.1:11211/",
    "http://user@example.com@127.0.0.1/", "http://example.com\\@127.0.0.1/", "//127.0.0.1/",
    "http:127.0.0.1", "http://127.0.0.1\t/", "http://exa mple.com/",
    "http://127.0.0.1#@example.com/", "http://[::1", "http:///x", "jar:http://127.0.0.1!/", "unix:///run/x",
    "http://example.com\r\nX: y",
)  # fmt: skip


def chat(url: str) -> Any:
    part = {"type": "image_url", "image_url": {"url": url}}
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    return asked_chat(msgspec.json.encode(body), {})


def responses(url: str) -> Any:
    part = {"type": "input_image", "image_url": url, "detail": "auto"}
    body = {"model": "m", "input": [{"role": "user", "content": [part]}]}
    return asked_response(msgspec.json.encode(body), {})


def mcp_tool(url: str) -> Any:
    tool = {"type": "mcp", "server_label": "x", "server_url": url}
    return asked_response(msgspec.json.encode({"model": "m", "input": "x", "tools": [tool]}), {})


def message(url: str) -> Any:
    block = {"type": "image", "source": {"type": "url", "url": url}}
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [block]}]}
    return asked_message(msgspec.json.encode(body), {})


def mcp_server(url: str) -> Any:
    servers = [{"type": "url", "name": "x", "url": url}]
    messages = [{"role": "user", "content": "x"}]
    body = {"model": "m", "max_tokens": 1, "messages": messages, "mcp_servers": servers}
    return asked_message(msgspec.json.encode(body), {})


DOORS = (chat, responses, mcp_tool, message, mcp_server)


@pytest.mark.parametrize("door", DOORS)
def test_no_door_lets_a_provider_be_sent_to_a_private_address(door: Callable[[str], Any]) -> None:
    urls = [*(f"http://{host}/x" for host in HOSTS), *(f"https://{host}:8443" for host in HOSTS)]

    passed = [url for url in (*urls, *SHAPES) if _passes(door, url)]

    assert passed == []


def _passes(door: Callable[[str], Any], url: str) -> bool:
    try:
        door(url)
    except RequestError:
        return False
    return True


def test_a_refusal_does_not_repeat_the_url() -> None:
    with pytest.raises(RequestError) as refused:
        check_url("http://10.0.0.1/?token=geheim", "image")

    assert "geheim" not in str(refused.value)
    assert "10.0.0.1" not in str(refused.value)


def test_no_name_is_resolved_here_so_none_can_change_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *to, **_: asked.append(to))

    for door in DOORS:
        assert _passes(door, "https://pictures.example.com/a.png")

    assert asked == []


@contextmanager
def listener(answer: bytes = b"") -> Iterator[tuple[int, list[bytes]]]:
    """A server on loopback that gives one answer to all; its port, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    one, _ = server.accept()
                except TimeoutError:
                    continue
                with one:
                    one.settimeout(10)
                    asked.append(one.recv(65536))
                    one.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], asked
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_an_upstream_that_redirects_inward_is_not_followed(status: int) -> None:
    with listener() as (inner, reached):
        location = f"http://127.0.0.1:{inner}/latest/meta-data"
        answer = (
            f"HTTP/1.1 {status} Found\r\nlocation: {location}\r\ncontent-length: 0\r\n"
            "connection: close\r\n\r\n"
        ).encode()
        with listener(answer) as (outer, asked):
            http = Http(origin_of(f"http://127.0.0.1:{outer}", "test"), {}, connect_s=30)
            try:
                reply = await http.post("/v1", b"{}", timeout_s=30)
            finally:
                await http.close()

    assert (reply.status, len(asked), reached) == (status, 1, [])


def test_the_schema_that_an_event_names_is_not_fetched() -> None:
    with listener() as (port, reached):
        event = {
            "specversion": "1.0", "id": "1", "source": "/x", "type": "t", "data": {"a": 1},
            "dataschema": f"http://127.0.0.1:{port}/schema.json",
        }  # fmt: skip
        headers = {b"content-type": b"application/cloudevents+json"}

        letters = letters_of_http(headers, msgspec.json.encode(event))

    assert len(letters) == 1
    assert reached == []


PLACES = (
    "weights.bin", "../weights.bin", "../../../../etc/passwd", "/etc/passwd", "/proc/self/environ",
    "file:///etc/passwd", "http://127.0.0.1:9/w", "*/_ORT_MEM_ADDR_/*", "",
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_model_that_wants_weights_from_elsewhere_is_not_taken(tmp_path: Path, place: str) -> None:
    onnx: Any = pytest.importorskip("onnx")
    from splice.adapters.runtimes.onnx import OnnxRuntime

    (tmp_path / "weights.bin").write_bytes(b"\0" * 16)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"\0" * 16)
    file = folder / "model.onnx"
    file.write_bytes(_with_weights_at(onnx, place))

    with pytest.raises(ModelUnavailable):
        OnnxRuntime().inspect(file)
    with pytest.raises(ModelUnavailable):
        OnnxRuntime().load(file)


def _with_weights_at(onnx: Any, place: str) -> bytes:
    kind = onnx.TensorProto
    weights = kind(name="w", data_type=kind.FLOAT, dims=[4], data_location=kind.EXTERNAL)
    for key, value in (("location", place), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    helper = onnx.helper
    ends = [helper.make_tensor_value_info(name, kind.FLOAT, [4]) for name in ("x", "y")]
    add = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph([add], "g", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model.SerializeToString()
