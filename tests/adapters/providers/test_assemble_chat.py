"""Streams of chat completions, however their events are cut into blocks, make up one answer."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splice.adapters.providers.assemble_chat import ChatAssembly, Chunk
from splice.adapters.providers.chat_stream import ChatStream
from splice.adapters.providers.event_stream import Asking
from splice.adapters.providers.refusals import Refusals
from splice.core.errors import ProviderFailed
from splice.testing.contracts.providers import blocks_of
from splice.testing.openai_shapes import DONE, chat_events, chat_reply, event

USAGE = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12, "vendor": {"x": 1}}
MESSAGE = {
    "role": "assistant",
    "content": 'one "two" [DONE] data: "usage" "error": three',
    "refusal": None,
}


class Pieces:
    """A stream of HTTP whose body comes in given pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.left = False

    async def next(self) -> bytes | None:
        return self.pieces.pop(0) if self.pieces else None

    def watch(self, between_s: float) -> None:
        pass

    def finish(self) -> None:
        self.pieces.clear()

    def hang_up(self) -> None:
        self.left = True


def stream_of(pieces: list[bytes], *, hides_usage: bool = True) -> ChatStream:
    asking = Asking("w", "m", 5.0, 7, Refusals("w", []), lambda u, m: None, 1.0, hides_usage)
    return ChatStream(Pieces(pieces), asking)  # type: ignore[arg-type]


def events(*, several: bool = False) -> list[bytes]:
    messages = [MESSAGE] * (2 if several else 1)
    return [*chat_events("m", messages, "stop", USAGE, counted=True), DONE]


@given(st.lists(st.integers(min_value=0), max_size=8), st.booleans(), st.booleans())
async def test_it_is_the_same_answer_wherever_the_bytes_are_cut(
    places: list[int], hides_usage: bool, several: bool
) -> None:
    body = b"".join(events(several=several))
    edges = [0, *sorted(one % len(body) for one in places), len(body)]
    pieces = [body[a:b] for a, b in itertools.pairwise(edges) if a < b]

    stream = stream_of(pieces, hides_usage=hides_usage)
    given_on = b"".join(await blocks_of(stream))

    kept = [e for e in events(several=several) if not hides_usage or b'"usage":{' not in e]
    whole = chat_reply("m", [MESSAGE] * (2 if several else 1), "stop", USAGE)
    assert given_on == b"".join(kept)
    assert json.loads(stream.reply().body) == whole
    assert stream.reply().complete


@given(st.integers(min_value=1, max_value=len(events()) - 1), st.booleans())
async def test_an_error_ends_the_stream_and_what_came_before_it_is_given(
    at: int, together: bool
) -> None:
    told = [*events()[:at], event({"error": {"message": "crashed"}}), *events()[at:]]
    stream = stream_of([b"".join(told)] if together else list(told))
    given_on = b""

    with pytest.raises(ProviderFailed, match="crashed"):  # noqa: PT012 - what came is kept
        while (block := await stream.next()) is not None:
            given_on += block

    expected = [e for e in events()[:at] if b'"usage":{' not in e and e != DONE]
    assert given_on == b"".join(expected)
    assert not stream.reply().complete


def chunk(delta: dict[str, Any], **fields: Any) -> tuple[Chunk, bytes]:
    raw = json.dumps({"choices": [{"index": 0, "delta": delta}], **fields}).encode()
    return msgspec.json.decode(raw, type=Chunk), raw


def assembled(*deltas: dict[str, Any]) -> dict[str, Any]:
    whole = ChatAssembly()
    for delta in deltas:
        whole.add(*chunk(delta))
    return json.loads(whole.body("m"))["choices"][0]["message"]


def call(index: int | None, name: str, arguments: str, id_: str | None = None) -> dict[str, Any]:
    return {"index": index, "id": id_, "function": {"name": name, "arguments": arguments}}


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    message = assembled(
        {"tool_calls": [call(None, "a", "{", "1")]},
        {"tool_calls": [call(None, "", "}")]},
        {"tool_calls": [call(None, "b", "{}", "2")]},
    )

    made = [(c["id"], c["function"]["name"], c["function"]["arguments"])
            for c in message["tool_calls"]]  # fmt: skip
    assert made == [("1", "a", "{}"), ("2", "b", "{}")]


def test_a_name_that_is_repeated_is_one_name() -> None:
    message = assembled(
        {"tool_calls": [call(0, "get_weather", "", "1")]},
        {"tool_calls": [call(0, "get_weather", "{}", "1")]},
    )

    assert message["tool_calls"][0]["function"]["name"] == "get_weather"


def test_thoughts_in_parts_are_kept_apart_from_the_text() -> None:
    message = assembled(
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
        {"content": [{"type": "text", "text": "four"}]},
    )

    assert (message["content"], message["reasoning_content"]) == ("four", "hm")


def test_a_first_event_without_a_name_leaves_it_to_the_next() -> None:
    whole = ChatAssembly()
    whole.add(*chunk({}, id="", model="", prompt_filter_results=[]))
    whole.add(*chunk({"content": "x"}, id="c-1", model="gpt"))

    assert (whole.model, json.loads(whole.body("m"))["id"]) == ("gpt", "c-1")


def test_nothing_that_came_is_an_answer_without_choices() -> None:
    body = json.loads(ChatAssembly().body("m"))

    assert (body["choices"], body["model"]) == ([], "m")
