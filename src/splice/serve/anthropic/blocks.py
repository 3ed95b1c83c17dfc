"""Content blocks of Anthropic's Messages API: their documented fields, checked; others pass.

A block of a type that is not known here (a server tool's, a newer one) passes unread, but for URLs
in it that its provider would be asked to fetch.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import Raw

from splice.core.errors import InputMismatch, RequestError
from splice.serve.openai.reading import wrong_type
from splice.serve.urls import check_url


class Source(msgspec.Struct):
    """Where the bytes of an image or a document are."""

    type: str
    data: str | None = None
    media_type: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: str | list[Raw] | None = None


class Text(msgspec.Struct, tag_field="type", tag="text"):
    """A text."""

    text: str
    cache_control: dict[str, Raw] | None = None
    citations: list[Raw] | None = None


class Image(msgspec.Struct, tag_field="type", tag="image"):
    """A picture."""

    source: Source
    cache_control: dict[str, Raw] | None = None


class Document(msgspec.Struct, tag_field="type", tag="document"):
    """A PDF, a text, or blocks as a document."""

    source: Source
    title: str | None = None
    context: str | None = None
    citations: dict[str, Raw] | None = None
    cache_control: dict[str, Raw] | None = None


class ToolUse(msgspec.Struct, tag_field="type", tag="tool_use"):
    """A call of a tool; `input` is an object."""

    id: str
    name: str
    input: Raw
    cache_control: dict[str, Raw] | None = None


class ToolResult(msgspec.Struct, tag_field="type", tag="tool_result"):
    """What a tool gave back."""

    tool_use_id: str
    content: str | list[Raw] | None = None
    is_error: bool | None = None
    cache_control: dict[str, Raw] | None = None


class Thinking(msgspec.Struct, tag_field="type", tag="thinking"):
    """What the model thought before; only its own provider can read the signature."""

    thinking: str
    signature: str


class RedactedThinking(msgspec.Struct, tag_field="type", tag="redacted_thinking"):
    """The same, encrypted."""

    data: str


class SearchResult(msgspec.Struct, tag_field="type", tag="search_result"):
    """A text found by the caller's own search."""

    source: str
    title: str
    content: list[Text]
    citations: dict[str, Raw] | None = None
    cache_control: dict[str, Raw] | None = None


class Other(msgspec.Struct):
    """A block that is not known here."""

    type: str


Block = (
    Text | Image | Document | ToolUse | ToolResult | Thinking | RedactedThinking | SearchResult
    | Other
)  # fmt: skip

_KNOWN: dict[str, msgspec.json.Decoder[Any]] = {
    "text": msgspec.json.Decoder(Text),
    "image": msgspec.json.Decoder(Image),
    "document": msgspec.json.Decoder(Document),
    "tool_use": msgspec.json.Decoder(ToolUse),
    "tool_result": msgspec.json.Decoder(ToolResult),
    "thinking": msgspec.json.Decoder(Thinking),
    "redacted_thinking": msgspec.json.Decoder(RedactedThinking),
    "search_result": msgspec.json.Decoder(SearchResult),
}
_OTHER = msgspec.json.Decoder(Other)
_OBJECT = msgspec.json.Decoder(dict[str, Raw])


def blocks_of(content: str | list[Raw] | None, where: str) -> list[Block]:
    """The blocks of a message, a document or a tool's result; a text is one block.

    Raises:
        InputMismatch: A documented field is of another type; `where` names it.
        RequestError: A URL in it is not public.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    return [_block(raw, f"{where}[{index}]") for index, raw in enumerate(content)]


def decoded(decoder: msgspec.json.Decoder[Any], raw: Raw, where: str) -> Any:
    """A part of the body by its own decoder, with its place in errors.

    Raises:
        InputMismatch: It is of another type.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        wrong = wrong_type(error)
        inner = "" if wrong.where == "body" else wrong.where
        place = where + (inner if inner.startswith("[") or not inner else f".{inner}")
        raise InputMismatch(place, got=wrong.got, promised=wrong.promised) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InputMismatch(
            where, got="half a character (a lone surrogate)", promised="whole characters"
        ) from None


def _block(raw: Raw, where: str) -> Block:
    kind: str = decoded(_OTHER, raw, where).type
    decoder = _KNOWN.get(kind)
    if decoder is None:
        _check_unknown(raw, where)
        return Other(kind)
    block = decoded(decoder, raw, where)
    if isinstance(block, (Image, Document)):
        _check_source(block.source, f"{where}.source")
    elif isinstance(block, ToolResult):
        blocks_of(block.content, f"{where}.content")
    elif isinstance(block, ToolUse):
        decoded(_OBJECT, block.input, f"{where}.input")
    return cast("Block", block)


def _check_source(source: Source, where: str) -> None:
    needed = {"base64": "data", "text": "data", "url": "url", "file": "file_id"}.get(source.type)
    if needed is not None and getattr(source, needed) is None:
        raise InputMismatch(f"{where}.{needed}", got="nothing", promised="a string")
    if source.url is not None:
        check_url(source.url, f"{where}.url")
    blocks_of(source.content, f"{where}.content")


def _check_unknown(raw: Raw, where: str) -> None:
    """Looks for sources in a block of an unknown type: `{"type": "url", "url": ...}`."""
    if b"url" not in bytes(raw) and b"\\u" not in bytes(raw):
        return
    try:
        block = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestError(where, got="a value that cannot be read", promised="a block") from None
    _walk(block, where)


def _walk(value: object, where: str) -> None:
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        url = fields.get("url")
        if fields.get("type") == "url" and isinstance(url, str):
            check_url(url, f"{where}.url")
        for name, below in fields.items():
            _walk(below, f"{where}.{name}")
    elif isinstance(value, list):
        for index, below in enumerate(cast("list[object]", value)):
            _walk(below, f"{where}[{index}]")
