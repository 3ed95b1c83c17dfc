"""The messages of a chat completion request as the turns and blocks of Anthropic's API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from splice.core.errors import RequestError

Block = dict[str, Any]  # one content block, as the wire has it

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*);base64,", re.ASCII)
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
_MEDIA = {"image/jpg": "image/jpeg"}


class _Image(msgspec.Struct):
    url: str = ""


class _File(msgspec.Struct):
    file_data: str | None = None
    filename: str | None = None


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    refusal: str = ""
    image_url: _Image | str | None = None
    file: _File | None = None
    cache_control: Raw | UnsetType = UNSET


class _Call(msgspec.Struct):
    name: str
    arguments: str = ""


class _ToolCall(msgspec.Struct):
    id: str = ""
    function: _Call | None = None


class Turn(msgspec.Struct):
    """One message of a chat completion request."""

    role: str
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    cache_control: Raw | UnsetType = UNSET


def called_tools(messages: Sequence[Turn]) -> list[str]:
    """Names of the tools that were called in a conversation, each once."""
    calls = (call for turn in messages for call in turn.tool_calls or ())
    return list(dict.fromkeys(call.function.name for call in calls if call.function))


def system_and_turns(messages: Sequence[Turn], model: str) -> tuple[list[Block], list[Block]]:
    """The system prompt's blocks, and alternating turns, the results of tools first in theirs.

    Raises:
        RequestError: There is nothing to answer, or a part that the API does not take.
    """
    system: list[Block] = []
    turns: list[Block] = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if message.role in ("system", "developer"):
            system += _blocks(message, where)
        elif message.role == "assistant":
            _add(turns, "assistant", _assistant(message, where))
        elif message.role == "tool":
            _add(turns, "user", [_result(message, where)])
        elif message.role == "user":
            _add(turns, "user", _blocks(message, where))
        else:
            raise RequestError(
                f"{where}.role",
                got=repr(message.role),
                promised="system, developer, user, assistant or tool",
            )
    if not turns and system:  # a system prompt alone is a question, too
        turns, system = [{"role": "user", "content": system}], []
    if not turns:
        raise RequestError("messages", got="no text", promised=f"something that {model} can answer")
    for turn in turns:  # Anthropic wants results before anything else of the turn
        turn["content"].sort(key=_after_results)
    return system, turns


def _after_results(block: Block) -> bool:
    return block["type"] != "tool_result"


def _add(turns: list[Block], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _blocks(message: Turn, where: str) -> list[Block]:
    """The parts of a message as blocks; the API refuses empty texts, so they are left out."""
    if not isinstance(message.content, list):
        plain: Block = {"type": "text", "text": message.content}
        blocks = [plain] if message.content else []
    else:
        parts = enumerate(message.content)
        blocks = [b for i, part in parts if (b := _block(part, f"{where}.content[{i}]"))]
    if blocks and message.cache_control is not UNSET:
        blocks[-1].setdefault("cache_control", message.cache_control)
    return blocks


def _block(part: _Part, where: str) -> Block | None:
    if part.type in ("text", "refusal"):
        text = part.text or part.refusal
        block: Block | None = {"type": "text", "text": text} if text else None
    elif part.type == "image_url" and part.image_url is not None:
        url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
        block = {"type": "image", "source": _source(url, where)}
    elif part.type == "file" and part.file is not None and part.file.file_data:
        block = {"type": "document", "source": _source(part.file.file_data, where)}
        if part.file.filename:
            block["title"] = part.file.filename
    else:
        raise RequestError(
            where,
            got=f"a part of type {part.type!r}",
            promised="text, image_url, or a file with file_data",
        )
    if block is not None and part.cache_control is not UNSET:
        block["cache_control"] = part.cache_control
    return block


def _source(url: str, where: str) -> Block:
    """Where the bytes of an image or a document are: in the URL itself, or behind it."""
    if url[:5].lower() != "data:":
        return {"type": "url", "url": url}
    head = _DATA_URL.match(url)
    if head is None:
        raise RequestError(
            where, got="a data: URL of another form", promised="data:MEDIA/TYPE;base64,..."
        )
    kind = (head[1] or "application/octet-stream").lower()
    return {"type": "base64", "media_type": _MEDIA.get(kind, kind), "data": url[head.end() :]}


def _assistant(message: Turn, where: str) -> list[Block]:
    blocks = _blocks(message, where)
    if message.refusal:
        blocks.append({"type": "text", "text": message.refusal})
    for number, call in enumerate(message.tool_calls or ()):
        if call.function is None:
            at = f"{where}.tool_calls[{number}]"
            raise RequestError(at, got="a call without a function", promised="a function call")
        used = {"id": _fit(call.id), "name": call.function.name, "input": _input(call.function)}
        blocks.append({"type": "tool_use", **used})
    return blocks


def _input(call: _Call) -> Any:
    """The arguments as the object they should be.

    A model may have written something else, and the conversation goes on all the same: then it is
    carried as a text, so that the model sees what it did.
    """
    text = call.arguments.strip() or "{}"
    try:
        msgspec.json.decode(text, type=dict[str, Raw])
    except (msgspec.MsgspecError, RecursionError):
        return {"arguments": call.arguments}
    return Raw(text.encode())


def _result(message: Turn, where: str) -> Block:
    if not message.tool_call_id:
        raise RequestError(
            f"{where}.tool_call_id", got="nothing", promised="the id of the call that it answers"
        )
    block: Block = {"type": "tool_result", "tool_use_id": _fit(message.tool_call_id)}
    if content := _blocks(message, where):
        block["content"] = content
    return block


def _fit(call_id: str) -> str:
    """An id in the alphabet that Anthropic takes; others write dots and colons into theirs."""
    return _UNFIT.sub("_", call_id) or "call"
