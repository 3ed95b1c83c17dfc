"""The contracts of buses, on Kafka and on the embedded queue."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from kafka_house import PATIENCE_S, read, reader
from kafka_member import until

from splice.adapters.buses.kafka import KafkaBus
from splice.adapters.buses.kafka_sink import KafkaSink
from splice.adapters.buses.kafka_source import KafkaSource
from splice.adapters.buses.queue import QueueSource
from splice.adapters.ledgers.sql import open_ledger
from splice.core.errors import BusError, StoreError
from splice.core.events import Event, Headers, Partition, Settled
from splice.ports.buses import Source
from splice.testing.contracts.buses import (
    SinkContract,
    SourceContract,
    events,
    reading,
    take,
    values,
)


class KafkaStream:
    def __init__(self, servers: str, topic: str) -> None:
        self._bus, self._topic, self._group = KafkaBus(servers), topic, uuid.uuid4().hex
        self._producer = Producer(
            {"bootstrap.servers": servers, "message.max.bytes": 32_000_000, "linger.ms": 0}
        )

    async def put(self, events: Sequence[Event]) -> None:
        for one in events:
            self._producer.produce(
                self._topic, one.value, one.key,
                headers=list(one.headers), timestamp=one.at_us // 1000,
            )  # fmt: skip
        assert await asyncio.to_thread(self._producer.flush, PATIENCE_S) == 0

    def source(self) -> KafkaSource:
        return self._bus.source([self._topic], self._group, batch=20)

    async def settle(self, source: Source, events: Sequence[Event]) -> None:
        positions: dict[Partition, int] = {}
        for one in events:
            place = one.origin.stream, one.origin.partition
            positions[place] = one.origin.offset + 1
        await source.commit(positions)
        await source.finished(events)


@pytest.mark.kafka
class TestKafkaSource(SourceContract):
    @pytest.fixture
    def stream(self, kafka: str, topic: str) -> KafkaStream:
        return KafkaStream(kafka, topic)


class QueueStream:
    lease_s = 30.0

    def __init__(self, folder: Path) -> None:
        self.ledger = open_ledger(f"sqlite:///{folder}/ledger.db", folder / "blobs")
        self._queue = uuid.uuid4().hex

    async def put(self, events: Sequence[Event]) -> None:
        now_us = time.time_ns() // 1000
        await asyncio.to_thread(self.ledger.queue.put, self._queue, events, now_us=now_us)

    def source(self) -> QueueSource:
        return QueueSource(self.ledger.queue, self._queue, lease_s=self.lease_s)

    def leased(self) -> int:
        with self.ledger.queue._database.read() as connection:
            rows = connection.exec_driver_sql("SELECT count(*) FROM queued WHERE state = 1")
            return rows.scalar_one()

    async def settle(self, source: Source, events: Sequence[Event]) -> None:
        settled = [Settled(one) for one in events]
        now_us = time.time_ns() // 1000
        late = await asyncio.to_thread(self.ledger.events.settle, settled, now_us=now_us)
        assert list(late) == []
        await source.finished(events)


class TestQueueSource(SourceContract):
    @pytest.fixture
    def stream(self, tmp_path: Path) -> Iterator[QueueStream]:
        stream = QueueStream(tmp_path)
        yield stream
        stream.ledger.close()

    async def test_what_was_read_ahead_does_not_overtake_a_postponed_event_of_its_key(
        self, stream: QueueStream
    ) -> None:
        await stream.put(events(0, 3, 6, 1))  # the first three are of one key
        async with reading(stream) as source:
            ahead = asyncio.create_task(source.poll(4, PATIENCE_S))
            await asyncio.sleep(0)  # it has asked the queue
            ahead.cancel()
            (first,) = await take(source, 1)  # of what was read for the poll that was given up
            await source.postpone(first, time.time_ns() // 1000 + 300_000)
            came = await take(source, 2)
            await stream.settle(source, came)
            behind = await take(source, 2)

        assert [(one.value, one.attempts) for one in came] == [(b"1", 0), (b"0", 1)]
        assert [(one.value, one.attempts) for one in behind] == [(b"3", 0), (b"6", 0)]

    async def test_what_is_read_while_others_are_worked_on_does_not_overtake_a_postponed_event(
        self, stream: QueueStream
    ) -> None:
        await stream.put(events(0, 1, 3, 4, 6, 7))  # of two keys in turn
        async with reading(stream) as source:
            first, second = await source.poll(2, PATIENCE_S, ahead=4)
            await until(lambda: stream.leased() == 6)
            await source.postpone(first, time.time_ns() // 1000 + 300_000)
            await stream.settle(source, [second])
            came = await take(source, 3)
            await stream.settle(source, came)
            behind = await take(source, 2)

        assert [(one.value, one.attempts) for one in came] == [(b"4", 0), (b"7", 0), (b"0", 1)]
        assert [(one.value, one.attempts) for one in behind] == [(b"3", 0), (b"6", 0)]

    async def test_those_behind_a_postponed_event_go_back_with_it(
        self, stream: QueueStream
    ) -> None:
        await stream.put(events(0, 3, 6))  # of one key
        async with reading(stream) as source:
            first, _ = await source.poll(2, PATIENCE_S)  # nobody gives the second one back
            await source.postpone(first, time.time_ns() // 1000)
            came = await take(source, 3)

        assert [(one.value, one.attempts) for one in came] == [(b"0", 1), (b"3", 0), (b"6", 0)]

    async def test_nothing_is_taken_before_what_goes_back_has_gone(
        self, stream: QueueStream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await stream.put(events(0, 3, 6))
        queue, away = stream.ledger.queue, [True]
        give_back = queue.give_back

        def fails(*arguments: Any, **named: Any) -> None:
            if away[0]:
                raise StoreError("ledger", got="no ledger")
            give_back(*arguments, **named)

        monkeypatch.setattr(queue, "give_back", fails)
        async with reading(stream) as source:
            first, _ = await source.poll(2, PATIENCE_S)
            with pytest.raises(BusError):
                await source.postpone(first, time.time_ns() // 1000)
            with pytest.raises(BusError):
                await source.poll(3, PATIENCE_S)
            away[0] = False
            came = await take(source, 3)

        assert [(one.value, one.attempts) for one in came] == [(b"0", 1), (b"3", 0), (b"6", 0)]

    async def test_nothing_is_read_ahead_unasked(self, stream: QueueStream) -> None:
        await stream.put(events(0, 1, 2, 5))
        async with reading(stream) as source, reading(stream) as other:
            mine = await source.poll(2, PATIENCE_S)
            theirs = await take(other, 2)

        assert (values(mine), values(theirs)) == ([b"0", b"1"], [b"2", b"5"])

    async def test_what_is_read_ahead_is_held_until_it_is_asked_for(
        self, stream: QueueStream
    ) -> None:
        await stream.put(events(*range(4)))
        stream.lease_s = 0.5
        async with reading(stream) as source, reading(stream) as other:
            mine = await source.poll(2, PATIENCE_S, ahead=2)
            await until(lambda: stream.leased() == 4)
            assert list(await other.poll(4, 3 * stream.lease_s)) == []
            ahead = await source.poll(2, PATIENCE_S)
            await stream.settle(source, [*mine, *ahead])

        assert values(ahead) == [b"2", b"3"]
        assert [one.attempts for one in ahead] == [0, 0]

    async def test_small_batches_are_read_ahead_many_in_one_take(
        self, stream: QueueStream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await stream.put(events(*range(9)))
        queue, limits = stream.ledger.queue, list[int]()
        take_ = queue.take

        def counted(name: str, limit: int, *arguments: Any, **named: Any) -> list[Event]:
            limits.append(limit)
            return take_(name, limit, *arguments, **named)

        monkeypatch.setattr(queue, "take", counted)
        async with reading(stream) as source:
            came = [await source.poll(2, PATIENCE_S, ahead=5) for _ in range(4)]
            await stream.settle(source, [one for batch in came for one in batch])

        assert [values(batch) for batch in came] == [
            [b"0", b"1"], [b"2", b"3"], [b"4", b"5"], [b"6", b"7"],
        ]  # fmt: skip
        assert limits == [2, 4, 4, 4]

    async def test_what_was_read_ahead_goes_back_when_nobody_asks_for_it(
        self, stream: QueueStream
    ) -> None:
        await stream.put(events(*range(4)))
        async with reading(stream) as source:
            await stream.settle(source, await source.poll(2, PATIENCE_S, ahead=2))

        async with reading(stream) as again:
            came = await take(again, 2)

        assert [(one.value, one.attempts) for one in came] == [(b"2", 0), (b"3", 0)]


class KafkaPlace:
    def __init__(self, servers: str, topic: str) -> None:
        self.target = f"kafka:{topic}"
        self._servers, self._topic = servers, topic

    def sink(self) -> KafkaSink:
        return KafkaBus(self._servers).sink()

    async def arrived(self, count: int) -> list[tuple[bytes | None, bytes | None, Headers]]:
        def read_all() -> list[tuple[bytes | None, bytes | None, Headers]]:
            with reader(self._servers, self._topic) as consumer:
                return [
                    (m.key(), m.value(), tuple(m.headers() or ())) for m in read(consumer, count)
                ]

        return await asyncio.to_thread(read_all)


@pytest.mark.kafka
class TestKafkaSink(SinkContract):
    @pytest.fixture
    def place(self, kafka: str, topic: str) -> KafkaPlace:
        return KafkaPlace(kafka, topic)
