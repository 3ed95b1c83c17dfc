"""A part of a topic's history, read once and in order, by no group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from splice.adapters.buses.kafka_errors import bus_error, fault_of
from splice.adapters.buses.kafka_events import SCHEME, events_of
from splice.adapters.buses.kafka_options import CONSUMER, client
from splice.core.errors import BusError
from splice.core.events import Event

Bound: TypeAlias = "Mapping[int, int] | int | None"
"""An offset for each partition, or Unix microseconds; None is as far as it goes."""

_BATCH = 1000
_POLL_S = 0.2
_PATIENCE_S = 60.0


class KafkaRange:
    """The events of a topic from `start` to `end`, which are fixed when it is made.

    Iterating gives each partition's events in order; those of several partitions are mixed.
    `next` says how far each partition was given: made again with it as `start` and the same `end`,
    a range goes on there. It blocks, and is for one thread.

    Args:
        given: Options of the user.
        topic: Its name.
        start: Where to begin.
        end: The first that are not read.
        reach_s: How long the first broker may take to answer.

    Raises:
        BusError: The cluster cannot be reached, or the topic or a partition does not exist.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        topic: str,
        start: Bound = None,
        end: Bound = None,
        *,
        reach_s: float = 10.0,
    ) -> None:
        self._topic, self._where, self._reach_s = topic, SCHEME + topic, reach_s
        self._trouble: KafkaError | None = None
        own = {
            "group.id": "splice-history",  # of no group: it neither joins nor commits
            "enable.auto.commit": False,
            "enable.partition.eof": True,  # the last offsets may be marks of transactions
            "auto.offset.reset": "error",
            "error_cb": self._on_error,
        }
        self._consumer = client(Consumer, CONSUMER, given, own)
        try:
            self.start, self.end = self._bounds(start, end)
        except KafkaException as error:
            self._consumer.poll(0)  # serves what `_on_error` is told: better than "timed out"
            self._consumer.close()
            raise bus_error(self._trouble or fault_of(error), self._where) from error
        except BusError:
            self._consumer.close()
            raise
        self.next = dict(self.start)

    def __iter__(self) -> Iterator[Event]:
        todo = {n for n, at in self.next.items() if at < self.end[n]}
        consumer = self._consumer
        consumer.assign([TopicPartition(self._topic, n, self.next[n]) for n in sorted(todo)])
        heard = time.monotonic()
        while todo:
            messages = consumer.consume(_BATCH, _POLL_S)
            troubles: list[KafkaError] = []
            for event in events_of(messages, troubles):
                partition, offset = event.origin.partition, event.origin.offset
                if partition not in todo:
                    continue
                if offset < self.end[partition]:
                    self.next[partition] = offset + 1
                    yield event
                if offset + 1 >= self.end[partition]:
                    self._over(todo, partition)
            self._look_at(messages, todo)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > _PATIENCE_S:
                fault = self._trouble or KafkaError(KafkaError._TIMED_OUT)
                raise bus_error(fault, self._where, retryable=True)

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _look_at(self, messages: list[Any], todo: set[int]) -> None:
        for message in messages:
            error = message.error()
            if error is None:
                continue
            if error.code() != KafkaError._PARTITION_EOF:
                raise bus_error(error, f"{self._where}/{message.partition()}")
            if message.partition() in todo and message.offset() >= self.end[message.partition()]:
                self._over(todo, message.partition())

    def _over(self, todo: set[int], partition: int) -> None:
        todo.discard(partition)
        self.next[partition] = self.end[partition]
        self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])

    def _bounds(self, start: Bound, end: Bound) -> tuple[dict[int, int], dict[int, int]]:
        consumer = self._consumer
        found = consumer.list_topics(self._topic, timeout=self._reach_s).topics.get(self._topic)
        if found is None or found.error is not None or not found.partitions:
            unknown = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
            raise KafkaException(found.error if found and found.error else unknown)
        kept = {
            n: consumer.get_watermark_offsets(TopicPartition(self._topic, n), self._reach_s)
            for n in found.partitions
        }
        first = {n: low for n, (low, _) in kept.items()}
        last = {n: high for n, (_, high) in kept.items()}
        starts = self._resolved(start, first, last)
        ends = self._resolved(end, last, last)
        if isinstance(start, Mapping):  # a partition that was not named is not read
            starts = {n: at for n, at in starts.items() if n in start}
        return starts, {n: ends[n] for n in starts}

    def _resolved(
        self, bound: Bound, default: dict[int, int], last: dict[int, int]
    ) -> dict[int, int]:
        if bound is None:
            return dict(default)
        if isinstance(bound, Mapping):
            if more := sorted(set(bound) - set(default)):
                raise BusError(
                    f"{self._where}/{more[0]}", got="a partition that the topic has not",
                    promised=f"0 to {len(default) - 1}",
                )  # fmt: skip
            return {n: min(bound.get(n, default[n]), last[n]) for n in default}
        asked = [TopicPartition(self._topic, n, bound // 1000) for n in default]
        answers = self._consumer.offsets_for_times(asked, self._reach_s)
        return {
            one.partition: one.offset if one.offset >= 0 else last[one.partition] for one in answers
        }

    def _on_error(self, error: KafkaError) -> None:
        self._trouble = error
