"""Kafka: what a topic holds between two bounds, a partition after the other, read by no group."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Protocol, TypeAlias

import msgspec

from splice.core.errors import EventError, RequestError, SettingsError
from splice.core.events import Event
from splice.declare.bodies import refuse_duplicate_keys
from splice.declare.codec import Codec
from splice.serve.batch.files import without_extra
from splice.serve.batch.rows import Input, Last, Row, names_of
from splice.serve.events.envelope import Envelopes


class Range(Protocol):
    """Events between offsets that are fixed, in the order of each partition."""

    start: Mapping[int, int]
    end: Mapping[int, int]

    def __iter__(self) -> Iterator[Event]:
        """The events."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


Bound: TypeAlias = "Mapping[int, int] | int | None"
"""An offset for each partition, or Unix microseconds; None is as far as it goes."""

Read: TypeAlias = "Callable[[str, Bound, Bound], Range]"
"""Reads a topic between two bounds; raises `BusError` where it cannot."""


class Span(msgspec.Struct, frozen=True):
    """From where to where a topic is read; the end is not.

    Offsets are of one partition each, by its number; of all partitions under -1.
    """

    from_offset: dict[int, int] | None = None
    to_offset: dict[int, int] | None = None
    since_us: int | None = None
    until_us: int | None = None


class KafkaRows:
    """The events of a topic as rows; see `Rows`. A row is named `TOPIC/PARTITION/OFFSET`.

    The end is fixed when a job begins: events that come later are not read.

    Args:
        read: Reads a topic.
        topic: Its name.
        span: What of it.
        envelopes: Open its events.
        request: The request type.
        where: Path of the input in errors.
        ignore_extra: Leave out fields that the request type has not.
    """

    keys_are_numbers = False

    def __init__(
        self,
        read: Read,
        topic: str,
        span: Span,
        *,
        envelopes: Envelopes,
        request: Codec,
        where: str,
        ignore_extra: bool = False,
    ) -> None:
        self.name = f"kafka:{topic}"
        self._read = read
        self._topic = topic
        self._span = span
        self._envelopes = envelopes
        self._request = request
        self._where = where
        self._known = set(names_of(request)) if ignore_extra else None

    def begin(self) -> Input:
        """See `Rows`; raises `BusError` where the cluster cannot be reached."""
        span = self._span
        with closing(self._read(self._topic, None, None)) as whole:
            kept = dict(whole.start)
        start = _for_all(span.from_offset, kept, span.since_us)
        for partition, offset in start.items() if isinstance(start, Mapping) else ():
            if offset < kept.get(partition, offset):
                raise SettingsError(
                    "--from-offset",
                    got=f"{offset}, which partition {partition} does not keep any more",
                    promised=f"{kept[partition]} or later",
                )
        end = _for_all(span.to_offset, kept, span.until_us)
        with closing(self._read(self._topic, start, end)) as found:
            bounds = {str(n): [at, max(at, found.end[n])] for n, at in sorted(found.start.items())}
        digest = hashlib.sha256(msgspec.json.encode([self._topic, span])).hexdigest()
        return Input(self.name, 0, digest, bounds)

    def read(self, begun: Input, after: Last | None) -> Iterator[Row]:
        """See `Rows`; raises `BusError` where the cluster cannot be read now."""
        bounds = msgspec.convert(begun.bounds, dict[int, tuple[int, int]], strict=False)
        total = max(1, sum(end - start for start, end in bounds.values()))
        number, done = 0, 0
        last = (-1, -1)
        if after is not None:
            number = after.number + 1
            _, partition, offset = str(after.key).rsplit("/", 2)
            last = (int(partition), int(offset))
        for partition, (start, end) in sorted(bounds.items()):
            at = end if partition < last[0] else start
            if partition == last[0]:
                at = last[1] + 1
            if at < end:
                with closing(self._read(self._topic, {partition: at}, {partition: end})) as events:
                    for event in events:
                        offset = event.origin.offset
                        yield self._row(number, event, (done + offset + 1 - start) / total)
                        number += 1
            done += end - start

    def end(self, begun: Input) -> None:
        """See `Rows`: what a topic holds does not change, it only ends."""

    def _row(self, number: int, event: Event, done: float) -> Row:
        origin = event.origin
        key = f"{self._topic}/{origin.partition}/{origin.offset}"
        at = f"{self._where}[{origin.partition}/{origin.offset}]"
        try:
            if (schema := self._envelopes.missing(event)) is not None:
                asyncio.run(self._envelopes.fetch(schema))
            body = self._envelopes.open(event).body
            if self._known is not None:
                refuse_duplicate_keys(body, at)
                body = without_extra(body, self._known)
            self._request.decode(body, at)
        except (EventError, RequestError) as error:
            return Row(number, b"", done, error, key)
        return Row(number, body, done, key=key)


def _for_all(
    offsets: Mapping[int, int] | None, kept: Mapping[int, int], at_us: int | None
) -> Bound:
    if offsets is None:
        return at_us
    if -1 in offsets:
        return dict.fromkeys(kept, offsets[-1])
    return offsets
