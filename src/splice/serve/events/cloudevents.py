"""CloudEvents 1.0 as they come: binary and structured, over Kafka and over HTTP, one or a batch."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from splice.core.errors import EventError, MalformedBody, UnsupportedMediaType
from splice.declare.bodies import malformed, refuse_duplicate_keys
from splice.serve.events.letter import Letter, refuse_empty, trace_from

STRUCTURED = b"application/cloudevents+json"
BATCH = b"application/cloudevents-batch+json"
_FAMILY = b"application/cloudevents"
_REQUIRED = ("specversion", "id", "source", "type")
_JSON = re.compile(rb"(?:application|text)/(?:[\w.+-]+\+)?json|[\w.-]+/[\w.+-]+\+json", re.I)
_UTF8 = re.compile(rb';\s*charset\s*=\s*"?([^";\s]+)', re.I)
_MOST_IN_BATCH = 10_000


class _Structured(msgspec.Struct, gc=False):
    """The attributes that are read; the others may be anything."""

    specversion: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    datacontenttype: str | None = None
    partitionkey: str | int | bool | None = None
    correlationid: str | int | bool | None = None
    traceparent: str | int | bool | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None


_ONE = msgspec.json.Decoder(_Structured)
_MANY = msgspec.json.Decoder(list[msgspec.Raw])
_LOOKS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def is_binary(names: Mapping[str, bytes]) -> bool:
    """Whether these headers (in lower case) are those of an event in binary mode."""
    return (
        "ce_specversion" in names or "ce_id" in names or "ce_source" in names or "ce_type" in names
    )


def is_structured(content_type: bytes) -> bool:
    """Whether a content type says that the whole event is in the body."""
    return content_type[:23].lower() == _FAMILY


def looks_structured(value: bytes) -> bool:
    """Whether a body is an event in structured mode that no header announces."""
    if b'"specversion"' not in value:
        return False
    try:
        found = _LOOKS.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return found.keys() >= set(_REQUIRED)


def binary_letter(names: Mapping[str, bytes], value: bytes) -> Letter:
    """The event whose attributes are `ce_` headers, and whose data is the body.

    Raises:
        EventError: An attribute that must be there is missing or empty, or is not UTF-8.
        UnsupportedMediaType: Its data is not JSON.
    """
    version = names.get("ce_specversion")
    if version != b"1.0":
        raise _version("event.ce_specversion", version)
    refuse_other_media(names.get("content-type"), "event.content-type")
    get = names.get
    key, group = get("ce_partitionkey"), get("ce_correlationid")
    return Letter(
        value,
        _text(names, "ce_id"),
        _text(names, "ce_source"),
        None if key is None else _text(names, "ce_partitionkey"),
        trace_from(get("traceparent") or get("ce_traceparent")),
        _text(names, "ce_type"),
        None if group is None else _text(names, "ce_correlationid"),
    )


def structured_letter(value: bytes, content_type: bytes, parent: bytes | None = None) -> Letter:
    """The event that is one JSON object; `parent` is the `traceparent` of its carrier.

    Raises:
        EventError: An attribute that must be there is missing, empty, or of another type.
        MalformedBody: It is not JSON, has a key twice, or nests too deep.
        UnsupportedMediaType: It is a batch, or not in the JSON format; or its data is not JSON.
    """
    kind = content_type.partition(b";")[0].strip().lower()
    if kind and is_structured(kind) and kind != STRUCTURED:
        raise UnsupportedMediaType(
            "event.content-type",
            got=_shown(kind),
            promised=f"{STRUCTURED.decode()}, one event a message",
        )
    refuse_other_charset(content_type, "event.content-type")
    return _letter_of(value, "event", parent)


def letters_of_http(headers: Mapping[bytes, bytes], body: bytes) -> list[Letter]:
    """The events of one HTTP request: binary, structured, a batch, or plain JSON.

    Args:
        headers: With names in lower case.
        body: Whole.

    Raises:
        EventError, MalformedBody, UnsupportedMediaType: As the other readers here.
    """
    content_type = headers.get(b"content-type", b"")
    kind = content_type.partition(b";")[0].strip().lower()
    parent = headers.get(b"traceparent")
    if kind == BATCH:
        refuse_other_charset(content_type, "event.content-type")
        return _batch(body, parent)
    if is_structured(kind):
        return [structured_letter(refuse_empty(body, "event.body"), content_type, parent)]
    names = {
        "ce_" + name[3:].decode("latin-1"): _unquoted(value)
        for name, value in headers.items()
        if name[:3] == b"ce-"
    }
    if not is_binary(names):
        refuse_other_media(content_type or None, "event.content-type")
        return [Letter(refuse_empty(body, "event.body"), trace=trace_from(parent))]
    if content_type:
        names["content-type"] = content_type
    if parent is not None:
        names["traceparent"] = parent
    try:
        return [binary_letter(names, refuse_empty(body, "event.body"))]
    except EventError as error:
        where = error.where.replace("event.ce_", "event.ce-")
        raise EventError(where, got=error.got, promised=error.promised, mend=error.mend) from None


def refuse_other_media(content_type: bytes | None, where: str) -> None:
    """Passes JSON in UTF-8, and data of which nothing is said.

    Raises:
        UnsupportedMediaType: It is said to be something else.
    """
    if content_type is None or content_type == b"application/json":
        return
    kind = content_type.partition(b";")[0].strip()
    if _JSON.fullmatch(kind) is None:
        raise UnsupportedMediaType(where, got=_shown(kind), promised="data in JSON")
    refuse_other_charset(content_type, where)


def refuse_other_charset(content_type: bytes, where: str) -> None:
    """Passes UTF-8, which JSON is in.

    Raises:
        UnsupportedMediaType: It is said to be in another character set.
    """
    found = _UTF8.search(content_type) if b";" in content_type else None
    if found is not None and found[1].lower() not in (b"utf-8", b"utf8", b"us-ascii"):
        raise UnsupportedMediaType(where, got=_shown(content_type), promised="JSON in UTF-8")


def _batch(body: bytes, parent: bytes | None) -> list[Letter]:
    try:
        events = _MANY.decode(body)
    except msgspec.ValidationError:
        raise MalformedBody(
            "event.body", got="another JSON value", promised="an array of events"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, "event.body") from None
    if len(events) > _MOST_IN_BATCH:
        raise EventError(
            "event.body", got=f"{len(events)} events", promised=f"at most {_MOST_IN_BATCH}"
        )
    return [_letter_of(bytes(one), f"event[{n}]", parent) for n, one in enumerate(events)]


def _letter_of(value: bytes, where: str, parent: bytes | None) -> Letter:
    # Before anything else: the typed decoder takes the last of two ids, and others the first.
    refuse_duplicate_keys(value, where)
    try:
        event = _ONE.decode(value)
    except msgspec.ValidationError as error:
        path = str(error).partition("`$")[2].rstrip("`")
        got = str(error).partition(" - at")[0]
        raise EventError(where + path, got=got, promised="a CloudEvent in JSON") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, where) from None
    if event.specversion != "1.0":
        version = event.specversion
        raise _version(f"{where}.specversion", None if version is None else version.encode())
    if not (event.id and event.source and event.type):
        name = next(one for one in _REQUIRED if not getattr(event, one))
        raise _missing(f"{where}.{name}", empty=getattr(event, name) is not None)
    media = event.datacontenttype
    if media is not None:
        refuse_other_media(media.encode("utf-8", "replace"), f"{where}.datacontenttype")
    traced = event.traceparent if isinstance(event.traceparent, str) else None
    return Letter(
        _data_of(event, where),
        event.id,
        event.source,
        _plain(event.partitionkey),
        trace_from(parent or (None if traced is None else traced.encode("utf-8", "replace"))),
        event.type,
        _plain(event.correlationid),
    )


def _data_of(event: _Structured, where: str) -> bytes:
    data = bytes(event.data)
    if event.data_base64 is None:
        if not data:
            raise EventError(f"{where}.data", got="nothing", promised="a request")
        return data
    if data:
        raise EventError(
            f"{where}.data_base64", got="both data and data_base64", promised="one of them"
        )
    try:
        decoded = base64.b64decode(event.data_base64, validate=True)
    except (binascii.Error, ValueError):
        raise EventError(
            f"{where}.data_base64", got="something else", promised="base64 (RFC 4648, section 4)"
        ) from None
    return refuse_empty(decoded, f"{where}.data_base64")


def _text(names: Mapping[str, bytes], name: str) -> str:
    value = names.get(name)
    if not value:
        raise _missing(f"event.{name}", empty=value is not None)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EventError(
            f"event.{name}", got=f"bytes that are not UTF-8 ({value[:16]!r})", promised="a text"
        ) from None


def _unquoted(value: bytes) -> bytes:
    """Percent-encoding undone, as the HTTP binding says (section 3.1.3.2)."""
    return unquote_to_bytes(value) if b"%" in value else value


def _plain(value: Any) -> str | None:
    """An attribute as a text; the format has booleans and integers too."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower()


def _version(where: str, version: bytes | None) -> EventError:
    if version is None:
        return _missing(where, empty=False)
    return EventError(where, got=_shown(version), promised="1.0")


def _missing(where: str, *, empty: bool) -> EventError:
    return EventError(
        where,
        got="an empty text" if empty else "nothing",
        promised="a text: CloudEvents requires specversion, id, source and type",
    )


def _shown(value: bytes) -> str:
    return repr(value[:80].decode("utf-8", "replace"))
