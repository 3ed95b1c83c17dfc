"""The embedded queue as a place that messages go to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from splice.core.errors import BusError, StoreError
from splice.core.events import Event, Message, Origin
from splice.ports.events import QueueStore

_SCHEME = "queue:"


class QueueSink:
    """A `splice.ports.buses.Sink` for targets `queue:NAME`."""

    def __init__(self, store: QueueStore) -> None:
        self._store = store

    async def send(self, messages: Sequence[Message]) -> None:
        """Put them into their queues; durable on return.

        Raises:
            BusError: The ledger did not take them; some may be there.
        """
        now_us = time.time_ns() // 1000
        queues: dict[str, list[Event]] = {}
        for one in messages:
            name = one.target.removeprefix(_SCHEME)
            place = Origin(one.target, 0, 0)
            event = Event(place, one.key, one.value, one.headers, now_us)
            queues.setdefault(name, []).append(event)
        for name, events in queues.items():
            try:
                await asyncio.to_thread(self._store.put, name, events, now_us=now_us)
            except StoreError as error:
                failed = BusError(f"queue:{name}", got=error.got or str(error), mend=error.mend)
                failed.retryable = error.retryable
                raise failed from error

    async def close(self) -> None:
        """Nothing to let go of: the ledger is closed by whoever opened it."""
