"""Avro is read as fastavro reads it, and what would bring fastavro down is refused."""

from __future__ import annotations

import contextlib
import io
import json
import math
import struct
import tracemalloc
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splice.core.errors import EventError
from splice.serve.events.avro import MAX_DEPTH, Avro
from splice.serve.events.avro_values import MAX_WEIGHTLESS


def written(schema: Any, value: Any) -> bytes:
    sink = io.BytesIO()
    fastavro.schemaless_writer(sink, fastavro.parse_schema(schema), value)
    return sink.getvalue()


def read(schema: Any, message: bytes) -> Any:
    return Avro(schema).read(message, 0, "event.value")


def zigzag(number: int) -> bytes:
    number = (number << 1) ^ (number >> 63)
    number &= (1 << 64) - 1
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


# Schemas and values of every kind, as fastavro writes them.


def kinds(names: list[str]) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    """Pairs of a schema and what makes values of it."""
    finite = st.floats(allow_nan=False, allow_infinity=False)
    leaves: list[tuple[Any, st.SearchStrategy[Any]]] = [
        ("null", st.none()),
        ("boolean", st.booleans()),
        ("int", st.integers(-(2**31), 2**31 - 1)),
        ("long", st.integers(-(2**63), 2**63 - 1)),
        ("float", st.floats(width=32, allow_nan=False, allow_infinity=False)),
        ("double", finite),
        ("bytes", st.binary(max_size=20)),
        ("string", st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    ]

    def name() -> str:
        names.append(f"n{len(names)}")
        return names[-1]

    def fixed(size: int) -> tuple[Any, st.SearchStrategy[Any]]:
        return (
            {"type": "fixed", "name": name(), "size": size},
            st.binary(min_size=size, max_size=size),
        )

    def enum(count: int) -> tuple[Any, st.SearchStrategy[Any]]:
        symbols = [f"S{number}" for number in range(count)]
        schema = {"type": "enum", "name": name(), "symbols": symbols, "namespace": "of.enums"}
        return schema, st.sampled_from(symbols)

    def of_one(inner: tuple[Any, st.SearchStrategy[Any]]) -> list[Any]:
        schema, values = inner
        return [
            ({"type": "array", "items": schema}, st.lists(values, max_size=4)),
            ({"type": "map", "values": schema}, st.dictionaries(st.text("ab", max_size=3), values)),
            (["null", schema] if schema != "null" else ["null"], st.none()),
        ]

    def record(fields: list[tuple[Any, st.SearchStrategy[Any]]]) -> Any:
        schema = {
            "type": "record",
            "name": name(),
            "namespace": "of.records",
            "fields": [{"name": f"f{n}", "type": one} for n, (one, _) in enumerate(fields)],
        }
        return schema, st.fixed_dictionaries({f"f{n}": v for n, (_, v) in enumerate(fields)})

    leaf = st.one_of(
        st.sampled_from(leaves),
        st.integers(0, 5).map(fixed),
        st.integers(1, 5).map(enum),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            inner.flatmap(lambda one: st.sampled_from(of_one(one))),
            st.lists(inner, max_size=4).map(record),
        ),
        max_leaves=8,
    )


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_what_fastavro_writes_is_read_as_it_was(data: st.DataObject) -> None:
    schema, values = data.draw(kinds([]))
    value = data.draw(values)

    assert read(schema, written(schema, value)) == value


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_bytes_are_a_value_or_one_clear_error(data: st.DataObject) -> None:
    schema, values = data.draw(kinds([]))
    message = bytearray(written(schema, data.draw(values)))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(message)))
        message[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(EventError):  # and nothing else
        read(schema, bytes(message))


def test_a_record_that_holds_records_of_its_kind_is_read() -> None:
    schema = {
        "type": "record", "name": "Node", "namespace": "a.b", "fields": [
            {"name": "value", "type": "int"},
            {"name": "next", "type": ["null", "Node"]},
            {"name": "others", "type": {"type": "array", "items": "a.b.Node"}},
        ],
    }  # fmt: skip
    leaf = {"value": 3, "next": None, "others": []}
    value = {"value": 1, "next": {"value": 2, "next": leaf, "others": [leaf, leaf]}, "others": []}

    assert read(schema, written(schema, value)) == value


def test_names_are_found_by_their_namespace_and_in_other_schemas() -> None:
    parts = [
        {"type": "enum", "name": "Kind", "namespace": "shop", "symbols": ["A", "B"]},
        {"type": "record", "name": "shop.Item", "fields": [{"name": "kind", "type": "Kind"}]},
    ]
    schema = {
        "type": "record", "name": "Order", "namespace": "shop.orders", "fields": [
            {"name": "item", "type": "shop.Item"},
            {"name": "own", "type": {"type": "fixed", "name": "Key", "size": 2}},
            {"name": "again", "type": "Key"},
        ],
    }  # fmt: skip

    value = Avro(schema, parts).read(b"\x02abcd", 0, "event.value")

    assert value == {"item": {"kind": "B"}, "own": b"ab", "again": b"cd"}


BLOCKS = b"\x04\x02\x04\x01\x02\x06\x00"


def test_blocks_with_their_size_and_several_blocks_are_one_array() -> None:
    assert read({"type": "array", "items": "int"}, BLOCKS) == [1, 2, 3]


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}

LOGICAL: list[tuple[Any, Any, Any]] = [
    ({"type": "int", "logicalType": "date"}, date(1970, 1, 1), date(1970, 1, 1)),
    ({"type": "int", "logicalType": "date"}, date(2100, 12, 31), date(2100, 12, 31)),
    ({"type": "int", "logicalType": "time-millis"}, time(23, 59, 59, 999_000), None),
    ({"type": "long", "logicalType": "time-micros"}, time(0, 0, 0, 1), None),
    ({"type": "long", "logicalType": "timestamp-millis"}, datetime(1970, 1, 1, tzinfo=UTC), None),
    ({"type": "long", "logicalType": "timestamp-millis"}, datetime(1901, 1, 1, tzinfo=UTC), None),
    ({"type": "long", "logicalType": "timestamp-micros"},
     datetime(2100, 1, 1, 1, 2, 3, 4, tzinfo=UTC), None),
    ({"type": "long", "logicalType": "local-timestamp-millis"}, datetime(2100, 1, 1, 1), None),
    ({"type": "long", "logicalType": "local-timestamp-micros"}, datetime(1970, 1, 1), None),
    ({"type": "string", "logicalType": "uuid"}, uuid.UUID(int=5), str(uuid.UUID(int=5))),
    (DECIMAL, Decimal("-1234567.89"), None),
    ({"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 40},
     Decimal("0." + "1234567890" * 4), None),
    ({"type": "bytes", "logicalType": "decimal", "precision": 3}, Decimal(-999), None),
    ({**DECIMAL, "type": "fixed", "name": "f", "size": 5}, Decimal("-1234.56"), None),
    ({"type": "int", "logicalType": "of-another-kind"}, 7, 7),
    ({"type": "string", "logicalType": "date"}, "x", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "shown"), LOGICAL)
def test_logical_types_are_read_as_fastavro_reads_them(schema: Any, value: Any, shown: Any) -> None:
    found = read(schema, written(schema, value))

    assert found == (value if shown is None else shown)
    assert type(found) is type(value if shown is None else shown)


def test_a_uuid_of_16_bytes_and_nanoseconds_are_read_too() -> None:
    fixed = {"type": "fixed", "name": "u", "size": 16, "logicalType": "uuid"}
    assert read(fixed, uuid.UUID(int=9).bytes) == str(uuid.UUID(int=9))

    nanos = {"type": "long", "logicalType": "timestamp-nanos"}
    assert read(nanos, zigzag(1_500_000_999)) == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    local = {"type": "long", "logicalType": "local-timestamp-nanos"}
    assert read(local, zigzag(-1)) == datetime(1969, 12, 31, 23, 59, 59, 999_999)


NODE = {"type": "record", "name": "n", "fields": [{"name": "next", "type": ["null", "n"]}]}
EMPTY = {"type": "record", "name": "e", "fields": []}
NULLS = {
    "type": "record", "name": "r",
    "fields": [{"name": f"f{n}", "type": "null"} for n in range(500)],
}  # fmt: skip

BOMBS: list[tuple[str, Any, bytes]] = [
    ("a schema in itself, 5,000 levels", NODE, b"\x02" * 5000 + b"\x00"),
    ("a schema in itself, a million levels", NODE, b"\x02" * 1_000_000 + b"\x00"),
    ("a decimal of 1 MB", DECIMAL, zigzag(1_000_000) + b"\x7f" * 1_000_000),
    ("2**40 nulls", {"type": "array", "items": "null"}, zigzag(1 << 40) + b"\0"),
    ("2**40 empty records", {"type": "array", "items": EMPTY}, zigzag(1 << 40) + b"\0"),
    ("2**40 fixed of no bytes",
     {"type": "array", "items": {"type": "fixed", "name": "f", "size": 0}}, zigzag(1 << 40)),
    ("many blocks of nulls", {"type": "array", "items": "null"}, zigzag(9_000) * 100_000 + b"\0"),
    ("records of nulls", {"type": "array", "items": ["null", NULLS]},
     zigzag(100_000) + b"\x02" * 100_000 + b"\0"),
    ("2**40 numbers", {"type": "array", "items": "long"}, zigzag(1 << 40) + b"\0" * 9),
    ("2**40 keys", {"type": "map", "values": "long"}, zigzag(1 << 40) + b"\0" * 9),
    ("the smallest count there is", {"type": "array", "items": "null"}, zigzag(-(1 << 63)) + b"\0"),
    ("a text of 2**62 bytes", "string", zigzag(1 << 62) + b"a"),
    ("bytes of 2**40", "bytes", zigzag(1 << 40) + b"a"),
    ("a text of a negative length", "string", zigzag(-1) + b"a"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "message"), [one[1:] for one in BOMBS], ids=[b[0] for b in BOMBS]
)
def test_a_few_bytes_that_announce_much_take_little_memory(schema: Any, message: bytes) -> None:
    avro = Avro(schema)
    tracemalloc.start()
    try:
        with pytest.raises(EventError):
            avro.read(message, 0, "event.value")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 30_000_000


def test_some_nesting_and_some_values_without_bytes_are_no_bombs() -> None:
    value = read(NODE, b"\x02" * (MAX_DEPTH - 1) + b"\x00")
    assert json.dumps(value).count("next") == MAX_DEPTH
    with pytest.raises(EventError, match=f"deeper than {MAX_DEPTH} levels"):
        read(NODE, b"\x02" * (MAX_DEPTH + 1) + b"\x00")
    tree = {"type": "record", "name": "t", "fields": [
        {"name": "all", "type": {"type": "array", "items": "t"}}]}  # fmt: skip
    assert read(tree, zigzag(1000) + b"\0" * 1001) == {"all": [{"all": []}] * 1000}

    nulls = {"type": "array", "items": "null"}
    assert read(nulls, zigzag(MAX_WEIGHTLESS) + b"\0") == [None] * MAX_WEIGHTLESS


WRONG: list[tuple[Any, bytes, str]] = [
    ("boolean", b"\x02", "a boolean of the byte 2"),
    ("boolean", b"", "it ends early"),
    ("int", zigzag(1 << 31), "more than 32 bits"),
    ("long", b"\xff" * 9 + b"\x02", "more than 64 bits"),
    ("long", b"\xff" * 11, "more than ten bytes"),
    ("long", b"\xff", "it ends early"),
    ("long", b"", "it ends early"),
    ("long", b"\x00\x00", "1 bytes after the end"),
    ("float", b"\x00\x00", "it ends early"),
    ("double", struct.pack("<d", math.nan), "NaN"),
    ("float", struct.pack("<f", -math.inf), "infinity"),
    ("string", zigzag(2) + b"\xff\xfe", "not UTF-8"),
    ("string", zigzag(5) + b"abc", "it ends early"),
    (["null", "int"], zigzag(2), "branch 2 of a union of 2"),
    (["null", "int"], zigzag(-1), "branch -1 of a union of 2"),
    ({"type": "enum", "name": "e", "symbols": ["a"]}, zigzag(1), "symbol 1 of an enum of 1"),
    ({"type": "enum", "name": "e", "symbols": ["a"]}, zigzag(-1), "symbol -1 of an enum of 1"),
    ({"type": "fixed", "name": "f", "size": 4}, b"abc", "it ends early"),
    ({"type": "map", "values": "null"}, b"\x04\x02a\x02a\x00", "the key 'a' twice"),
    (DECIMAL, zigzag(8) + b"\x7f" * 8, "more than 9 digits"),
    ({"type": "int", "logicalType": "date"}, zigzag(2_000_000_000), "outside of the years"),
    ({"type": "int", "logicalType": "date"}, zigzag(-2_000_000_000), "outside of the years"),
    ({"type": "long", "logicalType": "timestamp-millis"}, zigzag(1 << 60), "outside of the years"),
    ({"type": "long", "logicalType": "timestamp-micros"}, zigzag(1 << 62), "outside of the years"),
    ({"type": "int", "logicalType": "time-millis"}, zigzag(86_400_000), "outside of the day"),
    ({"type": "long", "logicalType": "time-micros"}, zigzag(-1), "outside of the day"),
    ({"type": "string", "logicalType": "uuid"}, zigzag(3) + b"abc", "badly formed"),
]


@pytest.mark.parametrize(("schema", "message", "why"), WRONG)
def test_what_is_wrong_with_a_value_is_said(schema: Any, message: bytes, why: str) -> None:
    with pytest.raises(EventError) as refused:
        read(schema, message)

    assert why in refused.value.got


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("no-such-type", "refers to 'no-such-type'"),
        ({"type": "record", "name": "r", "fields": [{"name": "a", "type": "s"}]}, "refers to 's'"),
        ([EMPTY, EMPTY], "describes e twice"),
        ({"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}] * 2}, "twice"),
        ({"type": "fixed", "name": "f", "size": -1}, "not as it should be"),
        ({"type": "fixed", "name": "f"}, "not as it should be"),
        ({"type": "array"}, "not as it should be"),
        ({}, "not as it should be"),
        (7, "not as it should be"),
        (None, "not as it should be"),
        ({"type": "record", "name": "r", "fields": 5}, "not as it should be"),
        ({"type": "record", "name": 5, "fields": []}, "not as it should be"),
        ({"type": "enum", "name": "e", "symbols": 5}, "not as it should be"),
        ({"type": "fixed", "name": "f", "size": "x"}, "not as it should be"),
    ],
)
def test_what_is_no_schema_is_refused_when_it_comes(schema: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Avro(schema)


def test_a_schema_that_nests_too_deep_is_refused() -> None:
    schema: Any = "null"
    for _ in range(5000):
        schema = {"type": "array", "items": schema}

    with pytest.raises(ValueError, match="nests too deep"):
        Avro(schema)
