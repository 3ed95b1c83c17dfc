"""Retries: when an event is tried again, and by which topic where it gives up its place.

Delayed topics are opt-in, for an event that moves to one is overtaken by those behind it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from itertools import pairwise

from splice.core.events import Event, Headers, Message

DUE = "splice-due-us"
TRIES = "splice-attempts"
ORIGIN = "splice-origin"


def backoff_s(tries: int, first_s: float, longest_s: float) -> float:
    """Twice as long each time, with some chance in it, so that not all come again at once."""
    exact = min(first_s * 2 ** min(tries - 1, 40), longest_s)
    return exact * random.uniform(0.75, 1.25)  # noqa: S311 - nothing is secret about it


def header(headers: Headers, name: str) -> bytes | None:
    """The last value of a header, or None."""
    for key, value in reversed(headers):
        if key == name:
            return value
    return None


def number(headers: Headers, name: str) -> int:
    """The value of a header of ours as a number; 0 where it is none."""
    value = header(headers, name)
    return int(value) if value is not None and value.isdigit() and len(value) < 20 else 0


def due_us(event: Event) -> int:
    """When an event of a delayed topic may run (Unix microseconds); 0 for any other."""
    return number(event.headers, DUE) if event.headers else 0


def tries_of(event: Event) -> int:
    """How often an event was tried before it moved to a delayed topic."""
    return number(event.headers, TRIES) if event.headers else 0


def retry_topics(topic: str, delays_s: Sequence[float]) -> list[tuple[str, float]]:
    """The streams of the delays: `orders.retry-30s`."""
    return [(f"kafka:{topic}.retry-{delay:g}s", delay) for delay in delays_s]


def retry_message(
    event: Event, tries: int, topics: Sequence[tuple[str, float]]
) -> tuple[Message, float]:
    """The message that moves an event to the next delayed topic, and the delay."""
    following = {before[0]: after for before, after in pairwise(topics)}
    target, delay_s = topics[0]
    if event.origin.stream in dict(topics):
        target, delay_s = following.get(event.origin.stream, topics[-1])
    now_us = time.time_ns() // 1000
    kept = tuple(pair for pair in event.headers if pair[0] not in (DUE, TRIES))
    if header(kept, ORIGIN) is None:
        kept = (*kept, (ORIGIN, str(event.origin).encode()))
    headers = (
        *kept,
        (DUE, str(now_us + int(delay_s * 1e6)).encode()),
        (TRIES, str(tries).encode()),
    )
    return Message(f"{event.origin}#{tries}", target, event.key, event.value, headers), delay_s
