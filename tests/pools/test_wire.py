"""What comes from a worker process is of the right type and number, or refused."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splice.adapters.pools.wire import (
    MOST,
    Fault,
    Row,
    answers_of,
    body_in,
    error_of,
    frame_of,
    loaded_of,
    rows_of,
    run_of,
)
from splice.core.call import Prediction
from splice.core.errors import BadAnswer, ModelMismatch, RouteCrashed, RouteError

encode = msgspec.msgpack.encode


def refused(call: Any, *arguments: Any) -> bool:
    try:
        call(*arguments)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return True
    return False


@given(st.binary(max_size=200))
def test_any_bytes_are_answers_or_refused(body: bytes) -> None:
    if not refused(answers_of, body, 1, "m"):
        assert all(isinstance(one, (Prediction, RouteError)) for one in answers_of(body, 1, "m"))
    refused(loaded_of, body)


@pytest.mark.parametrize(
    "body",
    [
        encode([]),
        encode([[None, None], [None, None]]),
        encode([[{"score": "high"}, None]]),
        encode([[{"value": msgspec.msgpack.Ext(5, b"x")}, None]]),
        encode({"rows": 1}),
        b"\x91" * 5000 + b"\x90",
        b"\x91\x92\x81\xa5value" + b"\x91" * 100_000 + b"\xc0\xc0",
    ],
)
def test_what_is_no_answer_to_one_row_is_refused(body: bytes) -> None:
    assert refused(answers_of, body, 1, "m")


@pytest.mark.parametrize(
    "prediction",
    [
        Prediction(value=float("nan")),
        Prediction(value=1.0, score=float("inf")),
        Prediction(value="a", scores={"a": float("nan")}),
        Prediction(value=[1.0, [float("nan")]]),
        Prediction(value={"a": float("-inf")}),
    ],
)
def test_a_number_that_is_none_is_a_bad_answer_of_its_row(prediction: Prediction) -> None:
    good = Prediction(value=1.0, score=0.5, scores={"a": 0.5})

    first, second = answers_of(encode([Row(good), Row(prediction)]), 2, "m")

    assert first == good
    assert isinstance(second, BadAnswer)


def test_an_error_of_no_known_code_is_a_crash_and_its_texts_are_cut() -> None:
    error = error_of(Fault("stopped", "m", "x" * 10_000))

    assert type(error) is RouteCrashed
    assert len(error.got) == 300


def test_a_frame_is_read_once_it_is_whole_and_nothing_may_follow_it() -> None:
    frame = frame_of([1, 2])

    assert all(body_in(bytearray(frame[:cut])) is None for cut in range(len(frame)))
    assert bytes(body_in(bytearray(frame)) or b"") == frame[4:]
    assert refused(body_in, bytearray(frame + b"\x00"))
    assert refused(body_in, bytearray((MOST + 1).to_bytes(4, "big")))


def test_numpy_values_travel_as_plain_ones() -> None:
    row = {"a": np.float32(0.5), "b": np.int64(3), "c": np.array([1.0, 2.0]), "d": np.bool_(True)}

    (plain,) = rows_of(run_of([row], tuple("abcd"), "m").frame[4:])

    assert plain == {"a": 0.5, "b": 3, "c": [1.0, 2.0], "d": True}


def test_a_row_that_cannot_be_sent_keeps_its_place_among_the_results() -> None:
    rows = [{"a": 1}, {"a": object()}, {"a": 3}, {"a": 10**30}]
    sent = run_of(rows, ("a",), "m")

    assert rows_of(sent.frame[4:]) == [{"a": 1}, {"a": 3}]
    first, second, third, fourth = sent.whole([Prediction(value=1), Prediction(value=3)])
    assert (first, third) == (Prediction(value=1), Prediction(value=3))
    assert isinstance(second, ModelMismatch)
    assert isinstance(fourth, ModelMismatch)
