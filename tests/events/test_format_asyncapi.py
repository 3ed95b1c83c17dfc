"""The AsyncAPI document: AsyncAPI's own parser takes it, and it says what is sent and received."""

from __future__ import annotations

import json
import subprocess
from typing import Annotated, Any, Literal

import jsonschema
import msgspec
import pytest
from format_house import event, record

import splice
from splice.core.events import DeadLetter, Message
from splice.core.release import Manifest
from splice.declare.codec import codec
from splice.serve.events.asyncapi import Consumed, asyncapi_document
from splice.serve.events.dead import dead_message
from splice.serve.events.letter import Letter
from splice.serve.events.replies import Replies


class Card(msgspec.Struct, tag="card"):
    """A way to pay."""

    number: str


class Transfer(msgspec.Struct, tag="transfer"):
    """Another."""

    iban: tuple[str, int]


class Payment(splice.Request):
    """What is asked."""

    customer: splice.Entity
    amount_eur: Annotated[float, msgspec.Meta(ge=0, lt=1_000_000)]
    by: Card | Transfer
    note: str | None = None


class Screening(splice.Reply):
    """What is answered."""

    risk: float
    action: Literal["ship", "review"]


MANIFEST = Manifest(
    integration="order-screening",
    entry="integrations:OrderScreening",
    bundle="0" * 64,
    purpose="Find the orders that will not be paid.\n\nMore of it.",
    risk="low",
    deadline_s=0.2,
    routes=(),
    request_schema=codec(Payment).schema(),
    reply_schema=codec(Screening).schema(),
)
TARGETS = (
    "kafka:decisions",
    "https://shop.example:8443/hooks/decided",
    "table:decisions",
    "queue:q",
)


def document(**changes: Any) -> dict[str, Any]:
    consumed = Consumed(MANIFEST, "kafka:orders", TARGETS, "screening", dead="kafka:orders.dead")
    consumed = msgspec.structs.replace(consumed, **changes)
    return asyncapi_document([consumed], "a.example:9092, b.example:9092", "http://r.example:8081")


def parsed(parser: str, made: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        ["node", parser], input=json.dumps(made), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.peers
def test_asyncapis_own_parser_takes_every_form_and_reads_what_was_meant(
    asyncapi_parser: str,
) -> None:
    every: list[Consumed] = []
    for number, (form, reply) in enumerate(
        [("auto", "cloudevents"), ("cloudevents", "structured"), ("json", "json"),
         ("registry", "cloudevents")]
    ):  # fmt: skip
        own = msgspec.structs.replace(MANIFEST, integration=f"order-screening-{number}")
        every.append(Consumed(own, "kafka:orders", TARGETS, "", form, reply, "kafka:orders.dead"))
    every.append(Consumed(MANIFEST, "queue:order-screening"))

    found = parsed(asyncapi_parser, asyncapi_document(every, "a.example:9092", tls=True))

    assert found["wrong"] == []
    operations = found["operations"]
    assert len(operations) == 4 * 6 + 1
    assert operations["order-screening.receive"] == {
        "action": "receive",
        "addresses": ["order-screening"],
        "servers": ["queue ledger"],
        "messages": ["order-screening.event", "order-screening.structured"],
    }
    assert operations["order-screening-2.receive"]["messages"] == ["order-screening-2.event"]
    assert operations["order-screening-0.send.0"] == {
        "action": "send",
        "addresses": ["decisions"],
        "servers": ["kafka-secure a.example:9092"],
        "messages": ["order-screening-0.decision"],
    }
    assert operations["order-screening-0.send.1"]["addresses"] == ["/hooks/decided"]
    assert operations["order-screening-0.send.1"]["servers"] == ["https shop.example:8443"]
    assert operations["order-screening-0.dead"]["addresses"] == ["orders.dead"]


@pytest.mark.peers
def test_the_parser_would_find_a_mistake(asyncapi_parser: str) -> None:
    made = document()
    made["operations"]["order-screening.receive"]["channel"] = {"$ref": "#/channels/no-such"}

    assert parsed(asyncapi_parser, made)["wrong"]


def test_brokers_registry_and_group_are_in_it() -> None:
    made = document()

    assert {one["host"] for one in made["servers"].values() if one["protocol"] == "kafka"} == {
        "a.example:9092", "b.example:9092",
    }  # fmt: skip
    binding = made["servers"]["kafka-a-example-9092"]["bindings"]["kafka"]
    assert binding["schemaRegistryUrl"] == "http://r.example:8081"
    receive = made["operations"]["order-screening.receive"]
    assert receive["bindings"]["kafka"]["groupId"]["enum"] == ["screening"]
    assert receive["summary"] == "Find the orders that will not be paid."
    unnamed = document(group="")["operations"]["order-screening.receive"]
    assert unnamed["bindings"]["kafka"]["groupId"]["enum"] == ["splice-order-screening"]


def check(made: dict[str, Any], name: str, payload: Any, headers: dict[str, str]) -> None:
    """Whether a message is as the document says, by the schemas in it."""
    message = made["components"]["messages"][name]
    for schema, value in ((message["payload"], payload), (message.get("headers"), headers)):
        whole = {**(schema or {}), "components": made["components"]}
        jsonschema.Draft7Validator.check_schema(whole)
        jsonschema.Draft7Validator(whole).validate(value)


def texts(message: Message) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers}


@pytest.mark.parametrize("form", ["cloudevents", "structured", "json"])
def test_the_decisions_that_we_write_are_as_it_says(form: Any) -> None:
    made = document(reply_format=form)
    letter = Letter(b"{}", "1", "/shop", correlation="2")
    (message,) = Replies("order-screening", ["kafka:decisions"], form).messages(
        record(), event(b"{}"), letter
    )

    check(made, "order-screening.decision", json.loads(message.value or b""), texts(message))

    for name in ("ce_id", "splice-call-id"):  # what is promised is missed where it is not there
        if name in (headers := texts(message)):
            del headers[name]
            with pytest.raises(jsonschema.ValidationError):
                check(made, "order-screening.decision", json.loads(message.value or b""), headers)
    with pytest.raises(jsonschema.ValidationError):
        check(made, "order-screening.decision", {"risk": "high"}, texts(message))


def test_the_dead_letters_that_we_write_are_as_it_says() -> None:
    letter = DeadLetter("order-screening", event(b"{"), "malformed_body", "a", "b", 1, 5)

    message = dead_message(letter, "kafka:orders.dead")

    check(document(), "order-screening.dead-letter", "{", texts(message))


def test_the_requests_that_are_read_are_as_it_says() -> None:
    made = document()
    payment = {"customer": "c", "amount_eur": 5, "by": {"type": "transfer", "iban": ["x", 5]}}
    codec(Payment).decode(json.dumps(payment).encode(), "x")
    headers = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/s", "ce_type": "t"}

    check(made, "order-screening.event", payment, {})
    check(made, "order-screening.event", payment, headers)
    check(
        made, "order-screening.structured",
        {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": payment}, {},
    )  # fmt: skip
    for wrong in (
        {**payment, "amount_eur": -1},
        {**payment, "by": {"type": "transfer", "iban": ["x", "y"]}},
        {**payment, "by": {"type": "cash"}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            check(made, "order-screening.event", wrong, {})
    with pytest.raises(jsonschema.ValidationError):
        check(document(format="cloudevents"), "order-screening.event", payment, {})


def test_two_integrations_on_one_topic_share_its_channel() -> None:
    other = msgspec.structs.replace(MANIFEST, integration="stock")
    made = asyncapi_document(
        [Consumed(MANIFEST, "kafka:orders"), Consumed(other, "kafka:orders", ("kafka:orders!",))]
    )

    assert sorted(made["channels"]) == ["kafka-orders", "kafka-orders-2"]
    assert set(made["channels"]["kafka-orders"]["messages"]) == {
        "order-screening.event", "order-screening.structured", "stock.event", "stock.structured",
    }  # fmt: skip
