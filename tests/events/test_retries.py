"""What a failure means for an event, and how long it waits."""

from __future__ import annotations

import pytest

from splice.core.call import Attempt, Reason, Record, Status
from splice.core.errors import (
    DecisionError,
    Draining,
    ExhaustedError,
    GatherError,
    InputMismatch,
    MeterAway,
    OverBudget,
    Overloaded,
    SpliceError,
    Stopped,
    UnknownIntegration,
    UnknownSchema,
)
from splice.core.events import DeadLetter, Event, Origin
from splice.core.release import NotLoaded
from splice.serve.events.dead import dead_message
from splice.serve.events.retries import (
    DUE,
    ORIGIN,
    TRIES,
    backoff_s,
    due_us,
    header,
    retry_message,
    retry_topics,
    tries_of,
)
from splice.serve.events.verdicts import Verdict, verdict

EVENT = Event(Origin("kafka:orders", 2, 17), b"k", b'{"a":1}', (("x", b"\xff\xfe"),))


def record(*ended: str) -> Record:
    attempts = tuple(Attempt("route", one, 0, 0) for one in ended)
    return Record(
        "01900000-0000-7000-8000-000000000000", "orders", 1, 0, 0, Status.FAILED,
        Reason.EXHAUSTED, "events", attempts=attempts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("error", "ended", "what"),
    [
        (InputMismatch("orders.input"), (), Verdict.DEAD),
        (UnknownSchema("orders"), (), Verdict.DEAD),
        (DecisionError("orders"), ("answered",), Verdict.DEAD),
        (GatherError("orders"), (), Verdict.RETRY),
        (ExhaustedError("orders"), ("timeout",), Verdict.RETRY),
        (ExhaustedError("orders"), ("provider_limited", "provider_failed"), Verdict.RETRY),
        (ExhaustedError("orders"), ("model_mismatch", "timeout"), Verdict.RETRY),
        (ExhaustedError("orders"), ("model_unavailable",), Verdict.RETRY),
        (ExhaustedError("orders"), ("model_mismatch",), Verdict.DEAD),
        (ExhaustedError("orders"), ("crashed", "model_mismatch"), Verdict.DEAD),
        (Stopped("orders"), (), Verdict.HOLD),
        (Overloaded("orders"), (), Verdict.HOLD),
        (OverBudget("orders"), (), Verdict.HOLD),
        (MeterAway("orders"), (), Verdict.HOLD),
        (UnknownIntegration("orders"), (), Verdict.HOLD),
        (NotLoaded("orders"), (), Verdict.HOLD),
        (Draining("server"), (), Verdict.LEAVE),
    ],
)
def test_a_failure_is_tried_again_only_where_that_can_help(
    error: SpliceError, ended: tuple[str, ...], what: Verdict
) -> None:
    assert verdict(error, record(*ended) if ended else None) is what


def test_a_wait_doubles_up_to_its_bound_and_two_are_not_the_same() -> None:
    waits = [[backoff_s(tries, 1.0, 30.0) for _ in range(50)] for tries in range(1, 12)]

    for tries, some in enumerate(waits, 1):
        exact = min(2 ** (tries - 1), 30)
        assert all(0.75 * exact <= one <= 1.25 * exact for one in some)
        assert len(set(some)) > 1


def test_an_event_moves_from_one_delayed_topic_to_the_next_and_stays_in_the_last() -> None:
    topics = retry_topics("orders", [30, 300])
    event, targets = EVENT, []
    for tries in (1, 2, 3):
        message, delay = retry_message(event, tries, topics)
        targets.append((message.target, delay))
        event = Event(Origin(message.target, 0, tries), message.key, message.value, message.headers)

        assert tries_of(event) == tries
        assert due_us(event) > 0
        assert header(event.headers, ORIGIN) == b"kafka:orders/2@17"
        assert header(event.headers, "x") == b"\xff\xfe"
        assert [name for name, _ in event.headers].count(DUE) == 1
        assert [name for name, _ in event.headers].count(TRIES) == 1

    assert targets == [
        ("kafka:orders.retry-30s", 30),
        ("kafka:orders.retry-300s", 300),
        ("kafka:orders.retry-300s", 300),
    ]


def test_headers_of_ours_that_are_nonsense_are_no_numbers() -> None:
    event = Event(EVENT.origin, None, b"{}", ((DUE, b"\xff"), (TRIES, b"9" * 30)))

    assert due_us(event) == 0
    assert tries_of(event) == 0


def test_a_dead_letter_keeps_bytes_and_headers_with_origin_error_and_attempts() -> None:
    letter = DeadLetter("orders", EVENT, "input_mismatch", "orders.input", "got ü", 3, 17)

    message = dead_message(letter, "kafka:orders.dead")

    assert (message.key, message.value) == (EVENT.key, EVENT.value)
    assert message.headers[0] == ("x", b"\xff\xfe")
    assert dict(message.headers[1:]) == {
        ORIGIN: b"kafka:orders/2@17",
        TRIES: b"3",
        "splice-error": b"input_mismatch",
        "splice-error-detail": "orders.input: got ü".encode(),
        "splice-dead-us": b"17",
    }
