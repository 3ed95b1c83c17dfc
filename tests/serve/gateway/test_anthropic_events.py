"""Chat chunks as Anthropic's events: whatever the chunks, one block at a time and nothing lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splice.core.chat import Dialect
from splice.core.errors import BadAnswer, ProviderFailed, RouteTimeout, SpliceError
from splice.serve.anthropic.events import MessageEvents, replayed
from splice.serve.anthropic.from_chat import message_of
from splice.serve.anthropic.streams import Passed, Told


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"model": "m", "choices": [choice]}).encode() + b"\n\n"


def part(index: int, arguments: str, name: str = "", identity: str = "") -> dict[str, Any]:
    call: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if name:
        call["function"]["name"] = name
    if identity:
        call |= {"id": identity, "type": "function"}
    return {"tool_calls": [call]}


def events_of(told: bytes) -> list[Any]:
    events: list[Any] = []
    for block in told.decode().split("\n\n")[:-1]:
        kind, content = block.split("\n")
        event = json.loads(content.removeprefix("data: "))
        assert kind == f"event: {event['type']}"
        events.append(event)
    return events


def assembled(events: list[Any]) -> dict[str, Any]:
    """The message that a client makes of events; it checks their order on the way."""
    assert events[0]["type"] == "message_start"
    assert [e["type"] for e in events[-2:]] == ["message_delta", "message_stop"]
    message: dict[str, Any] = {**events[0]["message"]}
    assert message["content"] == []
    given: list[str] = []
    is_open = False
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(message["content"])
            message["content"].append(event["content_block"])
            given, is_open = [], True
            continue
        assert is_open
        assert event["index"] == len(message["content"]) - 1
        block = message["content"][-1]
        if event["type"] == "content_block_stop":
            is_open = False
            if block["type"] == "tool_use":
                block["input"] = json.loads("".join(given) or "{}")
        elif event["delta"]["type"] == "text_delta":
            block["text"] += event["delta"]["text"]
        elif event["delta"]["type"] == "input_json_delta":
            given.append(event["delta"]["partial_json"])
        else:
            block[event["delta"]["type"].removesuffix("_delta")] = next(
                v for k, v in event["delta"].items() if k != "type"
            )
    assert not is_open
    return {**message, **events[-2]["delta"], "usage": events[-2]["usage"]}


def told(*chunks: bytes) -> dict[str, Any]:
    events = MessageEvents("msg_1", "asked", "house")
    whole = b"".join(events.of(one) for one in chunks) + events.end()
    return assembled(events_of(whole))


def test_text_and_usage_are_told() -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 7, "prompt_tokens_details": {
        "cached_tokens": 5, "cache_write_tokens": 3}}  # fmt: skip

    message = told(
        b": a comment\n\n",
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}) + chunk({"content": "lo"}),
        chunk({}, "stop"),
        b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n",
        b"data: [DONE]\n\n",
    )

    assert (message["id"], message["model"], message["stop_reason"]) == ("msg_1", "m", "end_turn")
    assert message["content"] == [{"type": "text", "text": "Hello"}]
    assert message["usage"] == {
        "input_tokens": 12,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 3,
        "output_tokens": 7,
    }


def test_parallel_calls_whose_parts_are_mixed_come_one_after_the_other() -> None:
    message = told(
        chunk(part(0, "", "a", "call_a")),
        chunk(part(1, '{"x"', "b", "call_b")),
        chunk(part(0, '{"y": 1')),
        chunk(part(1, ": 2}")),
        chunk({"content": "late"}),
        chunk(part(0, "}")),
        chunk({}, "tool_calls"),
    )

    calls = message["content"][:2]
    assert [(c["id"], c["name"], c["input"]) for c in calls] == [
        ("call_a", "a", {"y": 1}),
        ("call_b", "b", {"x": 2}),
    ]
    assert message["content"][2]["text"] == "late"
    assert message["stop_reason"] == "tool_use"


def test_the_first_call_is_told_as_it_comes() -> None:
    events = MessageEvents("msg_1", "asked", "house")

    first = events.of(chunk(part(0, '{"a', "f", "call")))
    second = events.of(chunk(part(0, '": 1}')))

    assert [e["type"] for e in events_of(first)][-2:] == [
        "content_block_start",
        "content_block_delta",
    ]
    assert events_of(second)[0]["delta"]["partial_json"] == '": 1}'


def test_a_call_without_an_id_gets_one_and_a_server_that_says_stop_is_corrected() -> None:
    message = told(chunk({"tool_calls": [{"function": {"name": "f"}}]}), chunk({}, "stop"))

    assert message["content"][0]["id"] == "toolu_100"
    assert message["content"][0]["input"] == {}
    assert message["stop_reason"] == "tool_use"


def test_a_refusal_is_text_with_its_own_reason() -> None:
    message = told(chunk({"refusal": "I will not"}), chunk({}, "stop"))

    assert message["content"][0]["text"] == "I will not"
    assert message["stop_reason"] == "refusal"


def test_an_empty_answer_is_a_message_without_blocks() -> None:
    assert told()["content"] == []
    assert told(chunk({}, "length"))["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (b'data: {"error": {"message": "overloaded"}}\n\n', ProviderFailed),
        (b'data: {"choices": 5}\n\n', BadAnswer),
        (b"data: oops\n\n", BadAnswer),
        (b'data: "oops"\n\n', BadAnswer),
    ],
)
def test_what_is_no_chunk_is_the_providers_fault(block: bytes, kind: type[SpliceError]) -> None:
    with pytest.raises(kind):
        MessageEvents("msg_1", "m", "house").of(block)


def test_half_a_character_is_a_question_mark() -> None:
    message = told(b'data: {"choices": [{"index": 0, "delta": {"content": "a\\ud83d"}}]}\n\n')

    assert message["content"][0]["text"].startswith("a")
    assert len(message["content"][0]["text"]) == 2


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
INPUT = st.dictionaries(TEXT, st.one_of(st.integers(-9, 9), TEXT), max_size=3)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A whole chat completion, and chunks that tell it in some order of its parts."""
    texts = draw(st.lists(TEXT, max_size=4))
    inputs = draw(st.lists(INPUT, max_size=3))
    calls: list[Any] = []
    queues: list[list[bytes]] = []
    for index, given_ in enumerate(inputs):
        arguments = json.dumps(given_)
        function = {"name": f"f{index}", "arguments": arguments}
        calls.append({"id": f"c{index}", "type": "function", "function": function})
        cut = draw(st.integers(0, len(arguments)))
        pieces = [part(index, "", f"f{index}", f"c{index}"), part(index, arguments[:cut])]
        queues.append([chunk(one) for one in [*pieces, part(index, arguments[cut:])]])
    first = [queue.pop(0) for queue in queues]  # servers begin calls in the order of their numbers
    mixed: list[bytes] = []
    while any(queues):
        mixed.append(draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    finish = "tool_calls" if calls else "stop"
    message: dict[str, Any] = {"content": "".join(texts) or None, "tool_calls": calls or None}
    usage = {"prompt_tokens": draw(st.integers(0, 99)), "completion_tokens": 3}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    whole = json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()
    last = b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
    chunks = [chunk({"content": text}) for text in texts] + first + mixed
    return whole, [*chunks, chunk({}, finish), last, b"data: [DONE]\n\n"]


@given(streams())
def test_a_stream_tells_the_same_message_as_the_whole_answer(
    made: tuple[bytes, list[bytes]],
) -> None:
    whole, chunks = made
    expected = json.loads(json.dumps(message_of(whole, "msg_1", "m"), default=_plain))

    assert told(*chunks) == expected


@given(streams())
def test_a_message_replayed_is_the_same_message(made: tuple[bytes, list[bytes]]) -> None:
    message = json.dumps(message_of(made[0], "msg_1", "m"), default=_plain).encode()

    assert assembled(events_of(replayed(message))) == json.loads(message)


def test_thinking_citations_and_unknown_blocks_are_replayed_too() -> None:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]},
        {"type": "text", "text": "ok", "citations": [{"type": "char_location", "n": 1}]},
    ]
    message = {"type": "message", "id": "m", "content": content, "stop_reason": "end_turn",
               "usage": {"input_tokens": 1, "output_tokens": 2}}  # fmt: skip

    events = events_of(replayed(json.dumps(message).encode()))

    deltas = [e["delta"] for e in events if e["type"] == "content_block_delta"]
    starts = [e["content_block"] for e in events if e["type"] == "content_block_start"]
    assert [d["type"] for d in deltas] == [
        "thinking_delta", "signature_delta", "input_json_delta", "text_delta", "citations_delta",
    ]  # fmt: skip
    assert starts[1] == content[1]
    assert starts[3] == content[3]
    assert deltas[-1]["citation"] == {"type": "char_location", "n": 1}
    assert json.loads(deltas[2]["partial_json"]) == {"q": "x"}


def _plain(raw: Any) -> Any:
    return json.loads(bytes(raw))


class Scripted:
    """A stream that gives what it is told to, and counts how often it is closed."""

    def __init__(self, dialect: Dialect, *said: bytes | Exception | None) -> None:
        self.dialect = dialect
        self.closed = 0
        self._said = list(said)

    async def next(self) -> bytes | None:
        said = self._said.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    async def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("error", [RouteTimeout("m", got="silence"), ValueError("a secret")])
async def test_a_break_is_one_error_event_and_then_the_end(error: Exception) -> None:
    passed = Passed(Scripted(Dialect.MESSAGES, b"x\n\n", error), "01-02")
    chunks = Scripted(Dialect.CHAT, chunk({"content": "x"}), error)
    told_ = Told(chunks, MessageEvents("msg_1", "m", "house"), "01-02")

    for stream in (passed, told_):
        assert await stream.next()
        last = await stream.next()
        assert last is not None
        event = events_of(last)[0]
        assert event["type"] == "error"
        assert event["error"]["type"] in ("timeout_error", "api_error")
        assert event["request_id"] == "req_0102"
        assert b"secret" not in last
        assert await stream.next() is None
    assert chunks.closed == 1


async def test_a_provider_that_talks_nonsense_is_stopped() -> None:
    chunks = Scripted(Dialect.CHAT, b"data: nonsense\n\n", b"data: more\n\n")
    stream = Told(chunks, MessageEvents("msg_1", "m", "house"), "01")

    last = await stream.next()

    assert last is not None
    assert events_of(last)[0]["type"] == "error"
    assert chunks.closed == 1
    assert await stream.next() is None
