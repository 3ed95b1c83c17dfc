"""Terms: how the events of one integration are consumed, and what that takes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from splice.engine.engine import Engine
from splice.ports.buses import Exchange
from splice.ports.events import EventStore
from splice.ports.stores import RecordStore
from splice.serve.events.envelope import Envelopes
from splice.serve.events.replies import Replies


class Terms(msgspec.Struct, frozen=True):
    """What the settings say; `[consume.NAME]` explains each."""

    integration: str
    consumer: str  # the name under which marks and attempts are kept: the group
    max_in_flight: int = 2000
    max_batch: int = 4000
    attempts: int = 5
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    retry_topics: tuple[tuple[str, float], ...] = ()  # stream and delay in seconds
    dead: str = ""
    drain_s: float = 20.0


class Kit(msgspec.Struct, frozen=True):
    """What a consumer works with.

    `exchange` is there where decisions and positions are one transaction of the bus; `wake` tells
    the sender that there are messages in the outbox.
    """

    engine: Engine
    events: EventStore
    records: RecordStore
    envelopes: Envelopes
    replies: Replies
    new_ids: Callable[[int], list[str]]
    wake: Callable[[], None]
    exchange: Exchange | None = None
