"""Messages of Kafka as events."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from operator import methodcaller
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from splice.core.events import Event, Headers, Origin, Partition

log = logging.getLogger("splice.kafka")

UNREADABLE = "splice-unreadable-headers"
"""The only header of an event whose headers have a name that is not UTF-8."""

SCHEME = "kafka:"

# Where a name of a header is not UTF-8, confluent-kafka 2.16 sets an exception and gives a list all
# the same, with a hole in it that kills the process that looks. A plain call of a method that ran
# often is not checked for that by CPython; a call by this is, and raises.
_headers_of = methodcaller("headers")


def topic_of(url: str) -> str:
    """The topic that `kafka:TOPIC` names."""
    return url.removeprefix(SCHEME)


def partition_of(place: TopicPartition) -> Partition:
    """As we name it."""
    return SCHEME + place.topic, place.partition


def events_of(messages: Sequence[Any], troubles: list[KafkaError]) -> list[Event]:
    """The events among what was polled; what went wrong is appended to `troubles`.

    Messages are `Any`: the type of the client says that each of their parts may be missing.
    """
    events: list[Event] = []
    urls: dict[str, str] = {}
    for message in messages:
        if (error := message.error()) is not None:
            troubles.append(error)
            continue
        topic = message.topic()
        url = urls.get(topic)
        if url is None:
            url = urls[topic] = SCHEME + topic
        kind, at_ms = message.timestamp()
        events.append(
            Event(
                Origin(url, message.partition(), message.offset()),
                message.key(),
                message.value(),
                _headers(message),
                at_ms * 1000 if kind and at_ms > 0 else 0,
            )
        )
    return events


def _headers(message: Any) -> Headers:
    try:
        headers: list[tuple[str, bytes | None]] | None = _headers_of(message)
    except (SystemError, UnicodeDecodeError):
        # A name that is not UTF-8. The client has broken the list of them as it failed: it must
        # not be asked again, and names and values cannot be had.
        log.warning(
            "%s/%d@%d: headers are left out, a name of them is not UTF-8",
            message.topic(), message.partition(), message.offset(),
        )  # fmt: skip
        return ((UNREADABLE, b""),)
    if not headers:
        return ()
    for _, value in headers:
        if value is None:
            return tuple((name, value or b"") for name, value in headers)
    return tuple(headers)  # type: ignore[arg-type]  # no value is None
