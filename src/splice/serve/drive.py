"""Drive: runs a coroutine that only waits for futures, without a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def drive(coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> None:
    """Runs a coroutine that only waits for futures, without a task: a task costs 2.6 us.

    It begins at once. What it runs must not ask for the current task, as `asyncio.timeout` does.
    """

    def step(_: Any = None) -> None:
        try:
            waited = coroutine.send(None)
        except StopIteration:
            return
        if waited is None:  # it yields to the loop
            loop.call_soon(step)
            return
        waited._asyncio_future_blocking = False  # as a task says: I have taken it up
        waited.add_done_callback(step)

    step()
