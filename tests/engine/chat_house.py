"""An engine that converses, over a scripted provider and a ledger in memory."""

from __future__ import annotations

import ast
import asyncio
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import splice
from splice.adapters.spools.files import FileSpool
from splice.core.access import ANYONE, Principal
from splice.core.call import Call, Record, Usage
from splice.core.chat import Asked, Dialect, WireReply, WireRequest
from splice.core.errors import RouteError, SpliceError
from splice.core.ids import uuid7
from splice.core.prices import Price, cost_nano
from splice.core.release import Manifest, PinnedRoute, Release
from splice.declare.reading import read
from splice.engine.converse import Spoken
from splice.engine.engine import Engine
from splice.engine.line import Line, Step, line_of
from splice.engine.record import Recorder
from splice.engine.routing.balanced import Balanced, Breaking, Deployment
from splice.engine.routing.relayed import Relayed
from splice.testing.fakes import MemoryRecords

PRICE = Price(input_nano=1_000_000_000, output_nano=2_000_000_000)


def completion(text: str) -> bytes:
    """The JSON of a chat completion."""
    message = {"role": "assistant", "content": text}
    return msgspec.json.encode(
        {
            "id": "x",
            "object": "chat.completion",
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5},
        }
    )


class Says(msgspec.Struct):
    """One scripted answer: `words` as a text or a stream, or an error before or after so many."""

    words: Sequence[str] = ("hello", " ", "world")
    error: SpliceError | None = None
    after: int = 0  # of a stream: the error comes after so many words
    delay_s: float = 0.0
    gate: asyncio.Event | None = None  # of a stream: waits here after `after` words


class ScriptedStream:
    """A stream of `Says`."""

    def __init__(self, owner: ScriptedProvider, says: Says) -> None:
        self._owner, self._says = owner, says
        self._given = 0
        self.started = False
        self.hung_up = False

    async def next(self) -> bytes | None:
        says = self._says
        if self._given == says.after and says.gate is not None:
            await says.gate.wait()
        if self._given == says.after and says.error is not None:
            raise says.error
        if self._given >= len(says.words):
            return None
        word = says.words[self._given]
        self._given += 1
        self.started = True
        await asyncio.sleep(0)
        delta = {"choices": [{"index": 0, "delta": {"content": word}}]}
        return b"data: " + msgspec.json.encode(delta) + b"\n\n"

    def reply(self) -> WireReply:
        whole = self._given >= len(self._says.words)
        text = "".join(self._says.words[: self._given])
        usage = Usage(10, 5 if whole else self._given, estimated=not whole)
        return WireReply(
            Dialect.CHAT, completion(text), usage, "m", cost_nano(self._owner.cost, usage), whole
        )

    def hang_up(self) -> None:
        self.hung_up = True
        self._owner.hung_up += 1


class ScriptedProvider:
    """Answers as told; then always with `Says()`."""

    dialects = frozenset({Dialect.CHAT, Dialect.EMBEDDINGS})

    def __init__(self, *script: Says, cost: Price | None = PRICE) -> None:
        self.script = deque(script)
        self.asked: list[WireRequest] = []
        self.cost = cost
        self.hung_up = 0
        self.cancelled = 0

    def price(self, model: str) -> Price | None:
        return self.cost

    async def _next(self, request: WireRequest) -> Says:
        self.asked.append(request)
        says = self.script.popleft() if self.script else Says()
        try:
            if says.delay_s:
                await asyncio.sleep(says.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return says

    async def send(self, request: WireRequest) -> WireReply:
        says = await self._next(request)
        if says.gate is not None:
            await says.gate.wait()
        if says.error is not None:
            raise says.error
        usage = Usage(10, 5)
        body = completion("".join(says.words))
        return WireReply(Dialect.CHAT, body, usage, "m", cost_nano(self.cost, usage))

    async def open(self, request: WireRequest) -> ScriptedStream:
        says = await self._next(request)
        if says.error is not None and says.after < 0:
            raise says.error
        return ScriptedStream(self, says)

    async def models(self) -> list[str]:
        return []

    async def complete(self, request: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        return


class Chatting(splice.Conversation):
    """Answers whatever is asked."""

    deadline = "5 s"
    routes = (splice.LLM("a/m", retries=0), splice.LLM("b/m", retries=0))
    aliases = ("fast",)
    models = ("a/*",)


def chat_line(cls: type[splice.Conversation], *balanced: Balanced, number: int = 1) -> Line:
    """The line of a conversation whose routes go to these providers, in order."""
    declaration, mistakes = read(cls, ast.parse(""), "test.py", lambda path: path)
    assert declaration is not None, mistakes
    routes = [
        PinnedRoute(
            label=timed.route.label, kind="llm", position=i, timeout_s=timed.timeout_s,
            version="m", model="m", provider=timed.route.ref.partition("/")[0],
        )
        for i, timed in enumerate(declaration.routes)
    ]  # fmt: skip
    manifest = Manifest(
        integration=declaration.name, entry="test:Test", bundle="0" * 64, purpose="test",
        risk=str(declaration.risk), deadline_s=declaration.deadline_s, routes=tuple(routes),
        request_schema={}, reply_schema={},
    )  # fmt: skip
    steps = tuple(
        Step(
            route,
            Relayed(one, route, timed.patience, timed.prompt),
            immediate=False,
            quality=timed.route.quality,
        )
        for route, timed, one in zip(routes, declaration.routes, balanced, strict=True)
    )

    def direct(model: str) -> Step:
        route = PinnedRoute(
            label=f"llm:{model}", kind="llm", position=0, timeout_s=5.0, version=model,
            model=model.partition("/")[2], provider="a",
        )  # fmt: skip
        return Step(route, Relayed(balanced[0], route, declaration.routes[0].patience, None), False)

    return line_of(Release(number, manifest, 0, "test"), declaration, steps, direct=direct)


def balanced(*providers: Any, name: str = "a", breaking: Breaking | None = None) -> Balanced:
    """A provider with a deployment for each of these."""
    return Balanced(
        name,
        [Deployment(f"{name}[{i}]", one, breaking=breaking) for i, one in enumerate(providers)],
        seed=1,
    )


class ChatHouse:
    """One conversation, its engine, and what it recorded."""

    def __init__(self, folder: Path, line: Line, **engine: Any) -> None:
        self.store = MemoryRecords()
        self.recorder = Recorder(self.store, FileSpool(folder / "spool"), flush_seconds=0.001)
        self.engine = Engine(self.store, self.recorder, **engine)
        self.line = line
        self.engine.lines[line.name] = line
        self.recorder.start()
        self._ids = 0

    def asked(self, text: str = "hi", *, stream: bool = False, **fields: Any) -> Asked:
        """A chat completion request."""
        messages = [{"role": "user", "content": text}]
        plain = {"messages": messages, **fields}
        raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in plain.items()}
        return Asked(Dialect.CHAT, self.line.name, stream, raw, 100, output_tokens=100)

    def call(self, key: str | None = None, principal: Principal = ANYONE) -> Call:
        """A call of its own id."""
        self._ids += 1
        return Call(
            uuid7(time.time_ns() // 1_000_000, self._ids), "", b'{"messages":[]}',
            time.time_ns() // 1000, "openai", principal.caller, key, None, principal,
        )  # fmt: skip

    async def say(
        self, text: str = "hi", *, stream: bool = False, model: str = "", **options: Any
    ) -> Spoken:
        """The answer to one question."""
        asked = self.asked(text, stream=stream)
        if model:
            asked = msgspec.structs.replace(asked, model=model)
        return await self.engine.converse(self.call(**options), asked)

    async def records(self) -> list[Record]:
        """What is in the ledger, oldest first."""
        await self.engine.rest()
        await self.recorder.flush()
        return sorted(self.store.stored, key=lambda one: one.call_id)

    def close(self) -> None:
        self.recorder.stop()


async def heard(spoken: Spoken) -> tuple[bytes, RouteError | SpliceError | None]:
    """All that a stream says, and the error that ended it."""
    assert spoken.stream is not None
    said: list[bytes] = []
    try:
        while (block := await spoken.stream.next()) is not None:
            said.append(block)
    except SpliceError as error:
        return b"".join(said), error
    finally:
        await spoken.stream.close()
    return b"".join(said), None
