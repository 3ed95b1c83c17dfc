"""Bytes to types and back: what is not of the type, or could be read in two ways, is refused."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import json
import time
from typing import Any, Literal, Optional

import msgspec
import pydantic
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from splice.core.errors import InputMismatch, MalformedBody
from splice.declare.bodies import refuse_duplicate_keys
from splice.declare.codec import checked_entity, codec, entity_field, field_names
from splice.declare.spec import Entity, Reply, Request

WHERE = "order.input"


class Line(Request):
    sku: str
    count: int = 1


class Order(Request):
    customer: Entity
    amount: float
    lines: list[Line] = []  # noqa: RUF012 - a Struct copies it
    note: Optional[str] = None  # noqa: UP045 - how half of the world writes it
    kind: Literal["a", "b"] = "a"


@dataclasses.dataclass
class LineData:
    sku: str
    count: int = 1


@dataclasses.dataclass(slots=True)
class OrderData:
    customer: Entity
    amount: float
    lines: list[LineData] = dataclasses.field(default_factory=list)
    note: str | None = None
    kind: Literal["a", "b"] = "a"


class LineModel(pydantic.BaseModel):
    sku: str
    count: int = 1


class OrderModel(pydantic.BaseModel):
    customer: Entity
    amount: float
    lines: list[LineModel] = []
    note: str | None = None
    kind: Literal["a", "b"] = "a"


KINDS = [Order, OrderData, OrderModel]
every_kind = pytest.mark.parametrize("kind", KINDS)
FULL = {"customer": "c", "amount": 1.5, "lines": [{"sku": "s", "count": 2}], "note": "n",
        "kind": "b"}  # fmt: skip


@every_kind
def test_what_is_read_can_be_written_and_read_again(kind: Any) -> None:
    made = codec(kind).decode(json.dumps(FULL).encode(), WHERE)

    assert json.loads(codec(kind).encode(made)) == FULL
    assert codec(kind).decode(codec(kind).encode(made), WHERE) == made
    assert codec(kind).convert(made, WHERE) == made
    assert codec(kind).convert(FULL, WHERE) == made
    assert set(codec(kind).fields(made)) == set(FULL) == set(field_names(kind))


@every_kind
def test_what_is_left_out_takes_its_default(kind: Any) -> None:
    made = codec(kind).decode(b'{"customer":"c","amount":2}', WHERE)

    assert (made.amount, made.lines, made.note, made.kind) == (2.0, [], None, "a")


@every_kind
@pytest.mark.parametrize(
    ("written", "mend"),
    [("amout", "did you mean amount? Otherwise leave out amout"), ("zzz", "leave out zzz")],
)
def test_a_slip_in_a_name_is_told_with_the_name_that_was_meant(
    kind: Any, written: str, mend: str
) -> None:
    with pytest.raises(InputMismatch) as raised:
        codec(kind).decode(f'{{"customer":"c","amount":1,"{written}":2}}'.encode(), WHERE)

    assert (raised.value.mend or "").startswith(mend)


@every_kind
@pytest.mark.parametrize(
    ("body", "place", "got"),
    [
        ('{"amount":1}', ".customer", "nothing"),
        ('{"customer":"c","amount":"x"}', ".amount", "str"),
        ('{"customer":"c","amount":null}', ".amount", "n"),
        ('{"customer":"c","amount":1,"more":2}', ".more", "an unknown field"),
        ('{"customer":"c","amount":1,"kind":"z"}', ".kind", ""),
        ('{"customer":"c","amount":1,"lines":[{"count":1}]}', ".lines", "nothing"),
        ('{"customer":"c","amount":1,"lines":[{"sku":1}]}', ".lines", "int"),
        ("[]", "", "array"),
        ("5", "", "int"),
    ],
)
def test_a_mismatch_names_the_field_and_what_came(kind: Any, body: str, place: str, got: str):
    if kind is OrderModel and got in ("array",):
        got = "list"

    with pytest.raises(InputMismatch) as raised:
        codec(kind).decode(body.encode(), WHERE)

    assert raised.value.where.startswith(WHERE + place)
    assert got in raised.value.got
    assert raised.value.promised


@every_kind
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff", b"nul", b'{"customer":"c","amount":NaN}',
        b'{"customer":"c","amount":Infinity}', b'{"customer":"c","amount":-Infinity}',
        b"\xef\xbb\xbf{}", b'{"customer":"c","amount":1}{}', b"[" * 100_000,
        b'{"customer":"\xff","amount":1}', '{"customer":"c","amount":1}'.encode("utf-16"),
    ],
)  # fmt: skip
def test_what_is_not_json_is_malformed(kind: Any, body: bytes) -> None:
    with pytest.raises(MalformedBody) as raised:
        codec(kind).decode(body, WHERE)

    assert raised.value.where == WHERE


@every_kind
@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5000])
def test_a_number_beyond_any_number_is_refused(kind: Any, number: str) -> None:
    body = f'{{"customer":"c","amount":{number}}}'.encode()

    with pytest.raises((InputMismatch, MalformedBody)):
        codec(kind).decode(body, WHERE)


# --- duplicate keys


class Flat(Request):
    a: int
    b: str


class Loose(msgspec.Struct):
    a: int
    b: Any = None


class Row(msgspec.Struct, array_like=True):
    first: Any
    second: Any


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Flat, '{"a":1,"b":"x","a":2}'),
        (Flat, r'{"a":1,"b":"x","\u0061":2}'),
        (Flat, r'{"\u0061":1,"b":"x","a":2}'),
        (Flat, '{"a":1,"b":"x","b":"y"}'),
        (Flat, '{"a":1,"b":":","b":":"}'),
        (Flat, '{"a":1,"a":2}'),
        (Flat, '{"a":"wrong","a":2,"b":"x"}'),
        (Order, '{"customer":"c","amount":1,"lines":[{"sku":"s","sku":"t"}]}'),
        (OrderData, '{"customer":"c","amount":1,"lines":[{"sku":"s","sku":"t"}]}'),
        (OrderModel, '{"customer":"c","amount":1,"lines":[{"sku":"s","sku":"t"}]}'),
        (OrderModel, r'{"customer":"c","amount":1,"\u0061mount":2}'),
        (Loose, '{"a":1,"skipped":{"x":1,"x":2}}'),
        (Loose, '{"a":1,"b":{"x":1,"x":2}}'),
        (Loose, '{"a":1,"b":[[[{"x":1,"x":2}]]]}'),
        (Loose, '{"a":1,"skipped":{"":1,"":2}}'),
        (Loose, '{"a":1,"a":2,"skipped":' + "9" * 5000 + "}"),
        (Row, '[{"a":1,"a":2},3]'),
        (Row, '[{"a":1},{"b":1,"b":2}]'),
    ],
)
def test_a_key_twice_is_refused_wherever_it_stands(kind: Any, body: str) -> None:
    with pytest.raises(MalformedBody, match="twice"):
        codec(kind).decode(body.encode(), WHERE)


class Inner(msgspec.Struct):
    x: int
    names: list[str]


class Nested(Request):
    """All of it required: its texts have a fixed number of keys."""

    inner: Inner
    when: str
    both: int | None


KEYS = st.sampled_from(["a", "b", "", "x:y", 'quo"te', "back\\slash", "\u00e9"])
TREES = st.recursive(
    st.one_of(st.integers(-5, 5), st.text(':"\\{}[],a', max_size=6), st.none(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(st.tuples(KEYS, inner), max_size=4).map(lambda pairs: ("object", pairs)),
    ),
    max_leaves=12,
)


def written(tree: Any) -> str:
    """JSON of a tree, whose objects may have a key twice."""
    if isinstance(tree, tuple):
        return "{" + ", ".join(f"{json.dumps(k)} : {written(v)}" for k, v in tree[1]) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(written, tree)) + "]"
    return json.dumps(tree)


def has_a_key_twice(tree: Any) -> bool:
    if isinstance(tree, tuple):
        keys = [key for key, _ in tree[1]]
        return len(set(keys)) < len(keys) or any(has_a_key_twice(one) for _, one in tree[1])
    return isinstance(tree, list) and any(map(has_a_key_twice, tree))


@given(TREES)
def test_a_key_twice_is_refused_and_nothing_else_is(tree: Any) -> None:
    body = written(tree).encode()

    if has_a_key_twice(tree):
        with pytest.raises(MalformedBody, match="twice"):
            refuse_duplicate_keys(body, WHERE)
    else:
        refuse_duplicate_keys(body, WHERE)


@pytest.mark.parametrize(
    ("body", "twice"),
    [
        ('{"inner":{"x":1,"names":["a:b"]},"when":"12:30:00","both":null}', False),
        ('{"inner":{"x":1,"names":[]},"when":"12:30:00","both":1,"both":2}', True),
        ('{"inner":{"x":1,"names":[],"x":2},"when":"t","both":null}', True),
        ('{"inner":{"x":1,"names":[],"more":{"y":1,"y":2}},"when":"t","both":null}', True),
        ('{"inner":{"x":1,"names":["\\"a\\":1"]},"when":"t","both":null}', False),
        ('{"inner":{"x":1,"names":[]},"when":"a:b","both":1,"both" :2}', True),
        ('{"inner":{"x":1,"names":[]},"when":"a:b","both" :1,"both"\t:2}', True),
        ('{"inner":{"x":1,"names":["\\":"]},"when":"a:b","both"\n:2}', False),
    ],
)
def test_a_type_of_fixed_keys_is_looked_at_as_closely(body: str, twice: bool) -> None:
    if twice:
        with pytest.raises(MalformedBody, match="twice"):
            codec(Nested).decode(body.encode(), WHERE)
    else:
        assert codec(Nested).decode(body.encode(), WHERE).inner.x == 1


class Shop(msgspec.Struct):
    name: str
    open: bool


class Fixed(Request):
    """As many keys and as many texts each time: counted by their quotation marks."""

    id: str
    currency: Literal["EUR", "CHF"]
    at: datetime.datetime
    shop: Shop
    sizes: list[float]


FIXED = {
    "id": st.text('ab:"\\{[', max_size=4).map(json.dumps),
    "currency": st.sampled_from(['"EUR"', '"CHF"']),
    "at": st.just('"2026-11-28T12:00:00Z"'),
    "shop": st.lists(
        st.sampled_from(['"name":"x"', '"open" : true', '"more":{"y":1}', '"more":"\\"z\\""']),
        min_size=2, max_size=4,
    ).map(lambda pairs: "{" + ",".join(pairs) + "}"),
    "sizes": st.sampled_from(["[]", "[1, 2.5]"]),
}  # fmt: skip


@given(
    st.lists(st.sampled_from(sorted(FIXED)), max_size=3).flatmap(
        lambda more: st.tuples(
            *(FIXED[name].map(lambda text, name=name: (name, text)) for name in [*FIXED, *more])
        )
    )
)
def test_counting_quotation_marks_finds_what_looking_at_each_key_finds(
    pairs: tuple[tuple[str, str], ...],
) -> None:
    body = ("{" + ",".join(f'"{name}":{text}' for name, text in pairs) + "}").encode()
    shops = [text for name, text in pairs if name == "shop"]
    twice = len(pairs) > len(FIXED) or any(
        text.count(f'"{name}"') > 1 for text in shops for name in ("name", "open", "more")
    )
    lacking = any(f'"{name}"' not in text for text in shops for name in ("name", "open"))

    if twice:
        with pytest.raises(MalformedBody, match="twice"):
            codec(Fixed).decode(body, WHERE)
    elif lacking:
        with pytest.raises(InputMismatch):
            codec(Fixed).decode(body, WHERE)
    else:
        assert codec(Fixed).decode(body, WHERE).shop.name == "x"


@pytest.mark.parametrize("depth", range(960, 1000, 4))
def test_a_key_twice_does_not_hide_behind_depth(depth: int) -> None:
    body = '{"a":1,"a":2,"skipped":' + "[" * depth + "]" * depth + "}"

    with pytest.raises(MalformedBody):
        codec(Loose).decode(body.encode(), WHERE)


def test_a_key_twice_does_not_hide_behind_bytes_that_nobody_reads() -> None:
    with pytest.raises(MalformedBody):
        codec(Loose).decode(b'{"a":1,"a":2,"skipped":"\xff"}', WHERE)


def test_a_hundred_thousand_keys_are_looked_through_in_a_moment() -> None:
    keys = ",".join(f'"{i}":0' for i in range(100_000))
    body = f'{{"a":1,"b":{{{keys},"99999":1}}}}'.encode()

    started = time.perf_counter()
    with pytest.raises(MalformedBody, match="'99999' twice"):
        codec(Loose).decode(body, WHERE)

    assert time.perf_counter() - started < 2


def escaped(text: str, chosen: list[bool]) -> str:
    return "".join(
        f"\\u{ord(c):04x}" if flag and ord(c) < 0xD800 else json.dumps(c, ensure_ascii=False)[1:-1]
        for c, flag in zip(text, chosen + [False] * len(text), strict=False)
    )


KEYS = st.sampled_from(["a", "b", ":", "x:y", "ä", ""])
VALUES = st.recursive(
    st.one_of(st.integers(-9, 9), st.text('a:"\\', max_size=4), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, max_size=2)),
    max_leaves=4,
)
PAIRS = st.lists(st.tuples(KEYS, VALUES, st.lists(st.booleans(), max_size=3)), max_size=5)


@given(pairs=PAIRS, space=st.sampled_from(["", " ", "\n\t"]), nested=st.booleans())
def test_an_object_is_refused_if_and_only_if_a_key_stands_in_it_twice(
    pairs: list[tuple[str, Any, list[bool]]], space: str, nested: bool
) -> None:
    text = f",{space}".join(
        f'"{escaped(key, flags)}"{space}:{space}{json.dumps(value)}' for key, value, flags in pairs
    )
    twice = len({key for key, _, _ in pairs}) < len(pairs)
    body = f'{{"a":1,"b":{{{text}}}}}' if nested else f"{{{text}}}"
    kind: Any = Loose if nested else dict[str, Any]

    try:
        codec(kind).decode(body.encode(), WHERE)
        refused = False
    except MalformedBody:
        refused = True

    assert refused == twice


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["1", '"x"', '":"', '"a:b"', "null"])),
        min_size=2, max_size=4,
    )
)  # fmt: skip
def test_counting_colons_is_never_fooled(pairs: list[tuple[str, str]]) -> None:
    keys = [key for key, _ in pairs]
    assume(len(set(keys)) < len(keys))
    body = "{" + ",".join(f'"{key}":{value}' for key, value in pairs) + "}"

    with pytest.raises(MalformedBody, match="twice"):
        codec(Flat).decode(body.encode(), WHERE)


# --- in process, and rows of texts


@every_kind
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_does_not_come_in_by_a_call_in_process(kind: Any, bad: float) -> None:
    plain = {"customer": "c", "amount": bad}
    made = kind(**plain)

    for value in (plain, made):
        with pytest.raises(InputMismatch, match="finite") as raised:
            codec(kind).convert(value, WHERE)
        assert raised.value.where == WHERE + ".amount"


@every_kind
@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-Infinity"])
def test_nan_does_not_come_in_as_a_text(kind: Any, text: str) -> None:
    with pytest.raises(InputMismatch):
        codec(kind).lax({"customer": "c", "amount": text}, WHERE)
    with pytest.raises(InputMismatch):
        codec(kind).decode(f'{{"customer":"c","amount":"{text}"}}'.encode(), WHERE)


def test_nan_does_not_come_in_as_a_decimal() -> None:
    class Sum(Request):
        total: decimal.Decimal

    for text in ("NaN", "Infinity"):
        with pytest.raises(InputMismatch, match="finite"):
            codec(Sum).decode(f'{{"total":"{text}"}}'.encode(), WHERE)
        with pytest.raises(InputMismatch, match="finite"):
            codec(Sum).convert({"total": decimal.Decimal(text)}, WHERE)
    assert codec(Sum).decode(b'{"total":"1.50"}', WHERE).total == decimal.Decimal("1.50")


@every_kind
def test_a_value_that_holds_itself_is_a_mismatch(kind: Any) -> None:
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(InputMismatch):
        codec(kind).convert({"customer": "c", "amount": 1, "lines": loop}, WHERE)


@every_kind
def test_a_row_of_texts_becomes_numbers(kind: Any) -> None:
    made = codec(kind).lax({"customer": "5", "amount": "1.5"}, WHERE)

    assert (made.customer, made.amount) == ("5", 1.5)
    with pytest.raises(InputMismatch):
        codec(kind).lax({"customer": "5", "amount": "1,5"}, WHERE)
    with pytest.raises(InputMismatch):
        codec(kind).lax({"customer": "5", "amount": "1", "more": "2"}, WHERE)


# --- replies


class Verdict(Reply):
    risk: float
    limit: float | None = None
    parts: list[float | None] = []  # noqa: RUF012 - a Struct copies it


@dataclasses.dataclass(slots=True)
class VerdictData:
    risk: float
    limit: float | None = None
    parts: list[float | None] = dataclasses.field(default_factory=list)


class VerdictModel(pydantic.BaseModel):
    risk: float
    limit: float | None = None
    parts: list[float | None] = []


every_verdict = pytest.mark.parametrize("kind", [Verdict, VerdictData, VerdictModel])


@every_verdict
def test_a_good_reply_is_written(kind: Any) -> None:
    body = codec(kind).encode_checked(kind(risk=0.5))

    assert json.loads(body) == {"risk": 0.5, "limit": None, "parts": []}


@every_verdict
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["risk", "limit", "parts"])
def test_a_reply_with_nan_is_refused_in_optional_fields_too(
    kind: Any, field: str, bad: float
) -> None:
    made = kind(**{"risk": 0.5, field: [1.0, bad] if field == "parts" else bad})

    with pytest.raises(ValueError, match=r"NaN|null"):
        codec(kind).encode_checked(made)


@every_verdict
@pytest.mark.parametrize("wrong", [None, 5, "x", [], {"risk": "x"}, object()])
def test_what_is_not_of_the_reply_type_is_refused(kind: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec(kind).encode_checked(wrong)


def test_a_reply_does_not_leak_fields_that_it_does_not_declare() -> None:
    @dataclasses.dataclass
    class Leaky(VerdictData):
        secret: str = "s"

    class LeakyStruct(Verdict):
        secret: str = "s"

    with pytest.raises(ValueError, match="secret"):
        codec(VerdictData).encode_checked(Leaky(0.5))
    with pytest.raises(ValueError, match="secret"):
        codec(Verdict).encode_checked(LeakyStruct(0.5))


def test_a_reply_of_a_single_value_is_proved_too() -> None:
    choice = codec(Literal["a", "b"])

    assert choice.encode_checked("a") == b'"a"'
    with pytest.raises(ValueError, match="Invalid enum"):
        choice.encode_checked("c")


# --- types


class Aliased(pydantic.BaseModel):
    card: str = pydantic.Field(alias="cardNumber")
    day: datetime.date = datetime.date(2027, 1, 2)


def test_a_pydantic_alias_is_the_name_on_the_wire() -> None:
    reader = codec(Aliased)
    made = reader.decode(b'{"cardNumber":"c"}', WHERE)

    assert made.card == "c"
    assert json.loads(reader.encode(made)) == {"cardNumber": "c", "day": "2027-01-02"}
    assert reader.encode_checked(made) == reader.encode(made)
    assert reader.convert(made, WHERE) == made
    assert set(reader.schema()["properties"]) == {"cardNumber", "day"}
    assert reader.fields(made)["card"] == "c"
    with pytest.raises(InputMismatch, match="unknown field"):
        reader.decode(b'{"cardNumber":"c","card":"d"}', WHERE)


def test_a_renamed_struct_field_is_the_name_on_the_wire() -> None:
    class Renamed(Request, rename="camel"):
        card_number: str

    made = codec(Renamed).decode(b'{"cardNumber":"c"}', WHERE)

    assert codec(Renamed).encode(made) == b'{"cardNumber":"c"}'
    assert codec(Renamed).fields(made) == {"card_number": "c"}


@every_kind
def test_the_entity_is_found_and_held_to_its_length(kind: Any) -> None:
    assert entity_field(kind) == "customer"
    for bad in ("", "x" * 257):
        with pytest.raises(InputMismatch):
            checked_entity(bad, WHERE)
    assert checked_entity("x" * 256, WHERE) == "x" * 256
    assert checked_entity(None, WHERE) is None


def test_the_schema_names_every_field() -> None:
    for kind in KINDS:
        schema = codec(kind).schema()
        top = schema["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        assert set(top["properties"]) == set(FULL)
        assert top["required"] == ["customer", "amount"]
