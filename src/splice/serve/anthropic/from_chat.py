"""A chat completion as a message of Anthropic's API, whole and as events."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from splice.serve.openai.reading import lenient

STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class ChatUsage(msgspec.Struct):
    """The `usage` of a chat completion."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    id: str | None = None
    function: _Function | None = None
    index: int | None = None  # of a stream


class _Part(msgspec.Struct):
    type: str = "text"
    text: str = ""


class Delta(msgspec.Struct):
    """What a message says, or what a chunk adds to it."""

    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None

    @property
    def text(self) -> str:
        """Its texts, a refusal among them."""
        said = self.content or ""
        if not isinstance(said, str):
            said = "".join(part.text for part in said)
        return said + (self.refusal or "")


class _Choice(msgspec.Struct):
    message: Delta | None = None
    delta: Delta | None = None
    finish_reason: str | None = None
    index: int = 0


class Chat(msgspec.Struct):
    """A chat completion, or one chunk of it."""

    choices: list[_Choice] = []
    model: str | None = None
    usage: ChatUsage | None = None
    error: Any = None  # some servers put one into a stream


def read_chat(body: bytes | Raw) -> Chat:
    """A completion or a chunk; half a character in it becomes a question mark.

    Raises:
        MalformedBody: It is not JSON.
        msgspec.ValidationError: It is something else.
    """
    try:
        return msgspec.json.decode(body, type=Chat)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.convert(lenient(bytes(body)), type=Chat)


def message_of(body: bytes, message_id: str, model: str) -> dict[str, Any]:
    """The message that a whole chat completion is.

    Args:
        body: The completion.
        message_id: Its id in Anthropic's form.
        model: Its model, where the completion names none.

    Raises:
        MalformedBody: The completion is not JSON.
        msgspec.ValidationError: It is no chat completion.
    """
    chat = read_chat(body)
    choice = chat.choices[0] if chat.choices else _Choice()
    said = choice.message or Delta()
    content: list[dict[str, Any]] = []
    if text := said.text:
        content.append({"type": "text", "text": text})
    for number, call in enumerate(said.tool_calls or ()):
        function = call.function or _Function()
        used = {"id": call.id or tool_id(message_id, number), "name": function.name or ""}
        content.append({"type": "tool_use", **used, "input": arguments(function.arguments)})
    stop = stop_of(choice.finish_reason, called=bool(said.tool_calls), refused=bool(said.refusal))
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": chat.model or model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage_of(chat.usage),
    }


def stop_of(finish: str | None, *, called: bool, refused: bool) -> str:
    """The `stop_reason` for a `finish_reason`.

    Some servers say `stop` where they called tools: an Anthropic client then would not run them.
    """
    if refused:
        return "refusal"
    if called and finish in (None, "stop", "eos"):
        return "tool_use"
    return STOP.get(finish or "stop", "end_turn")


def usage_of(usage: ChatUsage | None) -> dict[str, Any]:
    """Tokens as Anthropic counts them: input is what came from no cache and went into none."""
    usage = usage or ChatUsage()
    details = usage.prompt_tokens_details or _Details()
    prompt = usage.prompt_tokens or 0
    read = min(details.cached_tokens or 0, prompt)
    written = min(details.cache_write_tokens or 0, prompt - read)
    return {
        "input_tokens": prompt - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.completion_tokens or 0,
    }


def arguments(text: str | None) -> Any:
    """The arguments of a call as the object that clients expect.

    A model may write something that is none; then they are carried as a text.
    """
    if not (text or "").strip():
        return {}
    try:
        msgspec.json.decode(text or "", type=dict[str, Raw])
    except (msgspec.MsgspecError, RecursionError):
        return {"arguments": text}
    return Raw((text or "").encode())


def tool_id(message_id: str, number: int) -> str:
    """An id for a call to which its server gave none."""
    return f"toolu_{message_id.removeprefix('msg_')}{number:02}"
