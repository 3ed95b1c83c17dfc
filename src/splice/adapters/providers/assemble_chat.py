"""A streamed chat completion, put together as if it had been asked for whole."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import Raw

from splice.adapters.providers.usage import WireUsage, usage_of
from splice.core.call import Usage


class _FunctionDelta(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: _FunctionDelta | None = None


class _Delta(msgspec.Struct):
    content: str | list[Any] | None = None  # Mistral sends parts where a model thinks
    role: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None  # DeepSeek, vLLM, llama.cpp
    reasoning: str | None = None  # OpenRouter, Groq
    tool_calls: list[_CallDelta] | None = None
    function_call: _FunctionDelta | None = None
    audio: dict[str, Any] | None = None
    annotations: list[Any] | None = None


class _Logprobs(msgspec.Struct):
    content: list[Raw] | None = None
    refusal: list[Raw] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """One event of a streamed chat completion, as far as we must understand it."""

    choices: list[_Choice] | None = None
    id: str | None = None
    created: float | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: WireUsage | None = None
    error: Any = None  # of any shape: servers differ


class _Counted(msgspec.Struct):
    usage: Raw


class _Call:
    __slots__ = ("arguments", "id", "name", "type")

    def __init__(self) -> None:
        self.id: str | None = None
        self.type = "function"
        self.name = ""
        self.arguments: list[str] = []


class _Said:
    """One choice as far as it has come."""

    __slots__ = (
        "audio", "calls", "content", "extra", "finish_reason", "function", "logprobs", "reasoning",
        "refusal", "role",
    )  # fmt: skip

    def __init__(self) -> None:
        self.role = "assistant"
        self.content: list[str] = []
        self.refusal: list[str] = []
        self.reasoning: dict[str, list[str]] = {}
        self.calls: dict[int, _Call] = {}
        self.function: _Call | None = None
        self.audio: dict[str, Any] = {}
        self.extra: list[Any] = []  # annotations
        self.logprobs: dict[str, list[Raw]] | None = None
        self.finish_reason: str | None = None


class ChatAssembly:
    """Takes chunks as they come; has the whole at any time.

    `started` is true once a token of the answer itself has come: text, a refusal, a tool call, or a
    thought.
    """

    __slots__ = ("_choices", "_counted", "_events", "_head", "_usage", "started")

    def __init__(self) -> None:
        self.started = False
        self._head: Chunk | None = None
        self._choices: dict[int, _Said] = {}
        self._usage: WireUsage | None = None
        self._counted: Raw | None = None  # the same as the server wrote it
        self._events = 0

    def add(self, chunk: Chunk, data: bytes | None = None) -> None:
        """Take one chunk; `data` is the JSON that it was read from.

        Without it, of the count of tokens only what we know of is in the whole.
        """
        if self._head is None or (not self._head.id and chunk.id):
            self._head = chunk  # Azure's first has neither id nor model
        if chunk.usage is not None:
            self._usage = chunk.usage
            if data is None:
                self._counted = Raw(msgspec.json.encode(chunk.usage))
            else:
                self._counted = msgspec.json.decode(data, type=_Counted).usage.copy()
        for choice in chunk.choices or ():
            said = self._choices.get(choice.index)
            if said is None:
                said = self._choices[choice.index] = _Said()
            delta = choice.delta
            if delta is not None:
                content = delta.content
                if content and isinstance(content, str):
                    said.content.append(content)
                    self.started = True
                    self._events += 1
                else:
                    self._take(said, delta)
            if choice.finish_reason is not None:
                said.finish_reason = choice.finish_reason
            if choice.logprobs is not None:
                _add_logprobs(said, choice.logprobs)

    def _take(self, said: _Said, delta: _Delta) -> None:
        """What is in a delta beside plain text, or in its place."""
        some = False
        if delta.role:
            said.role = delta.role
        if isinstance(delta.content, list):
            some = _add_parts(said, delta.content)
        if delta.refusal:
            said.refusal.append(delta.refusal)
            some = True
        for name in ("reasoning_content", "reasoning"):
            if thought := getattr(delta, name):
                said.reasoning.setdefault(name, []).append(thought)
                some = True
        if delta.tool_calls:
            for call in delta.tool_calls:
                _add_call(said, call)
            some = True
        if delta.function_call is not None:
            said.function = said.function or _Call()
            _add_function(said.function, delta.function_call)
            some = True
        if delta.audio:
            _add_audio(said.audio, delta.audio)
            some = True
        if delta.annotations:
            said.extra += delta.annotations
        if some:
            self.started = True
            self._events += 1

    @property
    def finished(self) -> bool:
        """Whether every choice that began has said why it ended."""
        return bool(self._choices) and all(
            said.finish_reason is not None for said in self._choices.values()
        )

    @property
    def model(self) -> str:
        """The model's name as the server gives it; empty where it does not."""
        return (self._head and self._head.model) or ""

    @property
    def usage(self) -> Usage | None:
        """What the server counted; None where it did not (yet)."""
        usage = usage_of(self._usage)
        return None if usage.input_tokens is None and usage.output_tokens is None else usage

    @property
    def written(self) -> tuple[int, int]:
        """How many events carried something of the answer, and how many characters that is."""
        characters = sum(_characters(said) for said in self._choices.values())
        return self._events, characters

    def body(self, model: str) -> bytes:
        """The chat completion; `model` stands where the server named none."""
        head = self._head or Chunk()
        created = head.created or 0
        whole: dict[str, Any] = {
            "id": head.id or "",
            "object": "chat.completion",
            "created": int(created) if created == int(created) else created,
            "model": head.model or model,
            "choices": [_choice(index, said) for index, said in sorted(self._choices.items())],
        }
        if head.system_fingerprint is not None:
            whole["system_fingerprint"] = head.system_fingerprint
        if head.service_tier is not None:
            whole["service_tier"] = head.service_tier
        if self._counted is not None:
            whole["usage"] = self._counted
        return msgspec.json.encode(whole)


def _add_parts(said: _Said, parts: list[Any]) -> bool:
    some = False
    for part in cast("list[dict[str, Any]]", [one for one in parts if isinstance(one, dict)]):
        text = part.get("text")
        thoughts = part.get("thinking")
        if isinstance(text, str):
            said.content.append(text)
            some = some or bool(text)
        elif isinstance(thoughts, list):
            inner = cast("list[Any]", thoughts)
            texts = [cast("dict[str, Any]", one).get("text") for one in inner
                     if isinstance(one, dict)]  # fmt: skip
            said.reasoning.setdefault("reasoning_content", []).extend(
                one for one in texts if isinstance(one, str)
            )
            some = True
    return some


def _add_call(said: _Said, delta: _CallDelta) -> None:
    """By index; servers that give none start a new call with each new id."""
    index = delta.index
    if index is None:
        newest = max(said.calls, default=-1)
        last = said.calls.get(newest)
        index = newest if last is not None and delta.id in (None, last.id) else newest + 1
    call = said.calls.get(index)
    if call is None:
        call = said.calls[index] = _Call()
    if delta.id:
        call.id = delta.id
    if delta.type:
        call.type = delta.type
    if delta.function is not None:
        _add_function(call, delta.function)


def _add_function(call: _Call, delta: _FunctionDelta) -> None:
    if delta.name:
        # Most send a name whole, and some repeat it; a few send it in pieces.
        call.name = delta.name if delta.name.startswith(call.name) else call.name + delta.name
    if delta.arguments:
        call.arguments.append(delta.arguments)


def _add_audio(audio: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name in ("data", "transcript") and isinstance(value, str):
            audio[name] = audio.get(name, "") + value
        else:
            audio[name] = value


def _add_logprobs(said: _Said, logprobs: _Logprobs) -> None:
    if said.logprobs is None:
        said.logprobs = {}
    for name in ("content", "refusal"):
        tokens = getattr(logprobs, name)
        if tokens is not None:
            said.logprobs.setdefault(name, []).extend(one.copy() for one in tokens)


def _characters(said: _Said) -> int:
    calls = [*said.calls.values(), *([said.function] if said.function else [])]
    parts = (
        said.content,
        said.refusal,
        *said.reasoning.values(),
        *(call.arguments for call in calls),
    )
    return sum(len(text) for part in parts for text in part) + sum(len(c.name) for c in calls)


def _choice(index: int, said: _Said) -> dict[str, Any]:
    calls = [said.calls[at] for at in sorted(said.calls)]
    silent = not said.content and (calls or said.function or said.refusal or said.audio)
    message: dict[str, Any] = {
        "role": said.role,
        "content": None if silent else "".join(said.content),
        "refusal": "".join(said.refusal) or None,
    }
    for name, thoughts in said.reasoning.items():
        message[name] = "".join(thoughts)
    if calls:
        message["tool_calls"] = [
            {"id": call.id or "", "type": call.type, "function": _function(call)} for call in calls
        ]
    if said.function is not None:
        message["function_call"] = _function(said.function)
    if said.audio:
        message["audio"] = said.audio
    if said.extra:
        message["annotations"] = said.extra
    logprobs = said.logprobs and {
        "content": said.logprobs.get("content"),
        "refusal": said.logprobs.get("refusal"),
    }
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": said.finish_reason,
    }


def _function(call: _Call) -> dict[str, str]:
    return {"name": call.name, "arguments": "".join(call.arguments)}
