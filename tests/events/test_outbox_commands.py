"""`splice events outbox`: what waits to be sent is seen, and what was given up is sent again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from splice.app.settings import load
from splice.app.wiring import Stores
from splice.core.events import Event, Message, Origin, Settled

HOOK = "https://crm.example/hook?key=s3cret"


def test_messages_that_were_given_up_are_listed_with_why_and_sent_again(
    applied: Callable[[str], Any], orders: Any
) -> None:
    applied("")
    stores = Stores(load(orders.folder, {}))
    event = Event(Origin("kafka:orders", 0, 0), None, b"{}")
    messages = tuple(Message(f"m-{n}", HOOK, None, b"{}") for n in range(2))
    now_us = time.time_ns() // 1000
    stores.events.settle([Settled(event, messages=messages)], now_us=now_us)
    waiting, _ = stores.outbox.take_outbox(("https",), 10, "h", now_us=now_us, lease_us=10**9)
    stores.outbox.give_up(waiting.number, why="status 410")

    every = orders("events", "outbox", "list")
    given_up = orders("events", "outbox", "list", "--given-up", "--json")
    asked = orders("events", "outbox", "send", str(waiting.number))
    sent = orders("events", "outbox", "send", str(waiting.number), "--yes")
    unknown = orders("events", "outbox", "send", "999", "--yes")
    after = orders("events", "outbox", "list", "--given-up")

    assert "s3cret" not in every.out
    assert "https://crm.example/hook" in every.out
    assert "status 410" in every.out
    (one,) = given_up.json
    assert (one["id"], one["given_up"], one["why"]) == ("m-0", True, "status 410")
    assert (asked.code, sent.code, unknown.code) == (1, 0, 1)
    assert "Nothing was given up." in after.err
    assert stores.outbox.outbox_size() == 2
    stores.close()
