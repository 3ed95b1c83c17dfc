"""Kafka as a bus: streams `kafka:TOPIC` to read from and to send to, by confluent-kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer

from splice.adapters.buses.kafka_exchange import KafkaExchange
from splice.adapters.buses.kafka_options import CONSUMER, Options, checked, client
from splice.adapters.buses.kafka_range import Bound, KafkaRange
from splice.adapters.buses.kafka_reader import Plan
from splice.adapters.buses.kafka_sink import KafkaSink
from splice.adapters.buses.kafka_source import KafkaSource


class KafkaBus:
    """One Kafka cluster.

    Args:
        servers: `host:port`, several with commas between them.
        options: librdkafka's, by its names; secrets are in them already. Never shown.
        reach_s: How long the first broker may take to answer.
        delivery_s: How long a message may take to be delivered, broker restarts included.

    Raises:
        SettingsError: An option would take away what Splice promises.
    """

    def __init__(
        self,
        servers: str,
        options: Options | None = None,
        *,
        reach_s: float = 10.0,
        delivery_s: float = 30.0,
    ) -> None:
        given: dict[str, Any] = checked(options or {})
        self._given = {"client.id": "splice"} | given | {"bootstrap.servers": servers}
        self._servers, self._reach_s, self._delivery_s = servers, reach_s, delivery_s

    def __repr__(self) -> str:
        return f"KafkaBus({self._servers!r})"  # its options may hold secrets

    def source(
        self,
        topics: Sequence[str],
        group: str,
        *,
        start: str = "earliest",
        batch: int = 1000,
        drain_s: float = 20.0,
    ) -> KafkaSource:
        """Topics, read as a member of a group.

        Args:
            topics: Their names; the first one names the stream.
            group: The consumer group.
            start: `earliest` or `latest`: where a group that is new to a topic begins.
            batch: Events that are read at once; as many may be read ahead.
            drain_s: How long `revoked` may take to say how far its partitions are.
        """
        drain_s += 10.0  # who drains for so long still has to say it
        own = {
            "group.id": group,
            "auto.offset.reset": start,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
        # While the group is rebalanced a member may be silent for as long as this.
        patience = {"max.poll.interval.ms": max(300_000, int(drain_s * 2000))}

        def make(callbacks: Mapping[str, Any]) -> Consumer:
            return client(Consumer, CONSUMER, patience, self._given, own, callbacks)

        return KafkaSource(make, Plan(tuple(topics), group, batch, drain_s, self._reach_s))

    def sink(self) -> KafkaSink:
        """Sends messages whose targets are `kafka:TOPIC`."""
        return KafkaSink(self._given, self._delivery_s)

    def exchange(self, source: KafkaSource, transaction_id: str) -> KafkaExchange:
        """Sends messages and tells positions of the source, in one transaction.

        Args:
            source: One of this cluster.
            transaction_id: Only one process may have it at a time; when another one starts with it,
                this one is fenced. Each worker needs one of its own, the same after a restart.
        """
        return KafkaExchange(self._given, source, transaction_id)

    def read(self, topic: str, start: Bound = None, end: Bound = None) -> KafkaRange:
        """What a topic holds between two bounds, to be read once, without a group; it blocks.

        Args:
            topic: Its name.
            start: Offsets by partition, or Unix microseconds; the first ones kept if left out.
            end: The first that are not read; up to what is there now if left out.

        Raises:
            BusError: The cluster cannot be reached, or the topic does not exist.
        """
        return KafkaRange(self._given, topic, start, end, reach_s=self._reach_s)
