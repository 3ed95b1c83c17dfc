"""From a published request to a signed webhook: all of `splice consume`, and a receiver."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = b"0123456789abcdef01234567"


class Receiver(ThreadingHTTPServer):
    """Keeps what comes; fails the first time."""

    daemon_threads = True

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, *_: Any) -> None:  # a client that hung up
        pass


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(503 if len(self.server.got) == 1 else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_decision_is_posted_signed_as_a_cloudevent_and_again_after_a_failure(
    applied: Callable[[str], Any], orders: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{receiver.server_address[1]}/hooks/"
    monkeypatch.setenv("CRM", "whsec_" + base64.b64encode(KEY).decode())
    orders.settings(
        f'[consume.order-screening]\ntargets = ["{url}orders"]\n'
        f'[webhooks.crm]\nurl = "{url}"\nsecret_env = "CRM"\n'
        "[outbox]\nbackoff_seconds = 0.05\n"
    )
    applied("")
    orders.write("in.jsonl", '{"customer": "c-1", "amount_eur": 900}\n')
    orders("events", "publish", "order-screening", "in.jsonl")

    ran = orders("consume", "--until-empty")

    (call,) = orders("calls", "list", "--json").json
    assert ran.code == 0, ran.err
    first, second = receiver.got
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    headers, body = second
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(KEY, signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert headers["ce-id"] == call["call_id"]
    assert headers["ce-type"] == "splice.order-screening.decided"
    assert json.loads(body) == {"risk": 0.9, "action": "review"}
    assert "Nothing waits." in orders("events", "outbox", "list").err
