"""Sameness: which fields of a request change its answer, and what of it is the question itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from splice.core.chat import Asked, Dialect

_NO_MATTER = frozenset(
    {
        "stream",
        "stream_options",
        "user",
        "metadata",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
"""Fields that say who asks, or how the answer travels, but nothing of what it is."""

_LIVING = frozenset({"background", "conversation"})
"""Fields of a request whose answer is not in the reply, or hangs on what others add meanwhile."""

_BEYOND_TEXT = frozenset(
    {
        "audio",
        "function_call",
        "functions",
        "logprobs",
        "mcp_servers",
        "modalities",
        "prediction",
        "previous_response_id",
        "prompt",
        "tool_choice",
        "tools",
        "top_logprobs",
        "web_search_options",
    }
)
"""Fields whose answer is more than a text, or hangs on more than the texts asked with."""

_SPEAKERS = frozenset({"system", "developer", "assistant", "user"})
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_MAX_TEXT = 1000
"""Characters. Longer texts are documents, not questions: the encoder reads their beginning only."""


class _Unreadable(Exception):
    """JSON that we cannot read; whoever is asked may still."""


def fingerprint(asked: Asked, model: str) -> str | None:
    """SHA-256 of all that determines the answer; None where it must never be given twice.

    Args:
        asked: The request. White space and the order of fields do not matter, nor does whether
            the answer is streamed.
        model: The model, where the caller names it himself; else empty.
    """
    fields = asked.fields
    if any(_is_set(fields.get(name)) for name in _LIVING):
        return None
    return _digest([asked.dialect, model, asked.headers], fields, _NO_MATTER)


def canonical_json(body: bytes) -> bytes:
    """The same JSON for the same value: fields sorted, no white space; as it is if unreadable."""
    try:
        return _encoded(_read(msgspec.Raw(body)))
    except _Unreadable:
        return body


def semantic_parts(
    fields: Mapping[str, Any], dialect: Dialect = Dialect.CHAT
) -> tuple[str, str] | None:
    """What of a request has a meaning to compare: everything else as a hash, and the text.

    The text is the one that the user wrote. The hash covers all other fields and turns, so that two
    texts are only compared where the same was said around them. None where nearness of meaning is
    not enough: several turns of the user, tools and what they gave, images and sounds, more than
    one answer, log probabilities, and texts of more than 1,000 characters.

    Args:
        fields: Top-level fields of the body; values may be `msgspec.Raw`.
        dialect: `chat`, `messages` or `responses`; embeddings have no semantic neighbours.
    """
    where = "input" if dialect is Dialect.RESPONSES else "messages"
    if dialect is Dialect.EMBEDDINGS or any(_is_set(fields.get(n)) for n in _BEYOND_TEXT | _LIVING):
        return None
    try:
        if _read(fields.get("n")) not in (None, 1) or where not in fields:
            return None
        turns = _read(fields[where])
    except _Unreadable:
        return None
    if isinstance(turns, str):
        turns = [{"role": "user", "content": turns}] if where == "input" else None
    parted = _parted(turns)
    if parted is None:
        return None
    around, text = parted
    space = _digest([dialect, around], fields, _NO_MATTER | {where})
    return space, text


def _parted(turns: Any) -> tuple[list[Any], str] | None:
    """What surrounds the one text of the user, and that text."""
    if not isinstance(turns, list) or not turns:
        return None
    around: list[Any] = []
    text = ""
    listed = cast("list[Any]", turns)
    for position, turn in enumerate(listed):
        if not isinstance(turn, dict):
            return None
        turn = cast("dict[str, Any]", turn)
        role, last = turn.get("role"), position == len(listed) - 1
        said = _said(turn.get("content"))
        if role not in _SPEAKERS or said is None or (role == "user") is not last:
            return None
        if turn.get("tool_calls") or turn.get("function_call") or turn.get("audio"):
            return None
        if not last:
            around.append(turn)
            continue
        text, frame = said
        around.append([{k: v for k, v in turn.items() if k != "content"}, frame])
    return (around, text) if text.strip() and len(text) <= _MAX_TEXT else None


def _said(content: Any) -> tuple[str, dict[str, Any]] | None:
    """The text of a turn and what stands beside it; None where it is more than one text."""
    if isinstance(content, str):
        return content, {}
    if not isinstance(content, list) or len(cast("list[Any]", content)) != 1:
        return None
    part = cast("list[Any]", content)[0]
    if not isinstance(part, dict):
        return None
    part = cast("dict[str, Any]", part)
    text = part.get("text")
    if part.get("type") not in _TEXT_PARTS or not isinstance(text, str):
        return None
    # How a part is cached by the provider changes nothing of the answer.
    skipped = ("text", "type", "cache_control")
    return text, {k: v for k, v in part.items() if k not in skipped}


def _digest(head: list[Any], fields: Mapping[str, Any], without: frozenset[str]) -> str:
    """SHA-256 over JSON, whose brackets and quotes keep what stands side by side apart."""
    plain: dict[str, Any] = {}
    unread: dict[str, bytes] = {}
    for name, value in fields.items():
        if name in without:
            continue
        try:
            plain[name] = _read(value)
        except _Unreadable:
            unread[name] = bytes(value)
    return hashlib.sha256(_encoded([*head, plain, unread])).hexdigest()


def _read(value: Any) -> Any:
    if not isinstance(value, msgspec.Raw):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _Unreadable from error


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def _is_set(value: Any) -> bool:
    """Whether a field asks for something; null, false and empty ones do not."""
    try:
        return bool(_read(value))
    except _Unreadable:
        return True
