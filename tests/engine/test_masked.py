"""Masking before a provider sees anything fails closed, and gives back values and nothing else."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splice.control.masking import Masking
from splice.core.call import Usage
from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.errors import SettingsError
from splice.core.masking_errors import MaskingFailed
from splice.core.protection import PinnedProtection
from splice.core.release import PinnedRoute
from splice.engine.line import Step
from splice.engine.routing.filled_stream import FilledStream
from splice.engine.routing.filling import Filler
from splice.engine.routing.hosted import Hosted
from splice.engine.routing.masked import MaskedPredictor, MaskedProvider, Veil
from splice.engine.veiling import Veiling
from splice.ports.masking import Masker, Veiled
from splice.ports.predictor import Question
from splice.testing.scripted_provider import ScriptedProvider

CANARY = "ann.quokka@canary-mail.example"
EVERY = Masking(("all",), {})


class Killed:
    """A masker whose engine dies while it works; what it says quotes the text."""

    def mask(self, document: bytes) -> bytes:
        raise BrokenPipeError(document.decode())

    def veil(self, document: bytes, known: Collection[str] = (), *, files: bool = False) -> Veiled:
        raise BrokenPipeError(document.decode())


def request(**fields: Any) -> WireRequest:
    given: dict[str, Any] = {"messages": [{"role": "user", "content": CANARY}], **fields}
    return WireRequest(Dialect.CHAT, "m", given, 5.0)


@pytest.mark.parametrize("size", [1, 100_000])
async def test_a_masker_that_dies_lets_nothing_out_and_is_not_quoted(size: int) -> None:
    provider = ScriptedProvider()
    masked = MaskedProvider(provider, Veil(Killed()))

    with pytest.raises(MaskingFailed) as failed:
        await masked.send(request(padding="x" * size))

    assert not failed.value.retryable
    assert "quokka" not in str(failed.value)
    assert failed.value.__cause__ is None
    assert "BrokenPipeError" in str(failed.value)


def test_where_nothing_can_mask_no_route_that_leaves_the_machine_is_asked() -> None:
    def none(rules: tuple[str, ...]) -> Masker:
        raise SettingsError("log.mask", got="no masker", mend="install splice-ai[masking]")

    hosted = Hosted.__new__(Hosted)
    pinned = PinnedRoute("model:x", "model", 0, 1.0, "x@1", format="remote")
    veiling = Veiling(PinnedProtection(mask=("email",)), none, ())

    step = veiling.over(Step(pinned, hosted, immediate=False))

    assert step.predictor is None
    assert "splice-ai[masking]" in step.unavailable


async def test_a_number_that_a_rule_finds_does_not_go_to_a_remote_model() -> None:
    class Asked:
        def __init__(self) -> None:
            self.contexts: list[Any] = []

        def predict(self, question: Question) -> Any:
            self.contexts.append(question.context)
            raise AssertionError(str(question.context))

        async def close(self) -> None:
            """Nothing."""

    inner = Asked()
    masked = MaskedPredictor(inner, Veil(EVERY), "model:x")

    for context in (
        {"card": 4111111111111111},
        {"text": "a", "nested": {"card": 4111111111111111}},
    ):
        with pytest.raises((MaskingFailed, AssertionError)) as failed:
            await masked.predict(Question("c", context, 1e12))
        assert "4111111111111111" not in str(failed.value)


class Cut:
    """A stream of given events."""

    def __init__(self, events: list[bytes]) -> None:
        self.events = events
        self.started = True

    async def next(self) -> bytes | None:
        return self.events.pop(0) if self.events else None

    def reply(self) -> WireReply:
        return WireReply(Dialect.CHAT, b"{}", Usage(), "m")

    def hang_up(self) -> None:
        """Nothing."""


VALUES = {"[email-1]": CANARY, "[secret-1]": 'a"b\\c', "[email-12]": "bob@x.example"}


@given(
    st.lists(
        st.sampled_from([*VALUES, "[email-9]", "[", "[em", "]", " and ", "x", "[email-1", "\n"])
    ),
    st.lists(st.integers(0, 40), max_size=12),
)
async def test_wherever_a_stream_is_cut_its_text_is_that_of_the_whole(
    parts: list[str], cuts: list[int]
) -> None:
    text = "".join(parts)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in pairwise(places)]
    filler = Filler(Veiled(b"", VALUES))
    events = [
        b"data: "
        + msgspec.json.encode({"choices": [{"index": 0, "delta": {"content": one}}]})
        + b"\n\n"
        for one in pieces
    ]
    end: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    stream = FilledStream(
        Cut([*events, b"data: " + msgspec.json.encode(end) + b"\n\n"]), filler, Dialect.CHAT
    )

    came = b""
    while (block := await stream.next()) is not None:
        came += block

    told = [msgspec.json.decode(one[6:]) for one in came.split(b"\n\n") if one]
    said = "".join(one["choices"][0]["delta"].get("content", "") for one in told)
    assert said == filler.text(text)
    assert told[-1]["choices"][0]["finish_reason"] == "stop"
