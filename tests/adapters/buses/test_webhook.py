"""A webhook is a signed CloudEvent over HTTP; what its receiver answers is taken for what it is."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from splice.adapters.buses.webhook import Hook, WebhookSink, secrets_of, signed
from splice.core.errors import BusError, SettingsError
from splice.core.events import Message

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"


class Receiver:
    """A server that keeps what it gets and answers as it is told; its own words echo the body."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204
        self.headers: dict[str, str] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                named = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append((self.path, named, body))
                answer = b"" if receiver.status == 204 else b"you sent: " + body
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:  # a client that hung up
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def message(target: str, value: bytes | None = b'{"n":1}', *headers: tuple[str, bytes]) -> Message:
    return Message("018f-1", target, b"k", value, headers)


async def send(target: str, *hooks: Hook, now: float = 1614265330.0, **options: Any) -> None:
    sink = WebhookSink(hooks, now=lambda: now)
    try:
        await sink.send([message(target, **options)])
    finally:
        await sink.close()


def test_the_signature_is_that_of_the_library_of_standard_webhooks() -> None:
    # Made by standardwebhooks 1.1.0: Webhook(SECRET).sign(id, 1614265330, body).
    expected = "v1,q6KMVIJHk4Gs770FfR5f591Ftx7uVJSGl5wHV1ri978="

    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}',
        secrets_of(SECRET, "env"),
    )  # fmt: skip

    assert headers["webhook-signature"] == expected


async def test_a_message_comes_signed_as_a_cloudevent_in_binary_mode(receiver: Receiver) -> None:
    sink = WebhookSink(
        [Hook(f"{receiver.url}/hooks/", secrets_of(SECRET, "env"))], now=lambda: 1614265330.9
    )
    sent = message(
        f"{receiver.url}/hooks/a?tenant=1", b'{"n":1}',
        ("ce_specversion", b"1.0"), ("ce_id", b"018f-1"), ("ce_type", b"splice.decision"),
        ("ce_source", "/gr\u00fcn % \"x\"".encode()), ("content-type", b"application/json"),
        ("traceparent", b"00-ab-cd-01"), ("tenant", b"blau"), ("odd", b"a\r\nb"),
        ("webhook-id", b"forged"),
    )  # fmt: skip

    await sink.send([sent])
    await sink.close()

    ((path, headers, body),) = receiver.got
    assert (path, body) == ("/hooks/a?tenant=1", b'{"n":1}')
    assert headers["ce-source"] == "/gr%C3%BCn%20%25%20%22x%22"
    assert headers["ce-type"] == "splice.decision"
    assert headers["content-type"] == "application/json"
    assert headers["traceparent"] == "00-ab-cd-01"
    assert headers["tenant"] == "blau"
    assert "odd" not in headers
    assert headers["webhook-id"] == "018f-1"
    assert headers["webhook-timestamp"] == "1614265330"
    key = secrets_of(SECRET, "env")
    assert (
        headers["webhook-signature"] == signed("018f-1", 1614265330, body, key)["webhook-signature"]
    )


async def test_a_structured_event_keeps_its_content_type(receiver: Receiver) -> None:
    sink = WebhookSink()
    kind = b"application/cloudevents+json; charset=utf-8"

    forged = ("webhook-signature", b"v1,forged")
    await sink.send([message(receiver.url, b"{}", ("content-type", kind), forged)])
    await sink.close()

    assert receiver.got[0][1]["content-type"] == kind.decode()
    assert "webhook-signature" not in receiver.got[0][1]


async def test_a_tombstone_is_sent_with_an_empty_body(receiver: Receiver) -> None:
    await send(f"{receiver.url}/x", value=None)

    assert receiver.got[0][2] == b""


def test_two_secrets_sign_side_by_side() -> None:
    second = "whsec_" + base64.b64encode(b"another secret of 24 byte").decode()

    both = signed("1", 1, b"{}", secrets_of(f"{SECRET} {second}", "env"))["webhook-signature"]

    assert both.split() == [
        signed("1", 1, b"{}", secrets_of(one, "env"))["webhook-signature"]
        for one in (SECRET, second)
    ]


def test_an_id_has_no_point_which_parts_it_from_time_and_body() -> None:
    assert signed("018f-1.0", 1, b"", ())["webhook-id"] == "018f-1-0"


@pytest.mark.parametrize("wrong", [" a", "", "\u00e4", "a\r\nb"])
def test_an_id_that_no_header_can_carry_is_digested(wrong: str) -> None:
    headers = signed(wrong, 1, b"", ())

    assert len(headers["webhook-id"]) == 32
    assert headers == signed(wrong, 1, b"", ())


@pytest.mark.parametrize("text", ["pa55word!", "", "whsec_c2hvcnQ=", f"{SECRET} ?"])
def test_a_text_that_is_no_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        secrets_of(text, "webhooks.crm.secret_env")

    assert wrong.value.where == "webhooks.crm.secret_env"
    assert not text or text not in str(wrong.value)


async def test_a_secret_goes_to_no_host_whose_name_merely_begins_alike(receiver: Receiver) -> None:
    port = receiver.url.rpartition(":")[2]
    short = Hook(f"http://127.0.0.1:{port[:-1]}", secrets_of(SECRET, "env"))
    longer = Hook(f"{receiver.url}/a", secrets_of(SECRET, "env"))

    await send(f"{receiver.url}/ab", short, longer)
    await send(f"{receiver.url}/a/b", short, longer)

    assert ["webhook-signature" in headers for _, headers, _ in receiver.got] == [False, True]


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(200, None), (202, None), (204, None), (301, True), (307, True), (400, False), (401, True),
     (403, True), (404, True), (405, True), (408, True), (409, True), (410, False), (413, False),
     (415, False), (422, False), (425, True), (429, True), (500, True), (502, True), (503, True)],
)  # fmt: skip
async def test_an_answer_is_final_where_it_is_about_the_message(
    receiver: Receiver, status: int, retryable: bool | None
) -> None:
    receiver.status = status
    receiver.headers = {"location": f"{receiver.url}/elsewhere"}

    if retryable is None:
        await send(f"{receiver.url}/x?token=t0k3n")
        return
    with pytest.raises(BusError, match=f"status {status}") as error:
        await send(f"{receiver.url}/x?token=t0k3n", value=b'{"name":"Ada"}')

    assert error.value.retryable is retryable
    assert "t0k3n" not in str(error.value)
    assert "Ada" not in str(error.value)
    assert [path for path, _, _ in receiver.got] == ["/x?token=t0k3n"]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7), ("0", 0), ("99999999999", 86_400), ("soon", 0), ("-5", 0),
     ("Thu, 01 Jan 1970 00:00:00 GMT", 0)],
)  # fmt: skip
async def test_a_receiver_may_say_when_to_come_again(
    receiver: Receiver, said: str, seconds: int
) -> None:
    receiver.status, receiver.headers = 429, {"retry-after": said}

    with pytest.raises(BusError) as error:
        await send(receiver.url)

    assert error.value.retry_after == seconds


async def test_it_may_say_so_as_a_date(receiver: Receiver) -> None:
    receiver.status = 503
    receiver.headers = {"retry-after": formatdate(time.time() + 3600, usegmt=True)}

    with pytest.raises(BusError) as error:
        await send(receiver.url)

    assert 3000 < error.value.retry_after <= 3600


async def test_no_answer_at_all_may_become_one() -> None:
    with socket.socket() as taken:  # bound and not listening
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(BusError, match="refused") as error:
            await send(f"http://127.0.0.1:{taken.getsockname()[1]}/x")

    assert error.value.retryable


async def test_a_receiver_that_is_silent_is_given_up_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(BusError, match="late") as error:
            await send(url, Hook(url, timeout_s=0.05))

    assert error.value.retryable


@pytest.mark.parametrize(
    "target", ["https://", "http://u:p@h/x", "http://h/a b", "http://h:99999/", "ftp://h/x"]
)
async def test_a_target_that_is_no_url_is_refused_for_good(target: str) -> None:
    with pytest.raises(BusError, match="expected a webhook") as error:
        await send(target)

    assert not error.value.retryable
    assert "u:p" not in str(error.value)


async def test_messages_are_delivered_in_order_up_to_the_first_that_fails(
    receiver: Receiver,
) -> None:
    sink = WebhookSink()
    good = [message(f"{receiver.url}/{n}") for n in range(3)]
    bad = message("http://h/a b")

    with pytest.raises(BusError):
        await sink.send([*good, bad, message(f"{receiver.url}/4")])
    await sink.close()

    assert [path for path, _, _ in receiver.got] == ["/0", "/1", "/2"]
