"""Parts of a message's content, in chat completions and in responses, and the URLs in them.

Kinds that we do not know pass through, as unknown fields do: providers have kinds of their own. But
no kind brings a URL past the check.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from splice.core.errors import InputMismatch
from splice.serve.openai.reading import missing
from splice.serve.urls import check_url


class Link(msgspec.Struct, gc=False):
    """Something behind a URL; `detail` says how closely a model looks at an image."""

    url: str
    detail: str | None = None


class Audio(msgspec.Struct, gc=False):
    """Sound in base64."""

    data: str
    format: str


class File(msgspec.Struct, gc=False):
    """A file: its content in base64, or the id that the provider gave it."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None
    file_url: str | None = None


class Part(msgspec.Struct, gc=False):
    """One part of a content, of whatever kind: which fields it must have, its `type` says."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Link | str | None = None
    input_audio: Audio | None = None
    file: File | None = None
    video_url: Link | str | None = None
    audio_url: Link | str | None = None
    document_url: Link | str | None = None
    detail: str | None = None
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None


_NEEDED = {
    name: name
    for name in ("text", "refusal", "image_url", "input_audio", "file", "video_url", "audio_url")
} | {"input_text": "text", "output_text": "text", "document_url": "document_url"}
_KNOWN = frozenset(_NEEDED) | {"input_image", "input_file", "summary_text", "reasoning_text"}
_FETCHED = ("image_url", "video_url", "audio_url", "document_url")


def check_parts(parts: list[Part], where: str, body: bytes) -> None:
    """Passes a content whose parts have what their kinds need, and whose URLs may be fetched.

    Raises:
        RequestError: A part lacks something, or has a URL that no provider may be asked to fetch.
    """
    for position, part in enumerate(parts):
        kind = part.type
        if kind == "text" and part.text is not None and part.image_url is None:
            continue
        place = f"{where}[{position}]"
        needed = _NEEDED.get(kind)
        if needed is not None and getattr(part, needed) is None:
            raise missing(f"{place}.{needed}", f"what a part of type {kind} holds")
        for name in _FETCHED:
            link: Link | str | None = getattr(part, name)
            if link is not None:
                _check(link, f"{place}.{name}")
        if part.file_url is not None:
            check_url(part.file_url, f"{place}.file_url")
        if part.file is not None and part.file.file_url is not None:
            check_url(part.file.file_url, f"{place}.file.file_url")
        if kind not in _KNOWN:
            check_unknown(body, place)


def _check(link: Link | str, where: str) -> None:
    if isinstance(link, str):
        check_url(link, where)
    else:
        check_url(link.url, f"{where}.url")


def check_unknown(body: bytes, where: str) -> None:
    """Passes a part or item of a kind that we do not know, if the URLs in it may be fetched.

    `where` is its path from the top of the body: `messages[0].content[1]`.

    Raises:
        RequestError: One of them may not.
    """
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputMismatch(where, got="a text with half a character in it") from error
    for step in where.replace("]", "").replace("[", ".").split("."):
        found = found[int(step) if step.isdecimal() else step]
    _check_within(found, where)


def _check_within(value: Any, where: str, name: str = "") -> None:
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            # In {"some_url": {"url": …}} as in {"some_url": …}.
            _check_within(inner, f"{where}.{key[:40]}", key.lower())
    elif isinstance(value, list):
        for position, inner in enumerate(cast("list[Any]", value)):
            _check_within(inner, f"{where}[{position}]", name)
    elif isinstance(value, str) and name.endswith(("url", "urls", "uri", "uris")):
        check_url(value, where)
