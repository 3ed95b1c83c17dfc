"""The ledger that the pages are read from: made once, by the ways that a real one is made by."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from console.project import outcomes, records
from splice.app import wiring
from splice.app.chore_list import chores_of
from splice.app.settings import load
from splice.app.wiring import Services

DONE = "ledger-of-{calls}.done"
SAY_EACH = 200_000


def make(place: Path, calls: int) -> None:
    """Record so many calls and their outcomes, then do the chores until none has more to do.

    What is there already is kept: making ten million takes some twenty minutes.
    """
    done = place / DONE.format(calls=calls)
    if done.exists():
        return
    services = wiring.services(load(place))
    try:
        _recorded(services, calls)
    finally:
        services.stores.close()
    done.touch()


def _recorded(services: Services, calls: int) -> None:
    stores, made, began = services.stores, 0, time.monotonic()
    for some in records(calls, time.time_ns() // 1_000_000):
        stores.records.append(some)
        if told := outcomes(some):
            stores.outcomes.append_outcomes(told, time.time_ns() // 1000)
        made += len(some)
        if made % SAY_EACH < len(some):
            print(f"{made:,} calls recorded in {time.monotonic() - began:,.0f} s", flush=True)
    for chore in chores(services):
        for turn in count(1):
            if not chore(time.time_ns() // 1000):
                print(f"a chore had {turn} turns, {time.monotonic() - began:,.0f} s", flush=True)
                break


def chores(services: Services) -> list[Callable[[int], bool]]:
    """What a process that serves would have done by and by; the rest it does in a moment."""
    found = {one.name: one.do for one in chores_of(services)}
    return [found["rollups"], found["labels"]]
