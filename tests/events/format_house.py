"""Events, decisions and a request type for the tests of formats."""

from __future__ import annotations

import msgspec

from splice.core.call import Reason, Record, Status, Trace
from splice.core.events import Event, Headers, Origin

TRACED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ORDER = b'{"customer":"c-1","amount_eur":12.5}'


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """A request."""

    customer: str
    amount_eur: float


def event(
    value: bytes | None, headers: Headers = (), key: bytes | None = b"c-1", offset: int = 7
) -> Event:
    """An event of the stream kafka:orders."""
    return Event(Origin("kafka:orders", 2, offset), key, value, headers)


def record(**changes: object) -> Record:
    """Of a call that was answered."""
    made = Record(
        call_id="0199e1f0-1a2b-7c3d-8e4f-000000000001",
        integration="order-screening",
        release=41,
        asked_us=1_764_300_000_123_456,
        duration_us=1_044,
        status=Status.ANSWERED,
        reason=Reason.FIRST,
        surface="events",
        entity="c-1",
        route="model:fraud",
        version="fraud@3",
        variant="canary",
        reply=b'{"risk":0.1,"action":"ship"}',
        trace=Trace("0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", "b7ad6b7169203331"),
    )
    return msgspec.structs.replace(made, **changes)
