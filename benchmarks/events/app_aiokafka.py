"""A loop by hand on aiokafka: take many, run the model once for all, send, then commit."""

from __future__ import annotations

import asyncio
import signal

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from payments import decode, encode
from screening import BATCH, GROUP, SERVERS, SOURCE, TARGET, VARIANT, screen_all

BATCH_BYTES = 1 << 18
"""16 KiB as installed: some seventy decisions, of which each would wait for the one before."""
POLL_MS = 200


async def main() -> None:
    """Until SIGTERM."""
    transactional = VARIANT == "transactional"
    consumer = AIOKafkaConsumer(
        SOURCE,
        bootstrap_servers=SERVERS,
        group_id=GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=SERVERS,
        acks="all",
        enable_idempotence=True,
        max_batch_size=BATCH_BYTES,
        transactional_id=GROUP if transactional else None,
    )
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await producer.start()
    await consumer.start()
    try:
        while not stopping.is_set():
            found = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH)
            records = [record for records in found.values() for record in records]
            if not records:
                continue
            if transactional:
                async with producer.transaction():
                    await answer(producer, records)
                    reached = {place: taken[-1].offset + 1 for place, taken in found.items()}
                    await producer.send_offsets_to_transaction(reached, GROUP)
            else:
                await answer(producer, records)
                await consumer.commit()
    finally:
        await consumer.stop()
        await producer.stop()


async def answer(producer: AIOKafkaProducer, records: list[ConsumerRecord]) -> None:
    """Send the decision about each; returns when the broker has all."""
    screenings = screen_all([decode(record.value) for record in records])
    sent = [
        await producer.send(TARGET, encode(one), key=record.key)
        for record, one in zip(records, screenings, strict=True)
    ]
    await asyncio.gather(*sent)


if __name__ == "__main__":
    uvloop.run(main())
