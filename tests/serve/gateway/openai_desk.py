"""An OpenAI surface on a real socket, over an engine that answers as it is told."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import uvicorn
from openai_samples import completion

from splice.core.access import ANYONE, Key, Principal
from splice.core.call import Call, Reason, Usage
from splice.core.chat import Asked, Dialect, WireReply
from splice.core.errors import SpliceError, UnknownKey
from splice.engine.converse import Spoken
from splice.serve.http.body import BodyReader
from splice.serve.http.gateway import Gateway
from splice.serve.openai.surface import OpenAISurface
from splice.serve.wire import WireAnswer, WireCall

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
Answering = Callable[[Call, Asked], Spoken]


class ScriptedStream:
    """Gives what it was told, then ends or breaks, or falls silent if it is `endless`."""

    def __init__(
        self, dialect: Dialect, events: Sequence[bytes | Exception], *, endless: bool = False
    ) -> None:
        self._endless = endless
        self.dialect = dialect
        self.was_closed = threading.Event()
        self._events = iter(events)

    async def next(self) -> bytes | None:
        """The next of them."""
        event = next(self._events, None)
        if isinstance(event, Exception):
            raise event
        if event is None and self._endless:
            await asyncio.Event().wait()
        return event

    async def close(self) -> None:
        """Remember it."""
        self.was_closed.set()


class ScriptedKeyring:
    """Knows the keys it is told of; `sk-open` is anyone's."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}

    def principal(self, token: str, address: str) -> Principal:
        """Who has this key."""
        if token == "sk-open":
            return ANYONE
        key = self.keys.get(token)
        if key is None:
            raise UnknownKey("key", got="a key that nobody knows" if token else "no key")
        return Principal(caller=key.name, tenant=key.tenant, key=key)

    async def asker(self, token: str, address: str) -> Principal:
        """The same: no issuer is to be asked."""
        return self.principal(token, address)


class ScriptedEngine:
    """Answers by `answering`, and remembers what was asked."""

    def __init__(self) -> None:
        self.keyring = ScriptedKeyring()
        self.lines: dict[str, Any] = {}
        self.asked: list[tuple[Call, Asked]] = []
        self.answering: Answering | SpliceError = lambda call, asked: said(call, b"{}")

    async def converse(self, call: Call, asked: Asked) -> Spoken:
        """As told."""
        self.asked.append((call, asked))
        if isinstance(self.answering, SpliceError):
            raise self.answering
        return self.answering(call, asked)

    def serves(self, name: str, *aliases: str) -> None:
        """Have a line of that name, as far as the list of models looks at it."""
        self.lines[name] = SimpleNamespace(
            name=name,
            declaration=SimpleNamespace(cls=SimpleNamespace(aliases=aliases)),
            release=SimpleNamespace(created_us=1_700_000_000_000_000),
        )


class ScriptedDesk:
    """The process behind the surface."""

    draining = False

    def __init__(self) -> None:
        self.engine = ScriptedEngine()
        self._ids = itertools.count(1)

    def new_id(self) -> str:
        """Ids in order."""
        return f"01890000-0000-7000-8000-{next(self._ids):012x}"


class Site:
    """The desk and where it listens."""

    def __init__(self, desk: ScriptedDesk, port: int) -> None:
        self.desk = desk
        self.engine = desk.engine
        self.origin = f"http://127.0.0.1:{port}"
        self.base_url = f"{self.origin}/v1"

    @property
    def asked(self) -> Asked:
        """What was asked last."""
        return self.engine.asked[-1][1]

    @property
    def call(self) -> Call:
        """The last call."""
        return self.engine.asked[-1][0]

    def says(self, completion: dict[str, Any], **more: Any) -> None:
        """Answer every request with this chat completion."""
        body = msgspec.json.encode(completion)
        self.engine.answering = lambda call, asked: said(call, body, **more)

    def streams(self, *events: bytes | Exception, dialect: Dialect = Dialect.CHAT) -> None:
        """Answer every request with this stream."""
        self.engine.answering = lambda call, asked: Spoken(
            call.id, "triage", 3, "llm:openai/gpt", Reason.FIRST,
            stream=ScriptedStream(dialect, events),
        )  # fmt: skip

    def fails(self, error: SpliceError) -> None:
        """Answer every request with an error."""
        self.engine.answering = lambda call, asked: Spoken(call.id, "triage", 3, error=error)


def said(
    call: Call, body: bytes, dialect: Dialect = Dialect.CHAT, cost_nano: int | None = 12_300
) -> Spoken:
    """A whole reply."""
    reply = WireReply(dialect, body, Usage(11, 7), "gpt-scripted")
    return Spoken(call.id, "triage", 3, "llm:openai/gpt", Reason.FIRST, cost_nano, reply)


class Door:
    """The surface, asked without a socket."""

    def __init__(self) -> None:
        self.desk = ScriptedDesk()
        self._surface = OpenAISurface(self.desk)  # type: ignore[arg-type]
        self.desk.engine.answering = self._said

    def _said(self, call: Call, asked: Asked) -> Spoken:
        # As a provider does that knows only chat, and one that writes the request anew.
        if asked.as_chat is not None:
            msgspec.json.decode(msgspec.json.encode(asked.as_chat()))
        for field in asked.fields.values():
            msgspec.json.decode(field)
        if asked.dialect is Dialect.EMBEDDINGS:
            return said(call, b'{"data":[]}', Dialect.EMBEDDINGS)
        return said(call, json.dumps(completion()).encode())

    async def post(self, path: str, body: Any) -> WireAnswer:
        """One request."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {b"authorization": b"Bearer sk-open"}
        return await self._surface.answer(WireCall("POST", path, headers, raw, "127.0.0.1"))

    async def refused(self, path: str, body: Any) -> dict[str, Any]:
        """The error of a request that must be refused before anybody else sees it."""
        answer = await self.post(path, body)
        assert answer.status == 400, answer
        assert self.desk.engine.asked == []
        error: dict[str, Any] = json.loads(answer.body)["error"]
        assert error["type"] == "invalid_request_error"
        assert set(error) == {"message", "type", "param", "code"}
        return error


@contextmanager
def open_site() -> Iterator[Site]:
    """A surface on a free port, in a thread."""
    desk = ScriptedDesk()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        _app(desk),  # type: ignore[arg-type]
        log_level="critical", lifespan="off", access_log=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.005)
    try:
        yield Site(desk, listener.getsockname()[1])
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        listener.close()


def _app(desk: ScriptedDesk) -> Callable[..., Awaitable[None]]:
    gateway = Gateway(desk, BodyReader(15.0), 8 << 20)  # type: ignore[arg-type]
    other = OpenAISurface(desk)  # type: ignore[arg-type]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        await gateway(gateway.surface(path) or other, path, scope, receive, send)

    return app
