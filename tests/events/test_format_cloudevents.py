"""CloudEvents that the CloudEvents project's own SDK writes are read, and ours are read by it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import http, kafka
from cloudevents.core.v1.event import CloudEvent
from format_house import ORDER, TRACED, event, record

from splice.core.errors import EventError, MalformedBody, SpliceError, UnsupportedMediaType
from splice.core.events import Headers
from splice.serve.events.cloudevents import letters_of_http
from splice.serve.events.envelope import Envelopes, Letter
from splice.serve.events.replies import Replies

ATTRIBUTES: dict[str, Any] = {
    "id": "order-4711 ✓ 100 %",
    "source": "/shop/Köln",
    "type": "com.example.order.placed",
    "time": datetime(2100, 2, 28, 23, 59, 59, tzinfo=UTC),
    "subject": "4711",
    "datacontenttype": "application/json",
    "partitionkey": "c-1",
    "correlationid": "basket-9",
    "traceparent": TRACED,
}
DATA = {"customer": "c-1", "note": "Grüße ✓"}


def kafka_event(message: kafka.KafkaMessage, *more: tuple[str, bytes]) -> Letter:
    headers = (*message.headers.items(), *more)
    return Envelopes().open(event(message.value, headers))


def check(letter: Letter, key: str | None = "c-1") -> None:
    assert json.loads(letter.body) == DATA
    assert (letter.id, letter.source) == (ATTRIBUTES["id"], ATTRIBUTES["source"])
    assert (letter.type, letter.key) == (ATTRIBUTES["type"], key)
    assert letter.correlation == "basket-9"
    assert letter.trace is not None
    assert f"00-{letter.trace.trace_id}-{letter.trace.parent_id}-01" == TRACED
    assert letter.trace.span_id != letter.trace.parent_id


@pytest.mark.parametrize("write", [kafka.to_binary_event, kafka.to_structured_event])
def test_an_event_of_the_sdk_over_kafka_is_read_whole(write: Any) -> None:
    check(kafka_event(write(CloudEvent(ATTRIBUTES, DATA))))


@pytest.mark.parametrize("write", [http.to_binary_event, http.to_structured_event])
def test_an_event_of_the_sdk_over_http_is_read_whole(write: Any) -> None:
    message = write(CloudEvent(ATTRIBUTES, DATA))

    (letter,) = letters_of_http(lower(message.headers), message.body)

    check(letter)


def test_a_structured_event_that_no_header_announces_is_known_by_its_looks() -> None:
    message = kafka.to_structured_event(CloudEvent(ATTRIBUTES, DATA))

    check(Envelopes().open(event(message.value)))
    assert Envelopes("json").open(event(message.value)) == Letter(message.value)


def test_a_body_that_only_mentions_specversion_is_the_request_itself() -> None:
    body = b'{"specversion": "1.0", "id": "a", "source": "b", "kind": "c"}'

    assert Envelopes().open(event(body)) == Letter(body)


def test_binary_data_of_a_structured_event_is_taken_from_base64() -> None:
    attributes = {**ATTRIBUTES, "datacontenttype": "application/json"}
    encoded = base64.b64encode(json.dumps(DATA).encode()).decode()
    body = {**attributes, "specversion": "1.0", "time": "1970-01-01T00:00:00Z"}
    body["data_base64"] = encoded

    check(Envelopes().open(event(json.dumps(body).encode())))


def test_a_batch_over_http_gives_its_events_in_their_order() -> None:
    one = json.loads(http.to_structured_event(CloudEvent(ATTRIBUTES, DATA)).body)
    batch = json.dumps([one, {**one, "id": "second"}]).encode()
    headers = {b"content-type": b"application/cloudevents-batch+json; charset=utf-8"}

    first, second = letters_of_http(headers, batch)

    check(first)
    assert second.id == "second"
    assert letters_of_http(headers, b"[]") == []


def test_json_over_http_that_is_no_cloudevent_is_the_request_itself() -> None:
    headers = {b"content-type": b"application/json; charset=utf-8", b"x-ce": b"1"}

    assert letters_of_http(headers, ORDER) == [Letter(ORDER)]


def test_the_trace_of_the_message_comes_before_that_of_the_event() -> None:
    other = "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-01"
    for write in (kafka.to_binary_event, kafka.to_structured_event):
        message = write(CloudEvent({**ATTRIBUTES, "traceparent": other}, DATA))

        check(kafka_event(message, ("traceparent", TRACED.encode())))


def lower(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.lower().encode(): value.encode("latin-1") for name, value in headers.items()}


# What we write.


def read_kafka(headers: Headers, key: bytes | None, value: bytes | None) -> CloudEvent:
    named = dict(headers)
    assert len(named) == len(headers), "a header twice"
    assert value is not None
    read = kafka.from_kafka_event(kafka.KafkaMessage(named, key, value))
    assert isinstance(read, CloudEvent)
    return read


def read_http(headers: Headers, value: bytes | None) -> CloudEvent:
    assert value is not None
    plain = {name: text.decode("ascii") for name, text in headers}
    read = http.from_http_event(http.HTTPMessage(plain, value))
    assert isinstance(read, CloudEvent)
    return read


@pytest.mark.parametrize("form", ["cloudevents", "structured"])
def test_the_sdk_reads_a_decision_over_kafka_and_over_http(form: Any) -> None:
    targets = ["kafka:decisions", "https://shop.example/decided"]
    replies = Replies("order-screening", targets, form)
    letter = Letter(b"{}", "order 1 ✓", "/shop/Köln", correlation="basket-9")
    answered = record(entity="Kundin \n 1 %", version="gpt prompt 4f1c…")

    over_kafka, over_http = replies.messages(answered, event(b"{}"), letter)

    read = [
        read_kafka(over_kafka.headers, over_kafka.key, over_kafka.value),
        read_http(over_http.headers, over_http.value),
    ]
    for one in read:
        assert one.get_specversion() == "1.0"
        assert one.get_id() == answered.call_id
        assert one.get_source() == "/splice/order-screening"
        assert one.get_type() == "splice.order-screening.decided"
        assert one.get_subject() == "Kundin \n 1 %"
        assert one.get_time() == datetime(2025, 11, 28, 3, 20, 0, 124_500, UTC)
        assert one.get_datacontenttype() == "application/json"
        assert one.get_data() == {"risk": 0.1, "action": "ship"}
        extensions = {
            "splicerelease": "41",
            "spliceroute": "model:fraud",
            "spliceversion": "gpt prompt 4f1c…",
            "splicevariant": "canary",
            "splicereason": "first",
            "causationid": "order 1 ✓",
            "causationsource": "/shop/Köln",
            "correlationid": "basket-9",
        }
        assert {name: one.get_extension(name) for name in extensions} == extensions
    assert read[0].get_extension("partitionkey") == "c-1"


def test_we_read_the_decisions_that_we_write() -> None:
    for form in ("cloudevents", "structured"):
        replies = Replies("order-screening", ["kafka:decisions"], form)
        (message,) = replies.messages(record(), event(b"{}"), None)

        letter = Envelopes().open(event(message.value, message.headers))

        assert letter.body == record().reply
        assert (letter.id, letter.source) == (record().call_id, "/splice/order-screening")
        assert letter.trace is not None
        assert letter.trace.parent_id == "00f067aa0ba902b7"


# What is wrong with one.

BINARY = {
    "ce_specversion": b"1.0",
    "ce_id": b"1",
    "ce_source": b"/shop",
    "ce_type": b"placed",
    "content-type": b"application/json",
}


@pytest.mark.parametrize("name", ["ce_specversion", "ce_id", "ce_source", "ce_type"])
@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe"])
def test_a_header_that_must_be_there_and_is_not_is_named(name: str, value: bytes | None) -> None:
    headers = {k: v for k, v in {**BINARY, name: value}.items() if v is not None}

    with pytest.raises(EventError) as refused:
        Envelopes().open(event(ORDER, tuple(headers.items())))

    assert refused.value.where == f"event.{name}"


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize("value", [None, "", 7, ["a"]])
def test_a_member_that_must_be_there_and_is_not_is_named(name: str, value: Any) -> None:
    whole = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {}, name: value}
    body = json.dumps(whole).encode()

    with pytest.raises(EventError) as refused:
        Envelopes().open(event(body, (("content-type", b"application/cloudevents+json"),)))

    assert refused.value.where == f"event.{name}"


def structured(text: str, content_type: bytes = b"application/cloudevents+json") -> Letter:
    start = '{"specversion":"1.0","id":"1","source":"/s","type":"t"'
    return Envelopes().open(event(f"{start}{text}}}".encode(), (("content-type", content_type),)))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "event.data"),
        (',"data":{},"data_base64":"e30="', "event.data_base64"),
        (',"data_base64":"e3*0="', "event.data_base64"),
        (',"data_base64":""', "event.data_base64"),
        (',"data_base64":5', "event.data_base64"),
        (',"partitionkey":{},"data":1', "event.partitionkey"),
    ],
)
def test_data_that_is_not_there_or_twice_is_refused(text: str, where: str) -> None:
    with pytest.raises(EventError) as refused:
        structured(text)

    assert refused.value.where == where


@pytest.mark.parametrize(
    "text",
    [',"id":"2","data":{}', ',"data":{"a":1,"a":2}', ',"data":NaN', ',"data":{', ',"data":"\\ud8"'],
)
def test_a_structured_event_that_is_no_clear_json_is_malformed(text: str) -> None:
    with pytest.raises(MalformedBody):
        structured(text)


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/cloudevents+avro",
        b"application/cloudevents+protobuf",
        b"application/cloudevents-batch+json",
        b"application/cloudevents",
        b"Application/CloudEvents+XML",
        b"application/cloudevents+json; charset=utf-16",
    ],
)
def test_another_format_of_an_event_is_refused_by_name(content_type: bytes) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        structured(',"data":{}', content_type)

    assert refused.value.where == "event.content-type"


@pytest.mark.parametrize("media", ["application/xml", "text/plain", "", "json", "image/png; a=b"])
def test_data_that_is_said_to_be_no_json_is_refused(media: str) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        structured(f',"datacontenttype":{json.dumps(media)},"data":"<a/>"')
    assert refused.value.where == "event.datacontenttype"

    with pytest.raises(UnsupportedMediaType) as refused:
        Envelopes().open(event(ORDER, tuple({**BINARY, "content-type": media.encode()}.items())))
    assert refused.value.where == "event.content-type"


@pytest.mark.parametrize(
    "media",
    ["application/json", "text/json", "application/vnd.shop.order+json", "APPLICATION/JSON",
     "application/json; charset=UTF-8"],
)  # fmt: skip
def test_data_in_any_kind_of_json_is_taken(media: str) -> None:
    assert structured(f',"datacontenttype":"{media}","data":[1]').body == b"[1]"
    headers = tuple({**BINARY, "content-type": media.encode()}.items())
    assert Envelopes().open(event(ORDER, headers)).body == ORDER


def test_a_header_with_two_values_is_refused_and_one_of_no_concern_is_not() -> None:
    headers = tuple(BINARY.items())

    with pytest.raises(EventError) as refused:
        Envelopes().open(event(ORDER, (*headers, ("CE_ID", b"2"))))
    assert refused.value.where == "event.ce_id"

    letter = Envelopes().open(event(ORDER, (*headers, ("ce_id", b"1"), ("x", b"1"), ("x", b"2"))))
    assert letter.id == "1"


def test_headers_that_nobody_reads_may_hold_any_bytes() -> None:
    headers = (*BINARY.items(), ("ce_other", b"\xff"), ("\udcff", b"\0"), ("", b""))

    assert Envelopes().open(event(ORDER, headers)).id == "1"
    assert Envelopes().open(event(ORDER, headers[-3:])) == Letter(ORDER)


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"\xff\xff",
        b"00-0-0-00",
        TRACED.encode()[:-1],
        b"00-" + b"0" * 32 + TRACED.encode()[35:],
    ],
)
def test_a_trace_that_is_not_one_is_passed_over(parent: bytes) -> None:
    for headers in ((("traceparent", parent),), (*BINARY.items(), ("traceparent", parent))):
        letter = Envelopes().open(event(ORDER, headers))

        assert letter.trace is None
        assert letter.body == ORDER


def test_two_different_traces_are_none() -> None:
    other = TRACED.replace("b7ad", "b7ae").encode()

    letter = Envelopes().open(
        event(ORDER, (("traceparent", TRACED.encode()), ("traceparent", other)))
    )

    assert letter.trace is None


def test_only_cloudevents_are_taken_where_the_setting_says_so() -> None:
    with pytest.raises(EventError) as refused:
        Envelopes("cloudevents").open(event(ORDER))
    assert refused.value.where == "event.headers"
    with pytest.raises(EventError):
        Envelopes("cloudevents").open(event(ORDER, (("content-type", b"application/json"),)))

    assert Envelopes("cloudevents").open(event(ORDER, tuple(BINARY.items()))).id == "1"


def test_bad_http_requests_are_refused_by_the_name_of_the_header() -> None:
    cases: list[tuple[dict[bytes, bytes], bytes, str]] = [
        ({b"ce-id": b"1", b"ce-source": b"/s", b"ce-type": b"t"}, ORDER, "event.ce-specversion"),
        ({b"ce-specversion": b"1.0", b"ce-id": b"%ff", b"ce-source": b"/s", b"ce-type": b"t"},
         ORDER, "event.ce-id"),
        ({b"content-type": b"application/xml"}, ORDER, "event.content-type"),
        ({b"content-type": b"application/json"}, b"", "event.body"),
        ({b"content-type": b"application/cloudevents+json"}, b"", "event.body"),
        ({b"content-type": b"application/cloudevents-batch+json"}, b"{}", "event.body"),
        ({b"content-type": b"application/cloudevents-batch+json"}, b"[" * 100_000, "event.body"),
        ({b"content-type": b"application/cloudevents-batch+json"}, b"[1]", "event[0]"),
        ({b"content-type": b"application/cloudevents-batch+json"},
         b'[{"specversion":"1.0","id":"1","source":"s","type":"t","data":1},{}]',
         "event[1].specversion"),
        ({b"content-type": b"application/cloudevents-batch+json"}, b"[" + b"1," * 10_000 + b"1]",
         "event.body"),
    ]  # fmt: skip
    for headers, body, where in cases:
        with pytest.raises(SpliceError) as refused:
            letters_of_http(headers, body)
        assert refused.value.where == where
        assert not refused.value.retryable
