"""The scripted provider holds to the contract: what passes with it passes with real ones."""

from __future__ import annotations

import pytest

from splice.core.chat import Dialect, WireRequest
from splice.core.errors import ProviderFailed
from splice.core.prices import Price
from splice.testing.contracts.providers import ProviderContract, blocks_of
from splice.testing.scripted_provider import Said, ScriptedProvider


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
def model() -> str:
    return "scripted"


class TestContract(ProviderContract):
    pass


def chat(text: str = "one two three") -> WireRequest:
    return WireRequest(Dialect.CHAT, "scripted", {"messages": [{"content": text}]}, 5.0)


async def test_a_broken_stream_tells_what_had_come_and_what_it_cost() -> None:
    price = Price(input_nano=1_000_000, output_nano=1_000_000)
    provider = ScriptedProvider(Said("a b c", breaks_after=2), price=price)
    stream = await provider.open(chat())

    with pytest.raises(ProviderFailed, match="as scripted"):
        await blocks_of(stream)

    reply = stream.reply()
    assert (reply.complete, reply.usage.output_tokens, reply.cost_nano) == (False, 2, 5)
