"""What stands before the protocol on `/mcp`: keys, pages, methods, bodies, and nothing left."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from mcp_house import House, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCEPT = {"accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def call_of(arguments: str) -> bytes:
    """A tool call of the era of handshakes, with arguments that no encoder would write."""
    head = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"notes","arguments":'
    return head + arguments.encode() + b"}}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    allowed = {"hosts": ["splice.internal"], "origins": ["https://agents.example.com"]}
    async with house(tmp_path_factory.mktemp("mcp"), **allowed) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(served: House) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=served.url, headers=ACCEPT, timeout=30) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def token(served: House) -> str:
    """From the first test that takes it on, everybody needs a key."""
    return served.key("token")


def said(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC message of an answer, be it an event or a body."""
    text = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        text = next(line[6:] for line in text.splitlines() if line.startswith("data: "))
    return json.loads(text)


# Without any key in the ledger: everybody on this machine may call. These come first.


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "splice.internal"])
async def test_without_a_key_a_name_that_no_page_can_have_is_answered(
    http: httpx2.AsyncClient, host: str
) -> None:
    answer = await http.post("", json=LIST, headers={"host": host})

    assert answer.status_code == 200
    assert "orders" in {tool["name"] for tool in said(answer)["result"]["tools"]}


@pytest.mark.parametrize("host", ["evil.example.com", "127.0.0.1.evil.example.com", "localhost.x"])
async def test_without_a_key_another_name_is_refused(http: httpx2.AsyncClient, host: str) -> None:
    answer = await http.post("", json=LIST, headers={"host": host})

    assert answer.status_code == 403
    assert answer.json()["where"] == "mcp.host"


@pytest.mark.parametrize(
    "origin", ["http://localhost:6274", "http://127.0.0.1:3000", "https://agents.example.com"]
)
async def test_pages_of_this_machine_and_those_allowed_may_ask(
    http: httpx2.AsyncClient, origin: str
) -> None:
    answer = await http.post("", json=LIST, headers={"origin": origin})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example.com", "null", "https://agents.example.com.evil.io", "file://", ""],
)
async def test_other_pages_are_refused(http: httpx2.AsyncClient, origin: str) -> None:
    answer = await http.post("", json=LIST, headers={"origin": origin})

    assert answer.status_code == 403
    assert answer.json()["where"] == "mcp.origin"


async def test_a_rebound_name_does_not_help_its_page(http: httpx2.AsyncClient) -> None:
    headers = {"host": "evil.example.com", "origin": "http://evil.example.com"}

    answer = await http.post("", json=LIST, headers=headers)

    assert answer.status_code == 403


# With a key in the ledger every caller needs one.


async def test_no_key_is_answered_with_how_to_show_one(
    served: House, http: httpx2.AsyncClient
) -> None:
    served.key("first")

    for headers in ({}, {"authorization": "Bearer sk-splice-no-such-key"}):
        answer = await http.post("", json=LIST, headers=headers)

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["code"] == "unknown_key"
        assert "no-such-key" not in answer.text


async def test_a_key_opens_whatever_the_host_is_called(
    served: House, http: httpx2.AsyncClient
) -> None:
    key = served.key("any-host")

    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
        answer = await http.post("", json=LIST, headers={**headers, "host": "ai.example.com"})

        assert answer.status_code == 200


async def test_a_key_does_not_open_for_a_foreign_page(
    served: House, http: httpx2.AsyncClient
) -> None:
    headers = {"x-api-key": served.key("page"), "origin": "http://evil.example.com"}

    assert (await http.post("", json=LIST, headers=headers)).status_code == 403


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS"])
async def test_there_are_no_sessions_to_listen_to_or_to_end(
    http: httpx2.AsyncClient, method: str
) -> None:
    answer = await http.request(method, "")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x" * 70_000, {}, 413),
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[" * 30_000, {}, 400),
        (b'{"jsonrpc":"2.0","id":1}', {}, 400),
        (json.dumps(LIST).encode(), {"content-type": "text/plain"}, 400),
        (json.dumps(LIST).encode(), {"accept": "text/html"}, 406),
        (json.dumps(LIST).encode(), {"mcp-protocol-version": "1999-01-01"}, 400),
    ],
)
async def test_a_bad_request_gets_one_clear_refusal(
    http: httpx2.AsyncClient, token: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    sent = {"content-type": "application/json", "x-api-key": token, **headers}
    answer = await http.post("", content=body, headers=sent)

    assert answer.status_code == status
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ('{"details": {"x": NaN}}', "malformed_body"),
        ('{"details": {"x": Infinity}}', "malformed_body"),
        ('{"details": {}, "details": {"x": 1}}', "malformed_body"),
        ('{"details": {"x": "\\ud800"}}', "malformed_body"),
        ('{"details": 5}', "input_mismatch"),
        ("{}", "input_mismatch"),
    ],
)
async def test_arguments_that_readers_take_differently_are_refused(
    http: httpx2.AsyncClient, token: str, arguments: str, code: str
) -> None:
    headers = {"content-type": "application/json", "x-api-key": token}

    answer = await http.post("", content=call_of(arguments), headers=headers)

    if answer.status_code == 400:  # the protocol's own reader was as strict
        return
    result = said(answer)["result"]
    assert result["isError"] is True
    assert result["_meta"]["splice/code"] == code


async def test_a_body_that_does_not_arrive_is_not_waited_for(served: House, token: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}x-api-key: {token}\r\ncontent-length: 100\r\n\r\n{{".encode())

    async with asyncio.timeout(20):
        answer = await reader.readuntil(b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_nobody_is_let_in_while_the_server_shuts_down(
    served: House, http: httpx2.AsyncClient, token: str
) -> None:
    served.app.draining = True
    try:
        answer = await http.post("", json=LIST, headers={"x-api-key": token})
    finally:
        served.app.draining = False

    assert (answer.status_code, answer.json()["code"]) == (503, "draining")


async def test_hundreds_of_handshakes_leave_no_session_behind(
    http: httpx2.AsyncClient, token: str
) -> None:
    headers = {"x-api-key": token}
    await http.post("", json=INITIALIZE, headers=headers)
    before = len(asyncio.all_tasks())

    for _ in range(20):
        answers = await asyncio.gather(
            *(http.post("", json=INITIALIZE, headers=headers) for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {200}
        assert all("mcp-session-id" not in answer.headers for answer in answers)

    async with asyncio.timeout(10):  # the last ones are on their way out
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)


async def test_without_the_extra_the_answer_says_what_to_install(
    served: House, http: httpx2.AsyncClient, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.surface.close()
    monkeypatch.delitem(sys.modules, "splice.serve.mcp.tools")
    monkeypatch.setitem(sys.modules, "mcp_types", None)

    answer = await http.post("", json=LIST, headers={"x-api-key": token})

    assert answer.status_code == 404
    assert "splice-ai[mcp]" in answer.json()["mend"]
