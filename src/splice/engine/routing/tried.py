"""Tried: one route's provider is asked until it answers: retries, other deployments, hedging."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Generic, TypeVar

from splice.core.errors import (
    ProviderFailed,
    ProviderLimited,
    ProviderRejected,
    RouteError,
    RouteTimeout,
)
from splice.core.masking_errors import MaskingFailed
from splice.declare.options import Patience
from splice.engine.routing.balanced import Balanced, Deployment
from splice.ports.predictor import Note
from splice.ports.providers import Provider

T = TypeVar("T")

log = logging.getLogger("splice.providers")

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 8.0
_QUIET_S = 60.0  # between two warnings about one deployment
_random = Random()  # noqa: S311 - jitter

Ask = Callable[[Provider, float], Awaitable[T]]
"""Asks a provider, with the seconds that are left."""


def _told(one: Deployment, error: ProviderFailed) -> None:
    """A wrong key or a model that is not there mends itself never, and a fallback hides it."""
    now = time.monotonic()
    if now >= one.told_until:
        one.told_until = now + _QUIET_S
        # Not the provider's words: they may repeat what a customer said.
        log.warning("%s: %s [%s]", one.name, error.mend or "it cannot answer", error.code)


class Tried(Generic[T]):
    """One route's tries. `deployment` is the one that answered.

    Args:
        balanced: The provider.
        patience: How often, and when to start a second try beside the first.
        until: When to give up, on `time.monotonic()`.
        note: Is told of every try but the last.
        drop: Gives back an answer that came too late to be used (an open stream).
    """

    def __init__(
        self,
        balanced: Balanced,
        patience: Patience,
        until: float,
        note: Note,
        drop: Callable[[T], None] | None = None,
    ) -> None:
        self._balanced = balanced
        self._patience = patience
        self._until = until
        self._note = note
        self._drop = drop
        self.deployment: Deployment | None = None
        self.began = 0.0

    async def answer(self, ask: Ask[T]) -> T:
        """What the first try that succeeds gives.

        Raises:
            RequestError: The provider says that the request is wrong: no other try would help.
            RouteError: The last try failed; `began` says when it was made.
        """
        last: Deployment | None = None
        tries = self._patience.retries
        for number in range(tries + 1):
            self.began = time.monotonic()
            one = self._balanced.pick(last)
            try:
                if self._patience.hedge_s is None:
                    return await self._ask(one, ask)
                return await self._hedged(one, ask, self._patience.hedge_s)
            except RouteError as error:
                wait = self._wait(error, number, one)
                left = self._until - time.monotonic()
                if not error.retryable or number == tries or wait >= left:
                    raise
                self._note(self.began, error)
                last = one
                if wait:
                    await asyncio.sleep(wait)
        raise AssertionError("the loop returns or raises")

    async def _ask(self, one: Deployment, ask: Ask[T]) -> T:
        left = self._until - time.monotonic()
        if left <= 0:
            one.left()
            raise RouteTimeout(self._balanced.name, got="no time left")
        one.in_flight += 1
        try:
            answer = await ask(self._balanced.asked_through(one), left)
        except MaskingFailed:
            one.left()
            raise
        except RouteError as error:
            one.failed(error)
            if not error.retryable and isinstance(error, ProviderFailed):
                _told(one, error)
            raise
        except ProviderRejected:
            one.answered()
            raise
        except BaseException:  # ours, or the caller's: of the deployment nothing is known
            one.left()
            raise
        finally:
            one.in_flight -= 1
        one.answered()
        self.deployment = one
        return answer

    def _wait(self, error: RouteError, number: int, one: Deployment) -> float:
        """Seconds before the next try: none where another deployment is free."""
        if self._balanced.spare(one):
            return 0.0
        if isinstance(error, ProviderLimited) and error.retry_after is not None:
            # A little later than it says, each of us at another time.
            return error.retry_after + _random.uniform(0, 0.1 + error.retry_after / 10)
        most = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**number)
        return _random.uniform(most / 2, most)

    async def _hedged(self, one: Deployment, ask: Ask[T], hedge_s: float) -> T:
        first: asyncio.Future[T] = asyncio.ensure_future(self._ask(one, ask))
        tasks: set[asyncio.Future[T]] = {first}
        winner: asyncio.Future[T] | None = None
        try:
            await asyncio.wait(tasks, timeout=hedge_s)
            if not first.done():
                try:
                    other = self._balanced.pick(one)
                except ProviderLimited:  # none is free: the first goes on alone
                    winner = first
                    return await first
                tasks.add(asyncio.ensure_future(self._ask(other, ask)))
            winner = await self._first_good(tasks)
            return winner.result()
        finally:
            for task in tasks:
                if task is not winner:
                    self._end(task)

    async def _first_good(self, tasks: set[asyncio.Future[T]]) -> asyncio.Future[T]:
        """The first task that has an answer; the last one, with its error, where none has."""
        waiting = set(tasks)
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                if one.exception() is None:
                    for _ in range(len(tasks) - 1):
                        self._note(self.began, None)
                    return one
            if not waiting:
                return done.pop()

    def _end(self, task: asyncio.Future[T]) -> None:
        """The slower try is stopped; what it gave in the last moment is given back."""
        if task.done():
            self._given_back(task)
        else:
            task.cancel()
            task.add_done_callback(self._given_back)

    def _given_back(self, task: asyncio.Future[T]) -> None:
        if not task.cancelled() and task.exception() is None and self._drop is not None:
            self._drop(task.result())
