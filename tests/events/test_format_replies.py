"""Decisions as messages: one a target, always the same, with the key and the trace of the event."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from format_house import event, record

from splice.core.call import Status
from splice.serve.events.letter import Letter
from splice.serve.events.replies import Replies

TARGETS = ["kafka:decisions", "queue:decided", "table:decisions", "https://shop.example/hook"]


def test_each_target_gets_one_message_and_its_id_is_the_same_each_time() -> None:
    first = Replies("order-screening", TARGETS).messages(record(), event(b"{}"), None)
    again = Replies("order-screening", TARGETS).messages(record(), event(b"{}"), None)

    assert [one.target for one in first] == TARGETS
    assert first == again
    assert len({one.id for one in first}) == 4
    assert {one.key for one in first} == {b"c-1"}
    assert {one.value for one in first} == {record().reply}
    other = Replies("order-screening", TARGETS).messages(
        record(call_id="0199e1f0-1a2b-7c3d-8e4f-000000000002"), event(b"{}"), None
    )
    assert not {one.id for one in first} & {one.id for one in other}


def test_a_call_without_a_reply_and_an_integration_without_targets_send_nothing() -> None:
    failed = record(status=Status.FAILED, reply=None)

    assert Replies("order-screening", TARGETS).messages(failed, event(b"{}"), None) == ()
    assert Replies("order-screening", []).messages(record(), event(b"{}"), None) == ()


def headers_of(
    form: Any = "cloudevents", target: str = TARGETS[0], **changes: Any
) -> dict[str, bytes]:
    asked = changes.pop("asked", event(b"{}"))
    letter, kept = changes.pop("letter", None), changes.pop("kept", None)
    replies = Replies("order-screening", [target], form)
    (message,) = replies.messages(record(**changes), asked, letter, kept)
    return dict(message.headers)


def test_an_event_without_an_id_is_named_by_its_place() -> None:
    headers = headers_of(letter=Letter(b"{}"))

    assert headers["ce_causationid"] == b"kafka:orders/2@7"
    assert "ce_causationsource" not in headers


def test_the_subject_is_the_entity_as_the_ledger_keeps_it() -> None:
    assert headers_of()["ce_subject"] == b"c-1"
    kept = record(entity="sha256:0123456789abcdef", reply=None)
    assert headers_of(kept=kept)["ce_subject"] == b"sha256:0123456789abcdef"
    assert "ce_subject" not in headers_of(entity=None)
    assert "ce_subject" not in headers_of(kept=record(entity=None))


def test_what_is_empty_is_left_out() -> None:
    headers = headers_of(variant="", version="", route="", entity="")

    left_out = {"ce_splicevariant", "ce_spliceversion", "ce_spliceroute", "ce_subject"}
    assert not left_out & headers.keys()
    assert all(headers.values())


def test_the_names_of_attributes_are_those_that_cloudevents_allows() -> None:
    letter = Letter(b"{}", "1", "/s", correlation="2")
    for form in ("cloudevents", "structured"):
        replies = Replies("order-screening", ["kafka:decisions"], form)
        (message,) = replies.messages(record(), event(b"{}"), letter)
        named = {name[3:] for name, _ in message.headers if name.startswith("ce_")}
        if form == "structured":
            named = set(json.loads(message.value or b"")) - {"data"}

        assert len(named) >= 12
        assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in named)


@pytest.mark.parametrize("form", ["cloudevents", "structured", "json"])
@pytest.mark.parametrize("target", [TARGETS[0], TARGETS[3]])
def test_the_trace_of_the_event_goes_on_from_our_span(form: Any, target: str) -> None:
    asked = event(b"{}", (("tracestate", b"vendor=1"), ("x", b"y")))

    headers = headers_of(form, target, asked=asked)

    assert headers["traceparent"] == b"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
    assert headers["tracestate"] == b"vendor=1"
    assert (
        not {"traceparent", "tracestate"} & headers_of(form, target, trace=None, asked=asked).keys()
    )


def test_a_bare_reply_has_the_ids_in_headers() -> None:
    headers = headers_of("json", letter=Letter(b"{}", "order 1 ✓"), trace=None)

    assert headers == {
        "content-type": b"application/json",
        "splice-integration": b"order-screening",
        "splice-call-id": record().call_id.encode(),
        "splice-release": b"41",
        "splice-event-id": b"order%201%20%E2%9C%93",
    }


def test_no_text_of_an_event_breaks_a_header_of_http() -> None:
    letter = Letter(b"{}", "a\r\nx-evil: 1", '"\x00\x7f\ud800', correlation="\n")
    for state in (b"a\r\nx: 1", b"\xff", b"", b"a" * 600):
        asked = event(b"{}", (("tracestate", state),))
        assert "tracestate" not in headers_of(target=TARGETS[3], asked=asked)
    for form in ("cloudevents", "json"):
        headers = headers_of(form, TARGETS[3], letter=letter, entity="é\r\n")

        assert all(re.fullmatch(rb"[\x21-\x7e]*", value) for value in headers.values())


def test_times_are_told_to_the_microsecond() -> None:
    replies = Replies("order-screening", ["kafka:decisions"])
    told: list[bytes] = []
    for at_us in (0, 999_999, 1_000_000, 4_102_444_800_000_001, 1):
        (message,) = replies.messages(record(asked_us=at_us, duration_us=0), event(b"{}"), None)
        told.append(dict(message.headers)["ce_time"])

    assert told == [
        b"1970-01-01T00:00:00.000000Z",
        b"1970-01-01T00:00:00.999999Z",
        b"1970-01-01T00:00:01.000000Z",
        b"2100-01-01T00:00:00.000001Z",
        b"1970-01-01T00:00:00.000001Z",
    ]


def test_one_release_after_another_is_told_as_it_is() -> None:
    replies = Replies("order-screening", ["kafka:decisions"])
    for release in (*range(1, 1200), 1):
        (message,) = replies.messages(record(release=release), event(b"{}"), None)

        assert dict(message.headers)["ce_splicerelease"] == str(release).encode()
