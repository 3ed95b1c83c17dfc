"""Options of librdkafka: our defaults, what users may not change, and clients made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from confluent_kafka import KafkaException

from splice.adapters.buses.kafka_errors import log, settings_error
from splice.core.errors import SettingsError

Options: TypeAlias = "Mapping[str, str | int | float | bool]"

Client = TypeVar("Client")

CONSUMER: Options = {
    "partition.assignment.strategy": "cooperative-sticky",
    "isolation.level": "read_committed",
    # What waits in memory to be read, and how soon more is fetched once there is room. With the
    # default second between looks, reading 1 KB events came to 29,000/s; with 10 ms to 165,000.
    "queued.max.messages.kbytes": 32 * 1024,
    "fetch.queue.backoff.ms": 10,
    "fetch.wait.max.ms": 100,
    "topic.metadata.refresh.interval.ms": 60_000,
}
PRODUCER: Options = {
    # As Java's clients place keys: topics that both write to are partitioned alike.
    "partitioner": "murmur2_random",
    # One message alone took 1.4 ms with it, and batches of 1000 came to 287,000/s; with the
    # default of 5 ms 5.9 ms, and 131,000/s.
    "linger.ms": 1,
    "compression.type": "lz4",
    # The broker decides: topics may allow much more than the default of a million bytes.
    "message.max.bytes": 100_000_000,
    "queue.buffering.max.kbytes": 128 * 1024,
    "topic.metadata.propagation.max.ms": 5_000,
}
_OURS = {
    "bootstrap.servers": "kafka.servers",
    "metadata.broker.list": "kafka.servers",
    "group.id": "group of the integration",
    "auto.offset.reset": "start of the integration",
    "transactional.id": "transaction_id of the integration",
    "enable.auto.commit": "",
    "enable.auto.offset.store": "",
    "enable.partition.eof": "",
    "enable.idempotence": "",
    "acks": "",
    "request.required.acks": "",
}


def checked(options: Options) -> dict[str, str | int | float | bool]:
    """The options of a user.

    Raises:
        SettingsError: One of them would take away what Splice promises.
    """
    for name in options:
        if name in _OURS:
            instead = _OURS[name]
            raise SettingsError(
                f"kafka.options.{name}",
                got="an option that Splice sets",
                mend=f"set {instead} instead" if instead else "leave it out",
            )
    return dict(options)


def client(make: Callable[[dict[str, Any]], Client], *layers: Mapping[str, Any]) -> Client:
    """A client of librdkafka; later layers of options outdo earlier ones.

    Raises:
        SettingsError: An option is unknown, or has a value that cannot be.
    """
    options: dict[str, Any] = {}
    for layer in layers:
        options |= layer
    if options.get("group.protocol") == "consumer":  # the broker assigns
        options.pop("partition.assignment.strategy", None)
    try:
        return make(options | {"logger": log})
    except (KafkaException, TypeError, ValueError, RuntimeError) as error:
        # Nothing is asked yet: it is about the options. Without its cause, which may show a secret.
        raise settings_error(error) from None
