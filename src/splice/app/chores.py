"""Chores: what is done again and again beside the calls, by one process of all that serve."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from splice.app.clock import now_us
from splice.core.audit import Origin, acting
from splice.core.errors import StoreError
from splice.ports.leases import LeaseStore

log = logging.getLogger("splice.chores")

_HOST = socket.gethostname()
_LEASE_S = 60.0
_LEAST_S = 0.2
_REST = 4.0
"""Times as long as it took: a chore that has always more to do leaves four fifths of a core."""


class Chore(msgspec.Struct, frozen=True):
    """One thing that is done every so often.

    `do` gets the time in Unix microseconds, runs in a thread, and may block. It says whether there
    is more to do at once. Two processes may do it at the same time all the same (their clocks
    disagree, a lease ran out): it must be right then, too.
    """

    name: str
    every_s: float
    do: Callable[[int], bool]


class Chores:
    """Does the chores of one ledger, in a thread each.

    Args:
        leases: Lets one process do a chore.
        chores: What there is to do.
    """

    def __init__(self, leases: LeaseStore, chores: Sequence[Chore]) -> None:
        self._leases = leases
        self._chores = tuple(chores)
        self._holder = uuid.uuid4().hex
        self._threads = ThreadPoolExecutor(max(1, len(chores)), thread_name_prefix="chore")
        self._tasks: list[asyncio.Task[None]] = []
        self.trouble: dict[str, str] = {}

    def start(self) -> None:
        """Do them from now on, in the running loop."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._run(chore)) for chore in self._chores]

    async def stop(self) -> None:
        """Begin nothing more; what was begun ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await asyncio.to_thread(self._threads.shutdown)
        for chore in self._chores:
            try:
                await asyncio.to_thread(self._leases.give_lease, self._lease(chore), self._holder)
            except StoreError as error:  # its time ends the lease
                log.warning("the lease of %s is not given back: %s", chore.name, error)

    async def _run(self, chore: Chore) -> None:
        loop = asyncio.get_running_loop()
        more, took = False, 0.0
        while True:
            rest = max(_LEAST_S, took * _REST)
            await asyncio.sleep(rest if more else max(rest, chore.every_s))
            began = time.monotonic()
            try:
                more = await loop.run_in_executor(self._threads, self._do, chore)
                self.trouble.pop(chore.name, None)
            except Exception as error:  # the other chores, and the calls, must go on
                more = False
                if self.trouble.get(chore.name) != str(error):
                    log.exception("%s could not be done", chore.name)
                self.trouble[chore.name] = str(error)
            took = time.monotonic() - began

    def _do(self, chore: Chore) -> bool:
        now = now_us()
        lease_us = round(max(_LEASE_S, 2 * chore.every_s) * 1e6)
        if not self._leases.take_lease(self._lease(chore), self._holder, now, lease_us):
            return False
        with acting(Origin("chore", host=_HOST, command=chore.name)):
            return chore.do(now)

    @staticmethod
    def _lease(chore: Chore) -> str:
        return f"chore {chore.name}"
