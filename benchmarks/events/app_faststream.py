"""FastStream on confluent-kafka: a typed subscriber and a publisher, singly or in batches."""

from __future__ import annotations

import logging

import uvloop
from fast_depends.msgspec import MsgSpecSerializer
from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaResponse
from faststream.confluent.annotations import KafkaMessage
from payments import Payment
from screening import BATCH, GROUP, SERVERS, SOURCE, TARGET, VARIANT, screen, screen_all

broker = KafkaBroker(
    SERVERS,
    acks="all",
    enable_idempotence=True,
    serializer=MsgSpecSerializer(),
    log_level=logging.DEBUG,  # of a line for each message: none at INFO
)
app = FastStream(broker)


async def one(payment: Payment, message: KafkaMessage) -> KafkaResponse:
    """The decision about one payment, under the key it came with."""
    return KafkaResponse(screen(payment), key=message.raw_message.key())


async def many(payments: list[Payment], message: KafkaMessage) -> list[KafkaResponse]:
    """The decisions about a batch, by one run of the model."""
    return [
        KafkaResponse(decision, key=record.key())
        for decision, record in zip(screen_all(payments), message.raw_message, strict=True)
    ]


batch = VARIANT == "batch"
subscriber = broker.subscriber(
    SOURCE,
    group_id=GROUP,
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.NACK_ON_ERROR,
    batch=batch,
    max_records=BATCH if batch else None,
)
subscriber(broker.publisher(TARGET, batch=batch)(many if batch else one))

if __name__ == "__main__":
    uvloop.run(app.run())
