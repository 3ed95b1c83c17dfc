"""A caller's own chat completion, as the embedded model takes it, and its answer as a stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, cast

import msgspec

from splice.adapters.providers.assemble_chat import ChatAssembly, Chunk
from splice.adapters.providers.frames import Frame
from splice.adapters.providers.llama_process import ChildFailed
from splice.adapters.providers.schema import strict_schema
from splice.adapters.providers.usage import estimated_usage
from splice.core.chat import Dialect, WireReply
from splice.core.errors import ProviderFailed, ProviderRejected, RouteTimeout, SpliceError

# What llama.cpp understands and may be told by a caller; `grammar`, slots and the like may not.
_PASSED = frozenset({
    "messages", "max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop",
    "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs",
})  # fmt: skip
# What changes nothing of the answer, or only hints.
_HARMLESS = frozenset({
    "user", "metadata", "store", "service_tier", "stream_options", "parallel_tool_calls",
    "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "reasoning_effort",
    "verbosity", "prediction",
})  # fmt: skip
_DONE = b"data: [DONE]\n\n"
_ABLE = "put a vendor's model first in the routes of what needs it"
_EVENT_LIMIT = 300
_CHUNK = msgspec.json.Decoder(Chunk)


class _Schema(msgspec.Struct):
    schema: dict[str, Any] | None = None


class _Format(msgspec.Struct):
    type: str
    json_schema: _Schema | None = None


class _Part(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    name: str | None = None


class _Options(msgspec.Struct):
    include_usage: bool | None = None


def child_body(fields: Mapping[str, Any], where: str) -> tuple[Frame, bool]:
    """What the child is asked, and whether the caller wants a count of tokens in the stream.

    Raises:
        ProviderRejected: The embedded model cannot do that.
    """
    plain = _plain(fields, where)
    body: Frame = {}
    for name, value in plain.items():
        if value is None or name in _HARMLESS:
            continue
        if name in _PASSED:
            body[name] = value
        elif name == "max_completion_tokens":
            body["max_tokens"] = value
        elif name == "response_format":
            _constrain(body, value, where)
        elif not _says_nothing(name, value):
            raise _rejected(
                where, name, f"a request with {name}", "text only, in one answer", _ABLE
            )
    try:
        messages = msgspec.convert(plain.get("messages"), list[_Message])
        options = msgspec.convert(plain.get("stream_options") or {}, _Options)
    except msgspec.ValidationError as error:
        raise _rejected(where, "messages", str(error), "messages of text") from None
    if not messages:
        raise _rejected(where, "messages", "no messages", "at least one")
    body["messages"] = [
        {"role": one.role, "content": _text(one.content)} for one in messages
    ]  # fmt: skip
    return body, bool(options.include_usage)


def _plain(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(fields)))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _rejected(where, None, str(error), "a chat completion request") from None


def _says_nothing(name: str, value: Any) -> bool:
    """Whether a field that we cannot follow asks for nothing but the usual."""
    usual: dict[str, tuple[Any, ...]] = {
        "n": (1,),
        "tools": ([],),
        "tool_choice": ("none", "auto"),
        "functions": ([],),
        "function_call": ("none", "auto"),
        "modalities": (["text"],),
    }
    return value in usual.get(name, ())


def _constrain(body: Frame, wanted: Any, where: str) -> None:
    try:
        form = msgspec.convert(wanted, _Format)
    except msgspec.ValidationError as error:
        raise _rejected(where, "response_format", str(error), "a response format") from None
    schema = None if form.json_schema is None else form.json_schema.schema
    if form.type == "json_schema" and schema is not None:
        body["schema"], _ = strict_schema(schema)  # in an open object it never ends
    elif form.type == "json_object":
        body["response_format"] = {"type": "json_object"}
    elif form.type != "text":
        raise _rejected(where, "response_format", form.type, "text, json_object or json_schema")


def _text(content: str | list[_Part] | None) -> str:
    if isinstance(content, list):
        return "".join(part.text for part in content)
    return content or ""


def _rejected(
    where: str, param: str | None, got: str, promised: str, mend: str = ""
) -> ProviderRejected:
    error = ProviderRejected(where, got=got[:_EVENT_LIMIT], promised=promised, mend=mend)
    error.elsewhere = True
    error.param = param
    return error


class LlamaStream:
    """See `splice.ports.providers.Stream`; for the event loop that made it."""

    def __init__(self, where: str, model: str, input_tokens: int, *, wants_usage: bool) -> None:
        self._where = where
        self._model = model
        self._input_tokens = input_tokens
        self._wants_usage = wants_usage
        self._cancel: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._whole = ChatAssembly()
        self._events: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._error: SpliceError | None = None
        self._over = False
        self._complete = False
        self._until = float("inf")
        self._between_s: float | None = None

    def bound(self, timeout_s: float, between_s: float | None, cancel: Callable[[], None]) -> None:
        """How long all of it may take, the longest silence once it has begun, and how to stop."""
        self._cancel = cancel
        self._until = self._loop.time() + timeout_s
        self._between_s = between_s

    # Called by the thread that reads from the child.

    def hear(self, chunk: Frame) -> None:
        """Take one chunk of the answer."""
        self._soon(lambda: self._heard(chunk))

    def finish(self, future: Future[Frame]) -> None:
        """The child's work on it is over."""
        error = future.exception()
        frame = None if error is not None else future.result()
        self._soon(lambda: self._finished(frame, error))

    def _soon(self, do: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits in it
            self._loop.call_soon_threadsafe(do)

    # In the event loop

    def _heard(self, chunk: Frame) -> None:
        if self._over:
            return
        chunk["model"] = self._model  # llama.cpp gives the path of its file
        chunk.pop("timings", None)
        encoded = msgspec.json.encode(chunk)
        known = _CHUNK.decode(encoded)
        self._whole.add(known, encoded)
        if known.choices or self._wants_usage:
            self._events.append(b"data: " + encoded + b"\n\n")
            self._news.set()

    def _finished(self, frame: Frame | None, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
        if isinstance(error, ChildFailed):
            self._error = ProviderFailed(
                self._where,
                got=f"the model's process ended: {error.detail}",
                mend="try again: it is started anew with the next call",
            )
        elif frame is None or "error" in frame:
            self._error = self._told(frame or {})
        else:
            self._complete = True
            self._events.append(_DONE)
        self._news.set()

    def _told(self, frame: Frame) -> SpliceError:
        got = f"llama.cpp said: {frame.get('error', 'nothing')}"
        if frame.get("code") == 400:
            return _rejected(self._where, None, got, "")
        return ProviderFailed(self._where, got=got[:_EVENT_LIMIT])

    @property
    def started(self) -> bool:
        """See `splice.ports.providers.Stream`."""
        return self._whole.started

    async def begun(self) -> None:
        """Wait until something has come.

        Raises:
            RequestError: llama.cpp says that the request is wrong.
            RouteError: It failed, or it is too late.
        """
        while not self._events and not self._over:
            await self._wait()
        if self._error is not None and not self._events:
            raise self._error

    async def next(self) -> bytes | None:
        """See `splice.ports.providers.Stream`."""
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._over:
                return None
            await self._wait()
        block = b"".join(self._events)
        self._events.clear()
        return block

    async def _wait(self) -> None:
        self._news.clear()
        until, between_s = self._until, self._between_s
        if between_s is not None and self.started:
            until = min(until, self._loop.time() + between_s)
        try:
            async with asyncio.timeout_at(None if until == float("inf") else until):
                await self._news.wait()
        except TimeoutError:
            self.hang_up()
            what = "no answer in time" if until == self._until else f"silence for {between_s:g} s"
            self._error = RouteTimeout(self._where, got=what)
        except BaseException:
            self.hang_up()
            raise

    def reply(self) -> WireReply:
        """See `splice.ports.providers.Stream`."""
        usage = self._whole.usage or estimated_usage(self._input_tokens, *self._whole.written)
        body = self._whole.body(self._model)
        return WireReply(Dialect.CHAT, body, usage, self._model, complete=self._complete)

    def hang_up(self) -> None:
        """See `splice.ports.providers.Stream`."""
        if not self._over:
            self._over = True
            self._news.set()
            if self._cancel is not None:
                self._cancel()
