"""`splice calls explain` and `list` of what is not simply answered: kept, refused, broken off."""

from __future__ import annotations

import json
import random

import msgspec
import pytest

from splice.adapters.ledgers.sql import open_ledger
from splice.cli.calls import story
from splice.core.call import Attempt, Problem, Reason, Record, Status
from splice.core.errors import Stopped
from splice.core.units import cost_text
from splice.testing.contracts.records import simple_record

KEPT = (Reason.CACHED, Reason.SIMILAR, Reason.SHARED, Reason.REPEATED)


def record(**fields: object) -> Record:
    return msgspec.structs.replace(simple_record(random.Random(7)), **fields)


def told(one: Record) -> str:
    return "\n".join(story(one, [], "EUR"))


@pytest.mark.parametrize("reason", KEPT)
def test_a_kept_answer_has_no_tries_and_no_blank_author(reason: Reason) -> None:
    text = told(record(reason=reason, route="", version="", cost_nano=0))

    assert "Tried" not in text
    assert "by :" not in text
    assert "Answered" in text
    assert "cost EUR 0" in text


def test_a_refused_call_cost_nothing_and_does_not_say_that_nothing_was_asked() -> None:
    problem = Problem("rate_limited", "key k", "expected at most 3 requests a minute")

    text = told(
        record(
            status=Status.REFUSED, reason=Reason.OVER_BUDGET, input=b"", reply=None, route="",
            version="", cost_nano=None, problem=problem,
        )
    )  # fmt: skip

    assert "Asked" not in text
    assert "unknown" not in text
    assert "cost EUR 0\n" in text
    assert "key k: expected at most 3 requests a minute" in text


BODIES = [
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Once upon"}}]},
    {"type": "message", "content": [{"type": "text", "text": "Once upon"}]},
    {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Once upon"}]}]},
]


@pytest.mark.parametrize("body", BODIES)
def test_a_stream_whose_reader_left_shows_what_came_before(body: object) -> None:
    gone = Stopped("assistant", got="the client went away in the middle of the stream")
    text = told(
        record(
            status=Status.FAILED, reason=Reason.DISCONNECTED, reply=json.dumps(body).encode(),
            problem=Problem(gone.code, gone.where, gone.detail),
        )
    )  # fmt: skip

    assert "\n  the client went away in the middle of the stream\n" in text
    assert "What came before\n  Once upon\n" in text


def test_the_same_route_tried_again_is_not_called_another() -> None:
    failed, answered = Attempt("llm:a", "timeout", 0, 5), Attempt("llm:a", "answered", 6, 5)
    elsewhere = msgspec.structs.replace(failed, route="llm:b")

    again = told(record(reason=Reason.FALLBACK, attempts=(failed, answered)))
    other = told(record(reason=Reason.FALLBACK, attempts=(elsewhere, answered)))

    assert "an earlier try did not" in again
    assert "the routes before it did not" in other


def test_no_number_is_written_with_an_exponent() -> None:
    attempt = Attempt("llm:a", "answered", 0, 1_234_567, cost_nano=16_700)
    text = told(record(attempts=(attempt,), duration_us=61_234_567, cost_nano=16_700))

    assert "after 1.23 s, cost EUR 0.0000167" in text
    assert "Took 61.2 s and cost EUR 0.0000167" in text
    assert [cost_text(nano, "EUR") for nano in (0, 1, 250_000_000, 1_500_000_000, None)] == [
        "EUR 0", "< EUR 0.000001", "EUR 0.25", "EUR 1.50", "unknown",
    ]  # fmt: skip


@pytest.fixture
def kept(command) -> Record:
    ledger = open_ledger(f"sqlite:///{command.folder}/.splice/ledger.db", command.folder)
    one = record(reason=Reason.CACHED, route="", version="")
    ledger.records.append([one])
    ledger.close()
    return one


def test_the_list_says_who_answered_where_nobody_was_asked(command, kept: Record) -> None:
    ran = command("calls", "list")

    assert "a kept answer" in ran.out


def test_the_id_of_an_answer_that_we_made_is_the_id_of_its_call(command, kept: Record) -> None:
    bare = kept.call_id.replace("-", "")

    for written in (f"chatcmpl-{kept.call_id}", f"msg_{bare}", f"resp_{bare}", f"req_{bare}"):
        assert command("calls", "show", written).json["call_id"] == kept.call_id


def test_the_id_of_a_provider_leads_to_the_header_that_has_ours(command, kept: Record) -> None:
    ran = command("calls", "explain", "chatcmpl-9aBcD")

    assert ran.code == 2
    assert "splice-call-id" in ran.err
