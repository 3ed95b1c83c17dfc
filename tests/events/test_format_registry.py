"""Messages of Confluent's own serializers, by a real Schema Registry; and what can be wrong."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import MessageField, SerializationContext
from format_house import ORDER, event

from splice.adapters.schemas.registry import HttpSchemaRegistry
from splice.app.plugins import plugin
from splice.core.errors import BusError, EventError, SettingsError, UnknownSchema
from splice.core.events import Event, Headers
from splice.ports.schemas import RegistryAccess
from splice.serve.events.envelope import Envelopes, Letter
from splice.testing.contracts.schemas import SchemaSourceContract
from splice.testing.in_thread import InThread


@pytest.fixture
async def schemas(registry_url: str) -> AsyncIterator[HttpSchemaRegistry]:
    made = plugin("schemas", "http")(RegistryAccess(registry_url))
    assert isinstance(made, HttpSchemaRegistry)
    yield made
    await made.close()


@pytest.fixture
def confluent(registry_url: str) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": registry_url}) as client:
        yield client


@pytest.fixture
def subject() -> str:
    return f"splice/test {uuid.uuid4().hex}"


async def opened(source: HttpSchemaRegistry, message: Event) -> Letter:
    envelopes = Envelopes(schemas=source)
    missing = envelopes.missing(message)
    if missing is not None:
        await envelopes.fetch(missing)
    assert envelopes.missing(message) is None
    return envelopes.open(message)


@pytest.mark.registry
class TestHttpSchemaRegistry(SchemaSourceContract):
    """Over Apicurio."""

    @pytest.fixture
    def register(
        self, confluent: SchemaRegistryClient, subject: str
    ) -> Callable[[str, str, Sequence[int]], int]:
        places: dict[int, SchemaReference] = {}

        def register(kind: str, text: str, references: Sequence[int]) -> int:
            own = f"{subject}-{len(places)}"
            schema = Schema(text, kind, [places[number] for number in references])
            number = confluent.register_schema(own, schema)
            places[number] = SchemaReference(json.loads(text).get("name", ""), own, 1)
            return number

        return register


ORDER_AVRO = {
    "type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "customer", "type": "string"},
        {"name": "amount_eur", "type": "double"},
        {"name": "price", "type": {
            "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "photo", "type": "bytes"},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "channel", "type": {"type": "enum", "name": "Ch", "symbols": ["WEB", "SHOP"]}},
        {"name": "lines", "type": {"type": "array", "items": {
            "type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}}},
        {"name": "tags", "type": {"type": "map", "values": "int"}},
    ],
}  # fmt: skip
VALUE: dict[str, Any] = {
    "customer": "Größe ✓", "amount_eur": 12.5, "price": Decimal("1234.50"),
    "at": datetime(2100, 1, 1, tzinfo=UTC), "photo": b"\xff\x00", "note": None, "channel": "SHOP",
    "lines": [{"sku": "a"}, {"sku": "b"}], "tags": {"x": 1},
}  # fmt: skip
SHOWN = (
    '{"customer":"Größe ✓","amount_eur":12.5,"price":1234.50,"at":"2100-01-01T00:00:00Z",'
    '"photo":"/wA=","note":null,"channel":"SHOP","lines":[{"sku":"a"},{"sku":"b"}],"tags":{"x":1}}'
)


def context(subject: str, headers: Any = None) -> SerializationContext:
    return SerializationContext(subject, MessageField.VALUE, headers)


@pytest.mark.registry
async def test_what_confluents_avro_serializer_writes_is_json_of_the_same(
    schemas: HttpSchemaRegistry, confluent: SchemaRegistryClient, subject: str
) -> None:
    value = AvroSerializer(confluent, json.dumps(ORDER_AVRO))(VALUE, context(subject))

    letter = await opened(schemas, event(value))

    assert letter == Letter(SHOWN.encode())


@pytest.mark.registry
async def test_a_schema_in_other_schemas_is_read_by_all_of_them(
    schemas: HttpSchemaRegistry, confluent: SchemaRegistryClient, subject: str
) -> None:
    item = {"type": "record", "name": "shop.Item", "fields": [{"name": "sku", "type": "string"}]}
    confluent.register_schema(f"{subject} item/ü", Schema(json.dumps(item), "AVRO"))
    order = {
        "type": "record", "name": "Order", "namespace": "shop",
        "fields": [{"name": "item", "type": "Item"}, {"name": "other", "type": "shop.Item"}],
    }  # fmt: skip
    schema = Schema(
        json.dumps(order), "AVRO", [SchemaReference("shop.Item", f"{subject} item/ü", 1)]
    )
    value = AvroSerializer(confluent, schema)(
        {"item": {"sku": "a"}, "other": {"sku": "b"}}, context(subject)
    )

    letter = await opened(schemas, event(value))

    assert json.loads(letter.body) == {"item": {"sku": "a"}, "other": {"sku": "b"}}


@pytest.mark.registry
async def test_what_confluents_json_serializer_writes_is_the_request(
    schemas: HttpSchemaRegistry, confluent: SchemaRegistryClient, subject: str
) -> None:
    text = '{"title":"Order","type":"object","properties":{"customer":{"type":"string"}}}'
    written = JSONSerializer(text, confluent)({"customer": "c-1"}, context(subject))
    assert written is not None

    letter = await opened(schemas, event(written))

    assert json.loads(letter.body) == {"customer": "c-1"}
    with pytest.raises(EventError, match="an empty value"):
        await opened(schemas, event(written[:5]))


@pytest.mark.registry
async def test_a_cloudevent_in_binary_mode_may_carry_avro(
    schemas: HttpSchemaRegistry, confluent: SchemaRegistryClient, subject: str
) -> None:
    value = AvroSerializer(confluent, json.dumps(ORDER_AVRO))(VALUE, context(subject))
    headers = (
        ("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/shop"), ("ce_type", b"t"),
        ("content-type", b"application/avro"),
    )  # fmt: skip

    letter = await opened(schemas, event(value, headers))

    assert letter == Letter(SHOWN.encode(), "1", "/shop", type="t")


@pytest.mark.registry
async def test_protobuf_and_unknown_ids_are_refused_and_say_so(
    schemas: HttpSchemaRegistry, confluent: SchemaRegistryClient, subject: str
) -> None:
    proto = 'syntax = "proto3"; message Order { string customer = 1; }'
    number = confluent.register_schema(subject, Schema(proto, "PROTOBUF"))

    with pytest.raises(EventError, match=r"Protobuf.*expected Avro or JSON Schema"):
        await opened(schemas, event(b"\0" + number.to_bytes(4) + b"\0\x0a\x01a"))
    with pytest.raises(UnknownSchema):
        await opened(schemas, event(b"\0" + (2_000_000_000).to_bytes(4) + b"\x02a"))


@pytest.mark.registry
async def test_what_is_cut_off_anywhere_is_one_clear_error(
    schemas: HttpSchemaRegistry, confluent: SchemaRegistryClient, subject: str
) -> None:
    value = AvroSerializer(confluent, json.dumps(ORDER_AVRO))(VALUE, context(subject))
    assert value is not None
    await opened(schemas, event(value))

    for end in range(1, len(value)):
        with pytest.raises(EventError) as refused:
            await opened(schemas, event(value[:end]))
        assert refused.value.where == "event.value"


# What is away, or wrong, by a registry that does as it is told.


class Registry:
    """Schemas by path; every request is counted. Answers 404 as Confluent's does."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.held = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["raw_path"].decode()
        given = dict(scope["headers"]).get(b"authorization", b"").decode()
        self.asked.append((path, given))
        while self.held:
            await asyncio.sleep(0.005)
        missing = (404, b'{"error_code":40403,"message":"Schema not found"}')
        status, body = self.answers.get(path, missing)
        await send({"type": "http.response.start", "status": status, "headers": [
            (b"content-type", b"application/vnd.schemaregistry.v1+json")]})  # fmt: skip
        await send({"type": "http.response.body", "body": body})

    def add(self, path: str, text: str, **more: Any) -> None:
        self.answers[path] = (200, json.dumps({"schema": text, **more}).encode())


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def url(registry: Registry) -> Iterator[str]:
    server = InThread(registry, "registry")
    server.start()
    yield f"http://127.0.0.1:{server.port}/base"
    server.stop()


async def test_a_guid_in_a_header_or_before_the_payload_names_a_schema(
    registry: Registry, url: str
) -> None:
    guid = uuid.UUID("0199e1f0-1a2b-7c3d-8e4f-00000000000a")
    registry.add(f"/base/schemas/guids/{guid}", '"string"', id=7)
    source = HttpSchemaRegistry(RegistryAccess(url))
    framed = b"\x01" + guid.bytes
    headers: Headers = (("__value_schema_id", framed),)

    assert (await opened(source, event(b"\x04hi", headers))).body == b'"hi"'
    assert (await opened(source, event(framed + b"\x04hi"))).body == b'"hi"'
    assert len(registry.asked) == 1
    with pytest.raises(UnknownSchema, match="not every registry knows GUIDs"):
        await source.schema(str(uuid.UUID(int=5)))
    await source.close()


async def test_confluents_serializer_writes_that_header_as_we_read_it(
    registry: Registry, url: str
) -> None:
    guid = uuid.UUID("0199e1f0-1a2b-7c3d-8e4f-00000000000a")
    headers: list[tuple[str, bytes]] = []

    class Id:
        """A schema's id with a GUID, as a newer registry gives it."""

        def guid_to_bytes(self) -> bytes:
            return SchemaId("AVRO", 7, str(guid)).guid_to_bytes()

    payload = header_schema_id_serializer(b"\x04hi", context("x", headers), Id())
    registry.add(f"/base/schemas/guids/{guid}", '"string"')
    source = HttpSchemaRegistry(RegistryAccess(url))

    letter = await opened(source, event(payload, tuple(headers)))

    assert letter.body == b'"hi"'
    await source.close()


async def test_a_schema_is_asked_for_once_however_many_wait_and_kept(
    registry: Registry, url: str
) -> None:
    registry.add("/base/schemas/ids/5", '"string"')
    source = HttpSchemaRegistry(RegistryAccess(url))
    envelopes = Envelopes(schemas=source)
    message = event(b"\0\0\0\0\x05\x04hi")
    registry.held = True

    waiting = [asyncio.create_task(envelopes.fetch(5)) for _ in range(50)]
    while not registry.asked:
        await asyncio.sleep(0.005)
    waiting[0].cancel()
    registry.held = False
    await asyncio.gather(*waiting[1:])

    assert len(registry.asked) == 1
    assert envelopes.missing(message) is None
    assert envelopes.open(message).body == b'"hi"'
    registry.answers.clear()
    await Envelopes(schemas=source).fetch(5)
    assert len(registry.asked) == 1
    await source.close()


async def test_user_and_password_are_sent_and_never_shown(registry: Registry, url: str) -> None:
    access = RegistryAccess(url, "splice", "secret-1")
    registry.add("/base/schemas/ids/5", '"string"')
    source = HttpSchemaRegistry(access)

    await source.schema(5)

    assert registry.asked[0][1] == "Basic c3BsaWNlOnNlY3JldC0x"
    assert "secret-1" not in repr(access)
    await source.close()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b'{"error_code":50001,"message":"the store is away"}', "500 the store is away"),
        (503, b"", "status 503"),
        (429, b"slow down", "status 429"),
        (401, b'{"error_code":401,"message":"Unauthorized"}', "kafka.registry_user_env"),
        (403, b"[]", "kafka.registry_user_env"),
        (404, b"<html>nothing of that name</html>", "check kafka.schema_registry"),
        (200, b"<html>a portal</html>", "check kafka.schema_registry"),
        (200, b"[" * 100_000, "check kafka.schema_registry"),
        (200, b'{"schema":7}', "check kafka.schema_registry"),
        (200, b'{"schema":"\xff"}', "check kafka.schema_registry"),
    ],
)
async def test_a_registry_that_cannot_answer_is_asked_again_later(
    registry: Registry, url: str, status: int, body: bytes, said: str
) -> None:
    registry.answers["/base/schemas/ids/5"] = (status, body)
    source = HttpSchemaRegistry(RegistryAccess(url))
    envelopes = Envelopes(schemas=source)

    with pytest.raises(BusError) as refused:
        await envelopes.fetch(5)
    assert refused.value.retryable
    assert said.lower() in str(refused.value).lower()

    registry.add("/base/schemas/ids/5", '"string"')
    await envelopes.fetch(5)
    await source.close()


async def test_a_registry_that_is_away_is_asked_again_later(url: str) -> None:
    source = HttpSchemaRegistry(RegistryAccess("http://127.0.0.1:9"))

    with pytest.raises(BusError) as refused:
        await source.schema(5)

    assert refused.value.retryable
    with pytest.raises(SettingsError):
        HttpSchemaRegistry(RegistryAccess("http://user:password@registry.example"))


async def test_references_in_a_circle_or_without_an_end_come_to_one(
    registry: Registry, url: str
) -> None:
    def refer(*subjects: str) -> list[dict[str, Any]]:
        return [{"name": one, "subject": one, "version": 1} for one in subjects]

    enum = '{"type":"enum","name":"E","symbols":["A"]}'
    registry.add("/base/schemas/ids/5", '"E"', references=refer("a"))
    registry.add("/base/subjects/a/versions/1", enum, references=refer("b"))
    registry.add("/base/subjects/b/versions/1", '"int"', references=refer("a"))
    registry.add("/base/schemas/ids/6", '"int"', references=refer("no-more"))
    registry.add("/base/schemas/ids/7", '"int"', references=refer(*map(str, range(200))))
    for number in range(200):
        registry.add(f"/base/subjects/{number}/versions/1", '"int"')
    source = HttpSchemaRegistry(RegistryAccess(url))

    assert (await opened(source, event(b"\0\0\0\0\x05\x00"))).body == b'"A"'
    with pytest.raises(UnknownSchema, match="version 1 of no-more"):
        await source.schema(6)
    with pytest.raises(UnknownSchema, match="100 references"):
        await source.schema(7)
    await source.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "not JSON"), ('"lost"', "refers to 'lost'"), ("[" * 100_000, "nests too deep")],
)
async def test_a_schema_that_cannot_be_used_is_the_error_of_each_of_its_events(
    registry: Registry, url: str, text: str, why: str
) -> None:
    registry.add("/base/schemas/ids/5", text)
    source = HttpSchemaRegistry(RegistryAccess(url))

    for _ in range(2):
        with pytest.raises(EventError, match=why) as refused:
            await opened(source, event(b"\0\0\0\0\x05\x00"))
        assert not refused.value.retryable
    await source.close()


# Without asking anybody.


@pytest.mark.parametrize("value", [b"\0", b"\0\0\0", b"\0\0\0\0", b"\1", b"\1" + b"a" * 15])
def test_a_frame_that_is_cut_off_is_refused_at_once(value: bytes) -> None:
    for schemas in (None, HttpSchemaRegistry(RegistryAccess("http://127.0.0.1:9"))):
        envelopes = Envelopes(schemas=schemas)

        assert envelopes.missing(event(value)) is None
        with pytest.raises(EventError) as refused:
            envelopes.open(event(value))
        assert refused.value.where == "event.value"


def test_without_a_registry_its_messages_say_what_to_set() -> None:
    framed = event(b"\0\0\0\0\x05\x00")

    assert Envelopes().missing(framed) is None
    with pytest.raises(EventError, match=r"Set kafka\.schema_registry"):
        Envelopes().open(framed)


def test_a_schema_that_was_not_fetched_is_not_read() -> None:
    envelopes = Envelopes(schemas=HttpSchemaRegistry(RegistryAccess("http://127.0.0.1:9")))
    framed = event(b"\0\0\0\0\x05\x00")

    assert envelopes.missing(framed) == 5
    with pytest.raises(UnknownSchema):
        envelopes.open(framed)


def test_json_needs_no_schema_and_a_header_that_is_broken_says_so() -> None:
    source = HttpSchemaRegistry(RegistryAccess("http://127.0.0.1:9"))
    envelopes = Envelopes(schemas=source)
    broken = event(ORDER, (("__value_schema_id", b"\x01abc"),))

    assert envelopes.missing(event(ORDER)) is None
    assert envelopes.open(event(ORDER)) == Letter(ORDER)
    assert envelopes.missing(broken) is None
    with pytest.raises(EventError) as refused:
        envelopes.open(broken)
    assert refused.value.where == "event.__value_schema_id"


def test_the_setting_says_what_is_looked_for() -> None:
    source = HttpSchemaRegistry(RegistryAccess("http://127.0.0.1:9"))
    framed = event(b"\0\0\0\0\x05\x00")

    assert Envelopes("json", source).missing(framed) is None
    assert Envelopes("json", source).open(framed) == Letter(b"\0\0\0\0\x05\x00")
    with pytest.raises(EventError, match="the byte 0"):
        Envelopes("registry", source).open(event(ORDER))
