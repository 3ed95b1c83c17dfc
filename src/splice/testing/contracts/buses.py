"""What every source of events and every sink of messages must do, on whatever bus.

Inherit `SourceContract` and give it a fixture `stream`, or `SinkContract` and a fixture `place`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from splice.core.errors import BusError
from splice.core.events import Event, Headers, Message, Origin, Partition
from splice.ports.buses import Positions, Sink, Source

PATIENCE_S = 60.0  # nothing is measured: a bus that needs longer is broken
SOON_S = 0.3
ORIGIN = Origin("test:", 0, 0)


class Stream(Protocol):
    """A stream of one partition, empty at first, which only this test reads."""

    async def put(self, events: Sequence[Event]) -> None:
        """Append these; their origins are not looked at."""
        ...

    def source(self) -> Source:
        """A new source, not started, of the same group as the one before."""
        ...

    async def settle(self, source: Source, events: Sequence[Event]) -> None:
        """What the engine does with the first events that are not settled: never again these."""
        ...


class Place(Protocol):
    """Somewhere that messages go, empty at first."""

    target: str

    def sink(self) -> Sink:
        """A new sink that can send there."""
        ...

    async def arrived(self, count: int) -> Sequence[tuple[bytes | None, bytes | None, Headers]]:
        """Key, value and headers of the first messages there, as soon as there are so many."""
        ...


def event(value: bytes | None, key: bytes | None = None, headers: Headers = ()) -> Event:
    """An event to be put."""
    return Event(ORIGIN, key, value, headers, time.time_ns() // 1_000_000 * 1000)


def events(*numbers: int) -> list[Event]:
    """Some that can be told apart."""
    return [event(b"%d" % number, b"k%d" % (number % 3)) for number in numbers]


def values(came: Sequence[Event]) -> list[bytes | None]:
    """What they hold."""
    return [one.value for one in came]


async def take(source: Source, count: int) -> list[Event]:
    """The next events, exactly so many."""
    came: list[Event] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(came) < count:
            came += await source.poll(count - len(came), SOON_S)
    return came


async def assigned(partitions: Sequence[Partition]) -> None:
    """Nothing to prepare."""


async def revoked(partitions: Sequence[Partition], lost: bool) -> Positions:
    """Nothing to tell."""
    return {}


@asynccontextmanager
async def reading(stream: Stream) -> AsyncGenerator[Source]:
    """A source that has started, closed in the end."""
    source = stream.source()
    await source.start(assigned, revoked)
    try:
        yield source
    finally:
        await source.close()


class SourceContract:
    """Events in their order, until they are settled."""

    async def test_events_come_in_order_as_they_were_put(self, stream: Stream) -> None:
        put = [
            event(b"{}", b"k", (("a", b"1"), ("a", b"\xff\x00"), ("empty", b""))),
            event(bytes(range(256)), bytes(range(256))),
            event(b"", b""),
            event(b"no key"),
            event(None, b"tombstone"),
        ]
        await stream.put(put)

        async with reading(stream) as source:
            came = await take(source, len(put))

        assert [(e.key, e.value, e.headers, e.at_us) for e in came] == [
            (e.key, e.value, e.headers, e.at_us) for e in put
        ]

    async def test_an_event_says_where_it_stands(self, stream: Stream) -> None:
        await stream.put(events(1, 2, 3))

        async with reading(stream) as source:
            came = await take(source, 3)

            assert {one.origin.stream for one in came} == {source.stream}
        assert {one.origin.partition for one in came} == {0}
        offsets = [one.origin.offset for one in came]
        assert offsets == sorted(set(offsets))
        assert {one.attempts for one in came} == {0}

    async def test_no_more_are_given_than_asked_for(self, stream: Stream) -> None:
        await stream.put(events(*range(10)))

        async with reading(stream) as source:
            sizes: list[int] = []
            async with asyncio.timeout(PATIENCE_S):
                while sum(sizes) < 10:
                    sizes.append(len(await source.poll(3, SOON_S)))

        assert max(sizes) <= 3

    async def test_an_empty_stream_gives_none(self, stream: Stream) -> None:
        async with reading(stream) as source:
            assert list(await source.poll(10, SOON_S)) == []

    async def test_what_is_put_while_it_is_read_comes_too(self, stream: Stream) -> None:
        async with reading(stream) as source:
            waiting = asyncio.create_task(take(source, 2))
            await stream.put(events(1))
            await stream.put(events(2))

            assert values(await waiting) == [b"1", b"2"]

    async def test_partitions_are_told_before_their_first_event(self, stream: Stream) -> None:
        told: list[Partition] = []

        async def slowly(partitions: Sequence[Partition]) -> None:
            await asyncio.sleep(SOON_S)
            told.extend(partitions)

        await stream.put(events(1))
        source = stream.source()
        await source.start(slowly, revoked)
        try:
            await take(source, 1)

            assert told == [(source.stream, 0)]
        finally:
            await source.close()

    async def test_a_paused_partition_gives_none_until_it_is_resumed(self, stream: Stream) -> None:
        async with reading(stream) as source:
            await stream.put(events(1))
            (first,) = await take(source, 1)
            partition = (first.origin.stream, first.origin.partition)

            source.pause([partition])
            await stream.put(events(2, 3))
            while_paused = await source.poll(10, 3 * SOON_S)
            source.resume([partition])

            assert list(while_paused) == []
            assert values(await take(source, 2)) == [b"2", b"3"]

    async def test_what_was_read_ahead_of_a_pause_comes_after_it_in_order(
        self, stream: Stream
    ) -> None:
        await stream.put(events(*range(100)))
        async with reading(stream) as source:
            came = await take(source, 5)
            partition = (came[0].origin.stream, 0)

            for _ in range(3):
                source.pause([partition])
                assert list(await source.poll(10, 0.05)) == []
                source.resume([partition])
                came += await take(source, 7)
            came += await take(source, 100 - len(came))

        assert values(came) == [b"%d" % number for number in range(100)]

    async def test_what_is_settled_does_not_come_again(self, stream: Stream) -> None:
        await stream.put(events(1, 2, 3, 4))
        async with reading(stream) as source:
            came = await take(source, 4)
            await stream.settle(source, came[:2])

        async with reading(stream) as again:
            rest = await take(again, 2)
            await stream.settle(again, rest)
            assert list(await again.poll(10, SOON_S)) == []

        assert values(rest) == [b"3", b"4"]

    async def test_what_is_not_settled_comes_again_in_order(self, stream: Stream) -> None:
        await stream.put(events(*range(20)))
        for _ in range(3):
            async with reading(stream) as source:
                assert values(await take(source, 15)) == [b"%d" % n for n in range(15)]

    async def test_released_events_come_again(self, stream: Stream) -> None:
        await stream.put(events(1, 2))
        async with reading(stream) as source:
            await source.release(await take(source, 2))

        async with reading(stream) as again:
            came = await take(again, 2)

        assert values(came) == [b"1", b"2"]
        assert [one.attempts for one in came] == [0, 0]

    async def test_a_postponed_event_comes_again_when_it_is_due(self, stream: Stream) -> None:
        await stream.put(events(1))
        async with reading(stream) as source:
            (first,) = await take(source, 1)
            due_us = time.time_ns() // 1000 + 400_000

            if not await source.postpone(first, due_us):
                assert not first.token  # whoever reads holds the event
                return
            (again,) = await take(source, 1)

        assert time.time_ns() // 1000 >= due_us
        assert (again.value, again.attempts) == (b"1", 1)

    async def test_two_readers_share_a_stream_and_no_event_is_given_twice(
        self, stream: Stream
    ) -> None:
        await stream.put(events(*range(50)))
        came: list[Event] = []
        async with reading(stream) as first, reading(stream) as second:
            async with asyncio.timeout(PATIENCE_S):
                while len(came) < 50:
                    for source in (first, second):
                        batch = await source.poll(7, 0.05)
                        if batch:
                            await stream.settle(source, batch)
                        came += batch

        assert sorted(int(one.value or b"") for one in came) == list(range(50))

    async def test_a_read_that_was_given_up_loses_nothing(self, stream: Stream) -> None:
        await stream.put(events(*range(30)))
        came: list[Event] = []
        async with reading(stream) as source:
            for number in range(20):
                polling = asyncio.create_task(source.poll(1, PATIENCE_S))
                await asyncio.sleep(0.001 * (number % 4))
                polling.cancel()
                ended = await asyncio.gather(polling, return_exceptions=True)
                came += [one for batch in ended if isinstance(batch, Sequence) for one in batch]
            await stream.settle(source, came)

        async with reading(stream) as again:
            came += await take(again, 30 - len(came))

        assert values(came) == [b"%d" % number for number in range(30)]

    async def test_a_large_event_comes_whole(self, stream: Stream) -> None:
        large = bytes(range(256)) * (4 << 10)
        await stream.put([event(large, b"k"), *events(1)])

        async with reading(stream) as source:
            came = await take(source, 2)

        assert values(came) == [large, b"1"]

    async def test_closing_twice_is_harmless_and_so_is_closing_unstarted(
        self, stream: Stream
    ) -> None:
        source = stream.source()
        await source.start(assigned, revoked)

        await source.close()
        await source.close()
        await stream.source().close()


class SinkContract:
    """Messages arrive whole, and in their order."""

    async def test_messages_arrive_in_order_as_they_were_sent(self, place: Place) -> None:
        sent: list[tuple[bytes | None, bytes | None, Headers]] = [
            (b"k", b"{}", (("a", b"1"), ("b", b"\xc3\xbc"))),
            (b"k", b"\xff\x00", ()),
            (None, b"no key", ()),
            (b"k", None, ()),
        ]
        sink = place.sink()

        await sink.send([Message(str(n), place.target, *parts) for n, parts in enumerate(sent)])
        await sink.close()

        assert list(await place.arrived(len(sent))) == sent

    async def test_sends_that_overlap_keep_the_order_they_began_in(self, place: Place) -> None:
        sink = place.sink()
        batches = [
            [Message(f"{n}-{m}", place.target, b"k", b"%d" % (n * 600 + m)) for m in range(600)]
            for n in range(4)
        ]

        await asyncio.gather(*[sink.send(batch) for batch in batches])
        await sink.close()

        assert [value for _, value, _ in await place.arrived(2400)] == [
            b"%d" % number for number in range(2400)
        ]

    async def test_nothing_to_send_is_nothing_wrong(self, place: Place) -> None:
        sink = place.sink()

        await sink.send([])
        await sink.close()

    async def test_closing_twice_is_harmless_and_a_closed_sink_refuses(self, place: Place) -> None:
        sink = place.sink()
        await sink.send([Message("1", place.target, None, b"1")])
        await sink.close()
        await sink.close()

        with pytest.raises(BusError):
            await sink.send([Message("2", place.target, None, b"2")])
