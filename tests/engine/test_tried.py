"""Tries of one route: what they leave behind in the deployments that they asked."""

from __future__ import annotations

import asyncio
import time

import pytest

from splice.core.errors import (
    InputMismatch,
    ProviderFailed,
    ProviderLimited,
    ProviderRejected,
    RouteTimeout,
)
from splice.declare.options import Patience
from splice.engine.routing.balanced import Balanced, Breaking, Deployment
from splice.engine.routing.tried import Tried
from splice.ports.providers import Provider
from splice.testing.scripted_provider import ScriptedProvider

BREAKING = Breaking(1, 0.05)


def deployment() -> Deployment:
    return Deployment("one", ScriptedProvider(), breaking=BREAKING)


def tried(
    one: Deployment,
    until: float = 5.0,
    patience: Patience | None = None,
    dropped: list[str] | None = None,
) -> Tried[str]:
    return Tried(
        Balanced("p", [one]),
        patience or Patience(),
        time.monotonic() + until,
        lambda began, error: None,
        None if dropped is None else dropped.append,
    )


async def opened(one: Deployment) -> None:
    """Its breaker is open, and its time to be tried again has come."""
    one.failed(ProviderFailed("p"))
    await asyncio.sleep(BREAKING.seconds * 1.5)


async def test_a_try_for_which_no_time_is_left_does_not_keep_the_next_from_looking() -> None:
    one = deployment()
    await opened(one)

    async def ask(provider: Provider, left: float) -> str:
        return "answer"

    with pytest.raises(RouteTimeout):
        await tried(one, until=-1.0).answer(ask)

    assert one.ready(time.monotonic())
    assert await tried(one).answer(ask) == "answer"


@pytest.mark.parametrize("error", [InputMismatch("p"), KeyError("p")], ids=["ours", "a mistake"])
async def test_an_error_that_is_not_the_providers_says_nothing_of_it(error: Exception) -> None:
    one = deployment()
    await opened(one)

    async def ask(provider: Provider, left: float) -> str:
        raise error

    with pytest.raises(type(error)):
        await tried(one).answer(ask)

    assert one.open_until  # it has not shown that it works
    assert one.ready(time.monotonic())  # but the next may look


async def test_a_provider_that_rejects_a_request_works() -> None:
    one = deployment()
    await opened(one)

    async def ask(provider: Provider, left: float) -> str:
        raise ProviderRejected("p")

    with pytest.raises(ProviderRejected):
        await tried(one).answer(ask)

    assert not one.open_until


async def test_a_slow_try_beside_which_none_can_be_started_keeps_its_answer() -> None:
    one, dropped = deployment(), list[str]()

    async def ask(provider: Provider, left: float) -> str:
        await asyncio.sleep(0.02)
        one.failed(ProviderLimited("p", retry_after=60.0))  # as another call finds out
        await asyncio.sleep(0.02)
        return "answer"

    answer = await tried(one, patience=Patience(hedge_s=0.03), dropped=dropped).answer(ask)

    assert answer == "answer"
    assert dropped == []  # a stream that is given back is hung up
