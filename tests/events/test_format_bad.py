"""Whatever comes, an event is opened and its body decoded, or there is one clear error."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import tracemalloc
from typing import Any

import msgspec
import pytest
from format_house import ORDER, TRACED, Order, event
from hypothesis import given, settings
from hypothesis import strategies as st

from splice.core.errors import (
    EventError,
    InputMismatch,
    MalformedBody,
    SpliceError,
    UnsupportedMediaType,
)
from splice.core.events import Event, Headers, Origin
from splice.declare.codec import codec
from splice.ports.schemas import Schema, SchemaKey
from splice.serve.events.cloudevents import letters_of_http
from splice.serve.events.envelope import Envelopes, Format

REQUEST = codec(Order)
NODE = (
    '{"type":"record","name":"n","fields":[{"name":"customer","type":"string"},'
    '{"name":"amount_eur","type":"double"},{"name":"next","type":["null","n"]}]}'
)


class Schemas:
    """Two schemas: 1 is Avro that refers to itself, 2 is JSON."""

    async def schema(self, key: SchemaKey) -> Schema:
        return Schema("AVRO", NODE) if key == 1 else Schema("JSON", "{}")

    async def close(self) -> None:
        """Nothing to do."""


@pytest.fixture(scope="module")
def every() -> dict[str, Envelopes]:
    """For each setting one that has the schemas."""
    forms: tuple[Format, ...] = ("auto", "json", "cloudevents", "registry")
    made = {form: Envelopes(form, Schemas()) for form in forms}

    async def fetch() -> None:
        await asyncio.gather(*(one.fetch(key) for one in made.values() for key in (1, 2)))

    asyncio.run(fetch())
    return made


@pytest.fixture
def envelopes(every: dict[str, Envelopes]) -> Envelopes:
    return every["auto"]


def error_of(envelopes: Envelopes, message: Event) -> SpliceError | None:
    """What the way of an event ends with, up to its request."""
    found: SpliceError | None = None
    try:
        envelopes.missing(message)
        REQUEST.decode(envelopes.open(message).body, "orders.input")
    except SpliceError as error:
        found = error
    assert found is None or (not found.retryable and str(found).encode())
    return found


CLOUD = b"application/cloudevents+json"
START = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":'
BODIES: list[tuple[str, bytes, type[SpliceError]]] = [
    ("no JSON", b"hello", MalformedBody),
    ("half of it", ORDER[:-1], MalformedBody),
    ("two values", ORDER + ORDER, MalformedBody),
    ("one key twice", b'{"customer":"a","customer":"b","amount_eur":1}', MalformedBody),
    ("NaN", b'{"customer":"a","amount_eur":NaN}', MalformedBody),
    ("an infinity", b'{"customer":"a","amount_eur":Infinity}', MalformedBody),
    ("100,000 brackets", b"[" * 100_000, MalformedBody),
    ("nested objects", b'{"a":' * 100_000, MalformedBody),
    ("not UTF-8", b'{"customer":"\xff","amount_eur":1}', MalformedBody),
    ("UTF-16", '{"customer":"a"}'.encode("utf-16"), MalformedBody),
    ("another type", b'{"customer":5,"amount_eur":1}', InputMismatch),
    ("an array", b"[1,2]", InputMismatch),
    ("null", b"null", InputMismatch),
    ("20 MB", b'{"customer":"a","amount_eur":"' + b"x" * 20_000_000 + b'"}', InputMismatch),
    ("20 MB of nothing", b" " * 20_000_000, MalformedBody),
    ("a number of 100,000 digits", b'{"customer":"a","amount_eur":' + b"9" * 100_000 + b"}",
     InputMismatch),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kind"), [b[1:] for b in BODIES], ids=[b[0] for b in BODIES])
def test_a_bad_body_is_the_same_error_in_every_envelope(
    envelopes: Envelopes, body: bytes, kind: type[SpliceError]
) -> None:
    binary = (
        ("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/s"), ("ce_type", b"t"),
    )  # fmt: skip

    assert type(error_of(envelopes, event(body))) is kind
    assert type(error_of(envelopes, event(body, binary))) is kind
    framed = b"\0\0\0\0\2" + body
    assert type(error_of(envelopes, event(framed))) is kind
    structured = event(START + body + b"}", (("content-type", CLOUD),))
    assert error_of(envelopes, structured) is not None


@pytest.mark.parametrize("value", [None, b""])
@pytest.mark.parametrize("form", ["auto", "json", "cloudevents", "registry"])
def test_a_tombstone_is_no_call(value: bytes | None, form: Any) -> None:
    headers = (("ce_specversion", b"1.0"), ("content-type", CLOUD))

    for message in (event(value), event(value, headers)):
        assert Envelopes(form, Schemas()).missing(message) is None
        with pytest.raises(EventError) as refused:
            Envelopes(form, Schemas()).open(message)
        assert refused.value.code == "bad_event"
        assert ("tombstone" in refused.value.got) == (value is None)


def test_20_mb_are_opened_without_a_copy(envelopes: Envelopes) -> None:
    body = b'{"customer":"' + b"x" * 20_000_000 + b'","amount_eur":1}'
    tracemalloc.start()
    try:
        letter = envelopes.open(event(body, (("a", b"1"),)))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert letter.body is body
    assert most < 100_000


@pytest.mark.parametrize("at_us", [0, 4_102_444_800_000_000, -1, 1 << 62])
def test_the_time_of_an_event_is_of_no_concern(envelopes: Envelopes, at_us: int) -> None:
    message = Event(Origin("kafka:orders", 0, 1), None, ORDER, (), at_us)

    assert error_of(envelopes, message) is None


# Anything at all.

NAMES = st.sampled_from(
    ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_partitionkey", "ce_traceparent",
     "ce_correlationid", "content-type", "traceparent", "tracestate", "__value_schema_id", "CE_ID"]
)  # fmt: skip
TEXTS = st.sampled_from(
    [b"1.0", b"0.3", b"", b"1", CLOUD, b"application/json", b"application/cloudevents-batch+json",
     b"text/plain; charset=latin-1", TRACED.encode(), b"\xff", b"\0\0\0\0\1", b"\1" * 17]
)  # fmt: skip
HEADERS = st.lists(
    st.tuples(st.one_of(NAMES, st.text(max_size=5)), st.one_of(TEXTS, st.binary(max_size=20))),
    max_size=8,
).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
MEMBERS = st.sampled_from(
    ["specversion", "id", "source", "type", "data", "data_base64", "datacontenttype",
     "partitionkey", "traceparent", "correlationid"]
)  # fmt: skip
ORDERS = st.builds(
    lambda customer, amount: json.dumps({"customer": customer, "amount_eur": amount}).encode(),
    st.text(max_size=5), st.floats(),
)  # fmt: skip
AVRO = st.builds(
    lambda amount, tail: b"\0\0\0\0\1\x02a" + struct.pack("<d", amount) + tail,
    st.floats(), st.binary(max_size=6),
)  # fmt: skip
CLOUDS = st.dictionaries(MEMBERS, st.one_of(st.sampled_from(["1.0", "a", "e30="]), JSON)).map(
    lambda made: json.dumps({"specversion": "1.0", **made}).encode()
)
VALUES = st.one_of(st.none(), st.binary(max_size=40), ORDERS, AVRO, CLOUDS,
                   JSON.map(lambda made: json.dumps(made).encode()),
                   st.binary(max_size=20).map(lambda tail: b"\0\0\0\0\2" + tail))  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(VALUES, HEADERS, st.sampled_from(["auto", "json", "cloudevents", "registry"]))
def test_no_event_brings_anything_but_an_error_of_ours(
    every: dict[str, Envelopes], value: bytes | None, headers: Headers, form: str
) -> None:
    error_of(every[form], event(value, headers))


BATCHES = st.lists(CLOUDS).map(lambda made: b"[" + b",".join(made) + b"]")


@settings(max_examples=300, deadline=None)
@given(st.one_of(VALUES.map(lambda made: made or b""), BATCHES), HEADERS)
def test_no_http_request_brings_anything_but_an_error_of_ours(
    body: bytes, headers: Headers
) -> None:
    named = {n.lower().replace("ce_", "ce-").encode("utf-8", "replace"): v for n, v in headers}
    with contextlib.suppress(EventError, MalformedBody, UnsupportedMediaType):  # and nothing else
        for letter in letters_of_http(named, body):
            assert letter.body


def test_what_reads_a_request_reads_what_avro_became(envelopes: Envelopes) -> None:
    value = b"\0\0\0\0\1\x06c-1" + struct.pack("<d", 12.5) + b"\0"

    body = envelopes.open(event(value)).body

    assert msgspec.json.decode(body) == {"customer": "c-1", "amount_eur": 12.5, "next": None}
    assert isinstance(error_of(envelopes, event(value)), InputMismatch)  # next is not declared
