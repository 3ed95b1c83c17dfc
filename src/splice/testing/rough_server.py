"""An upstream over real sockets that misbehaves: what it does is in the path that is asked.

Its base URL ends with the name of a behaviour: `server.base_url("half a stream")`. It speaks HTTP
by hand, so that it can also speak it badly. Runs in a thread of its own, on the loopback interface.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote

from splice.testing.openai_shapes import DONE, chat_events, chat_reply

_USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
_TEXT = "one two three"
_LARGE = 10 * 1024 * 1024
_LIMIT = 64 * 1024 * 1024
_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")

Writer = asyncio.StreamWriter


class RoughServer:
    """The server; use it as a context manager.

    Attributes:
        slow_s: How long slow things take.
        asked: How often each behaviour was asked.
        left: How often a caller had gone before the end of what he was to get.
    """

    BEHAVIOURS: tuple[str, ...]

    def __init__(self, slow_s: float = 0.3, tls: bool = False, folder: Path | None = None) -> None:
        self.slow_s = slow_s
        self.asked: dict[str, int] = {}
        self.left = 0
        self.bodies: list[bytes] = []
        self._readers: dict[Writer, asyncio.StreamReader] = {}
        self._tls = _self_signed(folder or Path()) if tls else None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rough-server", daemon=True)

    def base_url(self, behaviour: str) -> str:
        """The URL at which the server behaves so."""
        if behaviour not in self.BEHAVIOURS:
            raise ValueError(f"{behaviour!r} is none of {self.BEHAVIOURS}")
        scheme = "https" if self._tls is not None else "http"
        return f"{scheme}://127.0.0.1:{self._port}/{quote(behaviour)}"

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the rough server did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        writers: set[Writer] = set()

        async def accept(reader: asyncio.StreamReader, writer: Writer) -> None:
            writers.add(writer)
            with contextlib.suppress(asyncio.CancelledError):  # the server ends
                await self._answer(reader, writer)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=self._tls)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for writer in writers:  # some still have something to send, to callers who have left
            with contextlib.suppress(AttributeError):  # CPython: if it closed with bytes to send
                writer.transport.abort()
        left = asyncio.all_tasks() - {asyncio.current_task()}  # handshakes are among them
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.05)  # connections whose TLS failed are closed by the loop alone

    async def _answer(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self._readers[writer] = reader
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            del self._readers[writer]
            with contextlib.suppress(RuntimeError):
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: Writer) -> bool:
        """Answer one request; whether the connection may serve another."""
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        behaviour = unquote(lines[0].split(" ")[1].split("/")[1])
        length = next(
            (int(one.split(":")[1]) for one in lines if one.lower().startswith("content-length:")),
            0,
        )
        body = await reader.readexactly(length)
        self.bodies.append(body[:_LIMIT])
        self.asked[behaviour] = self.asked.get(behaviour, 0) + 1
        streams = b'"stream":true' in body
        try:
            await _BEHAVIOURS[behaviour](self, writer, streams)
            await writer.drain()
        except (ConnectionError, OSError):
            self.left += 1
            raise
        return behaviour in _KEEPING

    async def watch(self, writer: Writer) -> None:
        """Wait until the caller has gone."""
        await self._readers[writer].read()
        raise ConnectionResetError


def _head(status: int, kind: str, length: int | None, more: str = "") -> bytes:
    sized = f"content-length: {length}" if length is not None else "connection: close"
    return f"HTTP/1.1 {status} Rough\r\ncontent-type: {kind}\r\n{sized}\r\n{more}\r\n".encode()


def _reply(writer: Writer, status: int, value: Any, more: str = "") -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    writer.write(_head(status, "application/json", len(body), more) + body)


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "rough", "param": None, "code": None}}


def _whole() -> dict[str, Any]:
    return chat_reply("rough", [{"role": "assistant", "content": _TEXT}], "stop", _USAGE)


def _events() -> list[bytes]:
    message = {"role": "assistant", "content": _TEXT}
    return [*chat_events("rough", [message], "stop", _USAGE, counted=True), DONE]


def _begin(writer: Writer, events: Sequence[bytes]) -> None:
    writer.write(_head(200, "text/event-stream", None))
    for one in events:
        writer.write(one)


async def _well(server: RoughServer, writer: Writer, streams: bool) -> None:
    if streams:
        _begin(writer, _events())
        writer.close()
    else:
        _reply(writer, 200, _whole())


async def _slow_head(server: RoughServer, writer: Writer, streams: bool) -> None:
    await asyncio.sleep(server.slow_s)
    await _well(server, writer, streams)


async def _no_head(server: RoughServer, writer: Writer, streams: bool) -> None:
    await server.watch(writer)


async def _slow_tokens(server: RoughServer, writer: Writer, streams: bool) -> None:
    if not streams:
        await _slow_head(server, writer, streams)
        return
    _begin(writer, [])
    for one in _events():
        writer.write(one)
        await writer.drain()
        await asyncio.sleep(server.slow_s)
    writer.close()


async def _bit_by_bit(server: RoughServer, writer: Writer, streams: bool) -> None:
    """Every byte by itself, and the events with line ends of another kind."""
    body = b"".join(_events()).replace(b"\n", b"\r\n") if streams else json.dumps(_whole()).encode()
    kind = "text/event-stream" if streams else "application/json"
    for at in range(0, len(raw := _head(200, kind, len(body)) + body)):
        writer.write(raw[at : at + 1])
        if at % 16 == 0:
            await writer.drain()
            await asyncio.sleep(0)


async def _limited(server: RoughServer, writer: Writer, streams: bool) -> None:
    _reply(writer, 429, _error("too many requests"), "retry-after: 7\r\n")


async def _overloaded(server: RoughServer, writer: Writer, streams: bool) -> None:
    _reply(writer, 503, _error("overloaded"))


async def _failing(server: RoughServer, writer: Writer, streams: bool) -> None:
    _reply(writer, 500, b"<h1>Internal Server Error</h1>")


async def _bad_key(server: RoughServer, writer: Writer, streams: bool) -> None:
    _reply(writer, 401, _error("Incorrect API key provided"))


async def _bad_request(server: RoughServer, writer: Writer, streams: bool) -> None:
    told = {"message": "'temperature' is too hot", "param": "temperature", "code": "too_hot"}
    _reply(writer, 400, {"error": {**told, "type": "invalid_request_error"}})


async def _elsewhere(server: RoughServer, writer: Writer, streams: bool) -> None:
    _reply(writer, 307, b"", "location: http://127.0.0.1:9/\r\n")


async def _garbage(server: RoughServer, writer: Writer, streams: bool) -> None:
    writer.write(b"\x16\x03\x01 this is no HTTP at all \xff\xfe\r\n\r\n")


async def _no_json(server: RoughServer, writer: Writer, streams: bool) -> None:
    if streams:
        _begin(writer, [_events()[0], b"data: \xff\xfe{{{\n\n"])
        writer.close()
    else:
        _reply(writer, 200, b'{"choices": [{{{\xff\xfe')


async def _half_json(server: RoughServer, writer: Writer, streams: bool) -> None:
    """A whole HTTP message with half a body in it."""
    body = b"".join(_events())[:-120] if streams else json.dumps(_whole()).encode()[:-40]
    kind = "text/event-stream" if streams else "application/json"
    writer.write(_head(200, kind, len(body)) + body)


async def _half(server: RoughServer, writer: Writer, streams: bool) -> None:
    if streams:
        _begin(writer, _events()[:3])
    else:
        body = json.dumps(_whole()).encode()
        writer.write(_head(200, "application/json", len(body)) + body[:40])
    await writer.drain()
    writer.close()


async def _reset(server: RoughServer, writer: Writer, streams: bool) -> None:
    if streams:
        _begin(writer, _events()[:3])
        await writer.drain()
        await asyncio.sleep(0.02)  # so that they are read before the reset takes them away
    writer.transport.abort()


async def _large(server: RoughServer, writer: Writer, streams: bool) -> None:
    """A text of 10 MB, in one event where it streams."""
    message = {"role": "assistant", "content": "x" * _LARGE}
    if streams:
        events = chat_events("rough", [message], "stop", _USAGE, counted=True)
        _begin(writer, [*events, DONE])
        await writer.drain()
        writer.close()
    else:
        _reply(writer, 200, chat_reply("rough", [message], "stop", _USAGE))


async def _endless(server: RoughServer, writer: Writer, streams: bool) -> None:
    kind = "text/event-stream" if streams else "application/json"
    writer.write(_head(200, kind, None))
    block = _events()[1] * 200
    for _ in range(2 * _LIMIT // len(block)):
        writer.write(block)
        await writer.drain()


async def _wrong_type(server: RoughServer, writer: Writer, streams: bool) -> None:
    body = b"<html><title>Please log in</title></html>"
    writer.write(_head(200, "text/html; charset=utf-8", len(body)) + body)


async def _error_inside(server: RoughServer, writer: Writer, streams: bool) -> None:
    told = json.dumps(_error("the model crashed")).encode()
    if streams:
        _begin(writer, [*_events()[:3], b"data: " + told + b"\n\n"])
        await server.watch(writer)
    else:
        _reply(writer, 200, told)


async def _silent(server: RoughServer, writer: Writer, streams: bool) -> None:
    """The first token, and then nothing for long."""
    if streams:
        _begin(writer, _events()[:2])
        await writer.drain()
    await server.watch(writer)


async def _no_done(server: RoughServer, writer: Writer, streams: bool) -> None:
    """A stream that just ends after its last choice, as some servers do."""
    _begin(writer, _events()[:-1])
    writer.close()


async def _lingering(server: RoughServer, writer: Writer, streams: bool) -> None:
    """A stream whose connection stays open after `[DONE]`."""
    _begin(writer, _events())
    await server.watch(writer)


Behaviour = Callable[[RoughServer, Writer, bool], Awaitable[None]]

_BEHAVIOURS: dict[str, Behaviour] = {
    "well": _well,
    "slow head": _slow_head,
    "no head": _no_head,
    "slow tokens": _slow_tokens,
    "bit by bit": _bit_by_bit,
    "limited": _limited,
    "overloaded": _overloaded,
    "failing": _failing,
    "bad key": _bad_key,
    "bad request": _bad_request,
    "elsewhere": _elsewhere,
    "garbage": _garbage,
    "no json": _no_json,
    "half json": _half_json,
    "half": _half,
    "reset": _reset,
    "large": _large,
    "endless": _endless,
    "wrong type": _wrong_type,
    "error inside": _error_inside,
    "silent": _silent,
    "no done": _no_done,
    "lingering": _lingering,
}
RoughServer.BEHAVIOURS = tuple(_BEHAVIOURS)

# Those after which the next request on the same connection is answered too.
_KEEPING = frozenset({
    "well", "slow head", "bit by bit", "limited", "overloaded", "failing", "bad key", "bad request",
    "no json", "half json", "large", "wrong type",
})  # fmt: skip


def _self_signed(folder: Path) -> ssl.SSLContext:
    """A certificate that nobody vouches for, valid for an hour."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(_LOOPBACK)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "rough.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
