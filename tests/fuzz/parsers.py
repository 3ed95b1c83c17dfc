"""Parsers of what comes from outside, each as a function of bytes that may only read or refuse.

Whoever calls one with any bytes comes back, or the parser is at fault. What it reads must besides
hold together: it can be written again, masked JSON is JSON, and no part of a stream is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec

from splice.adapters.providers.sse import EventCutter, events_of
from splice.adapters.spools.files import FileSpool
from splice.app import settings
from splice.console.search import search_of
from splice.control.masking import Masking, NotMasked
from splice.control.masking_rules import RULES
from splice.core.call import Reason, Record, Status
from splice.core.errors import DeclarationError, EventError, RequestError, SettingsError, StoreError
from splice.core.events import Event, Origin
from splice.declare.codec import codec
from splice.declare.prompts import parse_prompt
from splice.oip.bodies import read_request, read_response
from splice.ports.schemas import Schema, SchemaKey
from splice.serve.anthropic.request import read_count, read_messages
from splice.serve.events.envelope import Envelopes
from splice.serve.openai.reading import fields_of


class _Part(msgspec.Struct):
    name: str
    amount: float
    kind: Literal["a", "b"] = "a"


class _Order(msgspec.Struct):
    customer: str
    parts: list[_Part]
    note: str | None = None
    more: dict[str, Any] = {}


_CODEC = codec(_Order)
_MASKING = Masking(tuple(RULES), {"order": "order-[0-9]{4}"})
_AVRO = """{"type": "record", "name": "Order", "fields": [
    {"name": "customer", "type": "string"},
    {"name": "parts", "type": {"type": "array", "items": ["null", "double", "bytes"]}},
    {"name": "more", "type": {"type": "map", "values": "long"}},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["a", "b"]}},
    {"name": "mark", "type": {"type": "fixed", "name": "Mark", "size": 3}}]}"""


class _Schemas:
    """A registry with two schemas."""

    async def schema(self, key: SchemaKey) -> Schema:
        return Schema("AVRO", _AVRO) if key == 1 else Schema("JSON", "{}")

    async def close(self) -> None:
        return


def request(raw: bytes) -> None:
    """The body of a call."""
    try:
        found = _CODEC.decode(raw, "input")
    except RequestError:
        return
    assert _CODEC.decode(_CODEC.encode(found), "input") == found


def masking(raw: bytes) -> None:
    """The walk through a document that is masked."""
    try:
        masked = _MASKING.mask(raw)
    except NotMasked:
        return
    assert _MASKING.mask(masked) == masked
    msgspec.json.decode(masked)


def envelope(raw: bytes) -> None:
    """An event: CloudEvents in both modes, JSON, or a Schema Registry's wire format.

    The first byte says which headers it has.
    """
    kinds: list[tuple[tuple[str, bytes], ...]] = [
        (),
        (("content-type", b"application/cloudevents+json"),),
        (("content-type", raw[1:9]),),
        (("ce_specversion", b"1.0"), ("ce_id", raw[1:4]), ("ce_source", b"/s"), ("ce_type", b"t")),
        (("traceparent", raw[1:60]),),
    ]
    headers = kinds[raw[0] % len(kinds)] if raw else ()
    event = Event(Origin("kafka:orders", 0, 1), None, raw[1:], headers)
    for form in ("auto", "cloudevents", "json"):
        try:
            Envelopes(form, None).open(event)
        except (EventError, RequestError):
            continue


_SCHEMAS = Envelopes("registry", _Schemas())
for _key in (1, 2):
    asyncio.run(_SCHEMAS.fetch(_key))


def registry(raw: bytes) -> None:
    """Avro and JSON in a Schema Registry's wire format."""
    for head in (b"", b"\0\0\0\0\1", b"\0\0\0\0\2"):
        event = Event(Origin("kafka:orders", 0, 1), None, head + raw, ())
        if _SCHEMAS.missing(event) is not None:
            continue
        try:
            _SCHEMAS.open(event)
        except (EventError, RequestError):
            continue


def oip(raw: bytes) -> None:
    """Open Inference Protocol: JSON, and JSON followed by the bytes of tensors."""
    for length in (None, b"0", b"%d" % (len(raw) // 2), raw[:2]):
        for read in (read_request, read_response):
            try:
                _, tensors = read(raw, length, "body")
            except RequestError:
                continue
            for one in tensors:
                for write in (one.raw, one.data):  # what has no such form is refused
                    with suppress(RequestError):
                        write()


def vendors(raw: bytes) -> None:
    """The bodies of OpenAI's and Anthropic's protocols."""
    for read in (fields_of, read_messages, read_count):
        try:
            read(raw)
        except RequestError:
            continue


def stream(raw: bytes) -> None:
    """Server-sent events, whatever pieces they come in."""
    assert _cut([raw[at : at + 1] for at in range(len(raw))]) == _cut([raw])


def _cut(pieces: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Type and text of every event that says something."""
    cutter = EventCutter()
    whole = b"".join([*(cutter.feed(one) for one in pieces), cutter.rest()])
    return [(kind, text) for _, kind, text in events_of(whole) if kind or text]


def prompt(raw: bytes) -> None:
    """A prompt's file."""
    text = raw.decode("utf-8", "replace")
    for before in (False, True):
        try:
            parse_prompt(text, "prompts/a.md", before=before)
        except DeclarationError:
            continue


def toml(raw: bytes) -> None:
    """splice.toml."""
    with TemporaryDirectory() as folder:
        (Path(folder) / settings.FILE).write_bytes(raw)
        try:
            settings.load(Path(folder), {})
        except SettingsError:
            return


def search(raw: bytes) -> None:
    """The query of the console's search."""
    query = dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        search_of(query, None)
    except RequestError:
        return


def spool(raw: bytes) -> None:
    """A file of the spool, torn or of somebody else."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "1.records").write_bytes(raw)
        kept = FileSpool(Path(folder))
        try:
            found = kept.oldest()
        except StoreError:
            return
        assert found is not None or not len(kept)


PARSERS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        request, masking, envelope, registry, oip, vendors, stream, prompt, toml, search, spool,
    )
}  # fmt: skip

_RECORD = Record(
    "0199e1f0-1a2b-7c3d-8e4f-000000000001", "orders", 1, 1, 1, Status.ANSWERED, Reason.FIRST,
    "http", entity="c-1", input=b'{"customer":"c"}', reply=b"{}", notes=("a note",),
)  # fmt: skip

SEEDS: dict[str, list[bytes]] = {
    "request": [b'{"customer":"c","parts":[{"name":"n","amount":1.5,"kind":"b"}],"more":{}}'],
    "masking": [
        b'{"a":"write to anna@example.org","b":["NL91ABNA0417164300",{"c":"4111 1111 1111 1111"}]}',
        b'"call +49 30 901820 order-1234 \\u0061nna\\u0040example.org"',
    ],
    "envelope": [
        b'\x00{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}',
        b'\x01{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"e30="}',
        b'\x03{"customer":"c"}',
    ],
    "registry": [
        b"\x06c-1\x04\x02\x00\x00\x00\x00\x00\x00\xf8\x3f\x00\x00\x02\x02a\x08\x00\x00abc",
    ],
    "oip": [
        b'{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":[1,2]}]}',
        b'{"outputs":[{"name":"a","shape":[2],"datatype":"BYTES","parameters":'
        b'{"binary_data_size":10}}]}\x01\x00\x00\x00a\x01\x00\x00\x00b',
    ],
    "vendors": [
        b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text",'
        b'"text":"hi"}]}],"tools":[{"name":"t","input_schema":{}}]}',
    ],
    "stream": [b"data: a\r\n\r\nevent: x\ndata: b\n\n: c\rdata\r\r"],
    "prompt": [
        b"---\nname: text\nage: number = 3\n---\n## system\nBe kind.\n## user\n{{name}} {{age}}\n",
    ],
    "toml": [
        b'[project]\nmodules = ["a"]\n[server]\nport = 8000\n[providers.a]\nkind = "openai"\n'
        b'api_key_env = "KEY"\n[alerts.a]\nkind = "slack"\nurl_env = "URL"\n',
    ],
    "search": [b"q=a&decision=reply.action%3Dship&slower=250&release=3&before=x&outcome=a>3"],
    "spool": [msgspec.msgpack.encode([_RECORD])],
}  # fmt: skip
"""What each of them begins with: something that it reads."""
