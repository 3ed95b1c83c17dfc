"""A transaction whose messages were thrown away unsent does not go on to its positions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from splice.adapters.buses.kafka_exchange import _fill, _Reports
from splice.core.events import Message


class Client:
    """Takes messages, and reports all of them as `code` once it is flushed."""

    def __init__(self, code: int | None) -> None:
        self._code = code
        self._reports: list[Callable[[KafkaError, Any], None]] = []

    def produce(self, *_: Any, on_delivery: Callable[[KafkaError, Any], None], **__: Any) -> None:
        self._reports.append(on_delivery)

    def flush(self, _: float) -> int:
        if self._code is not None:
            for report in self._reports:
                report(KafkaError(self._code), self)
        return 0

    def topic(self) -> str:
        return "decisions"


def fill(code: int | None) -> _Reports:
    reports = _Reports()
    messages = [Message(str(n), "kafka:decisions", None, b"{}") for n in range(3)]
    _fill(cast("Producer", Client(code)), messages, reports, time.monotonic() + 5)
    return reports


@pytest.mark.parametrize("code", [KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT])
def test_messages_that_were_thrown_away_are_not_delivered(code: int) -> None:
    with pytest.raises(KafkaException, match="thrown away"):
        fill(code)


def test_the_reason_of_the_first_that_failed_is_told() -> None:
    with pytest.raises(KafkaException, match="timed out"):
        fill(KafkaError._MSG_TIMED_OUT)


def test_without_a_report_all_are_delivered() -> None:
    assert fill(None).error is None
