"""Reuse and together: what counts as the same question, what is kept, and who gets it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from splice.adapters.caches.memory import MemoryCache
from splice.core.call import Reason, Usage
from splice.core.chat import Asked, Dialect, WireReply
from splice.core.errors import InputMismatch, ProviderFailed
from splice.declare.options import Options
from splice.engine.reuse import Asker, Question, Reuse, ending_of
from splice.engine.sameness import fingerprint, semantic_parts
from splice.engine.together import Together, Turn
from splice.ports.caches import Near

BOTH = Options(exact_s=60, semantic_s=60, cosine=0.9, coalesce=True)
ALICE = Asker("alice", "help", 3)


def asked(body: str | Mapping[str, Any], **changes: Any) -> Asked:
    """A request as a surface makes it of a body: values stay the caller's own bytes."""
    raw = body if isinstance(body, str) else json.dumps(body)
    fields: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    fields.pop("model", None)
    stream = fields.pop("stream", b"false") == b"true"
    plain = Asked(Dialect.CHAT, "help", stream, fields, len(raw))
    return msgspec.structs.replace(plain, **changes)


def chat(text: str = "Where is my order?", **more: Any) -> dict[str, Any]:
    system = {"role": "system", "content": "Be brief."}
    return {"messages": [system, {"role": "user", "content": text}], **more}


def reply(text: str = "There.", finish: str = "stop", **changes: Any) -> WireReply:
    message = {"role": "assistant", "content": text}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    plain = WireReply(
        Dialect.CHAT, json.dumps(body).encode(), Usage(10, 5), "gpt-x", cost_nano=1000
    )
    return msgspec.structs.replace(plain, **changes)


def turns(*said: Any) -> dict[str, Any]:
    """Turns, each a dict, or a role and what was said."""
    one = [t if isinstance(t, dict) else {"role": t[0], "content": t[1]} for t in said]
    return {"messages": one}


def parts(*given: dict[str, Any]) -> dict[str, Any]:
    """One turn of the user, of these parts."""
    return turns(("user", list(given)))


BRIEF = ("system", "Be brief.")
ASK = ("user", "A?")
TEXT = {"type": "text", "text": "A"}
IMAGE = {"type": "image_url", "image_url": {"url": "u"}}
CALLING = {"role": "assistant", "content": "", "tool_calls": [{"id": "t"}]}


class Alike:
    """A semantic cache for which all texts of a space mean the same."""

    def __init__(self) -> None:
        self.spaces: dict[str, tuple[str, bytes]] = {}

    async def near(self, space: str, text: str, at_least: float) -> Near | None:
        found = self.spaces.get(space)
        return None if found is None else Near(*found, 0.99)

    async def put(self, space: str, text: str, value: bytes, seconds: float) -> None:
        self.spaces[space] = (text, value)

    async def clear(self, prefix: str) -> int:
        gone = [space for space in self.spaces if space.startswith(prefix)]
        for space in gone:
            del self.spaces[space]
        return len(gone)

    async def close(self) -> None:
        self.spaces.clear()


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def reuse() -> Reuse:
    return Reuse(MemoryCache(), Alike())


async def found(
    reuse: Reuse, body: Mapping[str, Any], asker: Asker = ALICE, options: Options = BOTH
) -> tuple[WireReply, Reason] | None:
    question = reuse.question(asker, options, asked(body))
    return None if question is None else await reuse.find(question)


async def kept(
    reuse: Reuse,
    body: Mapping[str, Any],
    answer: WireReply,
    asker: Asker = ALICE,
    options: Options = BOTH,
) -> Question:
    question = reuse.question(asker, options, asked(body))
    assert question is not None
    await reuse.keep(question, answer)
    return question


EXACT = Options(exact_s=60)
SEMANTIC = Options(semantic_s=60, cosine=0.9)


class TestFingerprint:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ('{"messages":[{"role":"user","content":"a"}]}',
             '{ "messages" : [ {"content":"a","role":"user"} ] }'),
            ('{"temperature":0,"seed":1}', '{"seed":1,"temperature":0}'),
            ('{"seed":1}', '{"seed":1,"stream":true,"stream_options":{"include_usage":true}}'),
            ('{"seed":1}', '{"seed":1,"user":"u","metadata":{"a":"x"},"prompt_cache_key":"k"}'),
            (r'{"a":"\u00e9"}', '{"a":"é"}'),
        ],
    )  # fmt: skip
    def test_the_same_question_in_other_bytes_has_the_same(self, one: str, other: str) -> None:
        assert fingerprint(asked(one), "") == fingerprint(asked(other), "")

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ('{"seed":1}', '{"seed":2}'),
            ('{"temperature":0}', '{"temperature":1}'),
            ('{"temperature":0}', "{}"),
            ('{"stop":["a","b"]}', '{"stop":["b","a"]}'),
            ('{"a":"bc"}', '{"ab":"c"}'),
            ('{"a":"b","c":"d"}', '{"a":"b\\",\\"c\\":\\"d"}'),
            ('{"a":1}', '{"a":"1"}'),
            ('{"a":"1"}', r'{"a":"\"1\""}'),
            ('{"a":null}', '{"a":false}'),
            ('{"a":"é"}', '{"a":"e\u0301"}'),  # composed, decomposed: other tokens, other answers
            ('{"a":9007199254740993}', '{"a":9007199254740992}'),
            ('{"a":1e400}', '{"a":1e401}'),  # more than a double holds: told apart as bytes
        ],
    )
    def test_another_question_has_another(self, one: str, other: str) -> None:
        assert fingerprint(asked(one), "") != fingerprint(asked(other), "")

    def test_json_too_deep_to_read_is_told_apart_as_bytes(self) -> None:
        one, other, again = (asked("{}") for _ in range(3))
        one.fields["a"] = again.fields["a"] = msgspec.Raw(b"[" * 5000 + b"]" * 5000)
        other.fields["a"] = msgspec.Raw(b"[" * 5001 + b"]" * 5001)

        assert fingerprint(one, "") != fingerprint(other, "")
        assert fingerprint(one, "") == fingerprint(again, "")

    def test_model_dialect_and_vendor_headers_are_part_of_it(self) -> None:
        plain = asked('{"seed":1}')
        others = [
            fingerprint(plain, "openai/gpt-x"),
            fingerprint(msgspec.structs.replace(plain, dialect=Dialect.MESSAGES), ""),
            fingerprint(msgspec.structs.replace(plain, headers={"anthropic-beta": "b"}), ""),
            fingerprint(plain, ""),
        ]

        assert len(set(others)) == 4

    def test_an_answer_that_is_not_in_the_reply_has_none(self) -> None:
        assert fingerprint(asked('{"background":true}'), "") is None
        assert fingerprint(asked('{"conversation":"conv_1"}'), "") is None
        assert fingerprint(asked('{"background":false}'), "") is not None


class TestSemanticParts:
    def test_the_text_is_the_users_and_the_rest_is_the_space(self) -> None:
        one = semantic_parts(asked(chat("A?")).fields)
        other = semantic_parts(asked(chat("B?")).fields)

        assert one is not None
        assert other is not None
        assert (one[1], other[1]) == ("A?", "B?")
        assert one[0] == other[0]

    @pytest.mark.parametrize(
        "change",
        [
            {"temperature": 0.5},
            {"seed": 7},
            {"max_tokens": 10},
            {"response_format": {"type": "json_object"}},
            turns(("system", "Be long."), ASK),
            turns(ASK),
            turns(("developer", "Be brief."), ASK),
            turns(BRIEF, {"role": "user", "content": "A?", "name": "x"}),
            turns(BRIEF, ("assistant", "Hi"), ASK),
        ],
    )
    def test_whatever_else_is_said_makes_another_space(self, change: dict[str, Any]) -> None:
        plain = semantic_parts(asked(chat("A?")).fields)
        changed = semantic_parts(asked({**chat("A?"), **change}).fields)

        assert plain is not None
        assert changed is not None
        assert changed[1] == "A?"
        assert changed[0] != plain[0]

    @pytest.mark.parametrize(
        "change",
        [
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            {"functions": [{"name": "f"}]},
            {"tool_choice": "auto"},
            {"n": 2},
            {"logprobs": True},
            {"modalities": ["text", "audio"]},
            {"web_search_options": {"size": "low"}},
            {"messages": []},
            {"messages": "A?"},
            {"messages": ["A?"]},
            turns({"role": "user"}),
            turns(("user", "")),
            turns(("user", " \n")),
            turns(("user", "x" * 1001)),
            turns(("user", 5)),
            turns({"role": "tool", "content": "5", "tool_call_id": "t"}),
            turns(ASK, ("user", "B?")),
            turns(ASK, ("assistant", "a"), ("user", "B?")),
            turns(ASK, ("assistant", "a")),
            turns(CALLING, ASK),
            parts(IMAGE),
            parts(TEXT, IMAGE),
            parts({"type": "tool_result", "tool_use_id": "t", "content": "5"}),
            parts({"type": "text", "text": 5}),
        ],
    )
    def test_what_is_more_than_one_text_has_none(self, change: dict[str, Any]) -> None:
        assert semantic_parts(asked({**chat("A?"), **change}).fields) is None

    def test_a_text_in_a_part_is_the_same_as_a_text(self) -> None:
        part = [{"type": "text", "text": "A?", "cache_control": {"type": "ephemeral"}}]

        plain = semantic_parts(asked({"messages": [{"role": "user", "content": "A?"}]}).fields)
        parted = semantic_parts(asked({"messages": [{"role": "user", "content": part}]}).fields)

        assert plain == parted

    def test_the_other_dialects_are_read_in_their_own_shape(self) -> None:
        text = semantic_parts(asked({"input": "A?"}).fields, Dialect.RESPONSES)
        item = {"role": "user", "content": [{"type": "input_text", "text": "A?"}]}
        items = semantic_parts(asked({"input": [item]}).fields, Dialect.RESPONSES)
        anthropic = {"system": "S", "messages": [{"role": "user", "content": "A?"}]}
        message = semantic_parts(asked(anthropic).fields, Dialect.MESSAGES)
        other = semantic_parts(asked({**anthropic, "system": "T"}).fields, Dialect.MESSAGES)

        assert text == items
        assert text is not None
        assert message is not None
        assert other is not None
        assert message[1] == "A?"
        assert message[0] != other[0]
        follow = {"input": "A?", "previous_response_id": "r"}
        assert semantic_parts(asked(follow).fields, Dialect.RESPONSES) is None
        assert semantic_parts(asked({"input": "A?"}).fields, Dialect.EMBEDDINGS) is None


class TestFindAndKeep:
    async def test_the_same_question_gets_the_kept_answer_for_nothing(self, reuse: Reuse) -> None:
        await kept(reuse, chat(), reply())

        again = await found(reuse, chat())

        assert again is not None
        assert again[1] is Reason.CACHED
        assert again[0] == reply(cost_nano=0)

    async def test_whole_and_stream_share_one_entry(self, reuse: Reuse) -> None:
        await kept(reuse, chat(stream=True, stream_options={"include_usage": True}), reply())

        assert await found(reuse, chat(), options=EXACT) is not None

    async def test_a_question_that_means_the_same_gets_it_as_similar(self, reuse: Reuse) -> None:
        await kept(reuse, chat("Where is my order?"), reply())

        near = await found(reuse, chat("Where's my order?"))

        assert near is not None
        assert near[1] is Reason.SIMILAR
        assert near[0].cost_nano == 0

    @pytest.mark.parametrize("options", [EXACT, SEMANTIC])
    @pytest.mark.parametrize(
        "asker",
        [
            Asker("bob", "help", 3),
            Asker("", "help", 3),
            Asker("*", "help", 3),
            Asker("alice", "help", 4),
            Asker("alice", "helper", 3),
            Asker("alice/3", "help", 3),
            Asker("help", "alice", 3),
        ],
    )
    async def test_another_tenant_release_or_integration_finds_nothing(
        self, reuse: Reuse, options: Options, asker: Asker
    ) -> None:
        await kept(reuse, chat(), reply(), options=options)

        assert await found(reuse, chat(), asker, options) is None
        assert await found(reuse, chat(), ALICE, options) is not None

    async def test_across_tenants_only_where_it_is_said_and_only_among_those(
        self, reuse: Reuse
    ) -> None:
        everyone = Options(exact_s=60, across_tenants=True)
        await kept(reuse, chat(), reply(), options=everyone)

        assert await found(reuse, chat(), Asker("bob", "help", 3), everyone) is not None
        assert await found(reuse, chat(), Asker("bob", "help", 3), EXACT) is None
        assert await found(reuse, chat(), Asker("*", "help", 3), EXACT) is None

    async def test_the_answers_of_two_named_models_are_apart(self, reuse: Reuse) -> None:
        question = reuse.question(ALICE, BOTH, asked(chat()), "openai/gpt-x")
        assert question is not None
        await reuse.keep(question, reply())

        assert await found(reuse, chat()) is None

    async def test_it_is_gone_after_its_time(self) -> None:
        clock = Clock()
        reuse = Reuse(MemoryCache(clock=clock))
        await kept(reuse, chat(), reply(), options=EXACT)

        clock.now += 60

        assert await found(reuse, chat(), options=EXACT) is None

    @pytest.mark.parametrize(
        "answer",
        [
            reply(complete=False),
            reply(finish="content_filter"),
            reply(finish="error"),
            reply(body=b'{"error":{"message":"overloaded"}}'),
            reply(body=b'{"choices":[]}'),
            reply(body=b'{"choices":[{"finish_reason":"stop"}]}'),
            reply(body=b'{"choices":[{"message":{"content":"a"},"finish_reason":null}]}'),
            reply(body=b'{"choices":[{"message":{"refusal":"no"},"finish_reason":"stop"}]}'),
            reply(body=b"garbage"),
            reply(body=b""),
            reply(body=b"[]"),
            reply(text=""),
        ],
    )
    async def test_an_answer_without_a_regular_end_is_not_kept(
        self, reuse: Reuse, answer: WireReply
    ) -> None:
        await kept(reuse, chat(), answer)

        assert await found(reuse, chat()) is None

    @pytest.mark.parametrize("finish", ["length", "tool_calls"])
    async def test_a_cut_answer_and_a_tool_call_are_only_kept_for_the_very_same(
        self, reuse: Reuse, finish: str
    ) -> None:
        await kept(reuse, chat(), reply(finish=finish))

        assert await found(reuse, chat("Something else?")) is None
        assert await found(reuse, chat()) is not None

    async def test_nothing_declared_is_no_question(self, reuse: Reuse) -> None:
        assert reuse.question(ALICE, Options(), asked(chat())) is None
        assert Reuse().question(ALICE, Options(exact_s=60, semantic_s=60), asked(chat())) is None

    async def test_forgetting_an_integration_leaves_the_others(self, reuse: Reuse) -> None:
        other = Asker("alice", "help-desk", 3)
        await kept(reuse, chat(), reply())
        await kept(reuse, chat(), reply(), other)
        await reuse.keep_bytes("typed/help/alice/3/x", b"1", 60)

        assert await reuse.forget("help") == 3

        assert await found(reuse, chat()) is None
        assert await found(reuse, chat(), other) is not None


class TestPoison:
    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"garbage",
            b"\xc1" * 100,
            b"\x93" * 2000,
            msgspec.msgpack.encode(5),
            msgspec.msgpack.encode({"key": "k"}),
            msgspec.msgpack.encode(["splice-kept-1", "another key", reply()]),
            msgspec.msgpack.encode(["splice-kept-0", "", reply()]),
            msgspec.msgpack.encode(["splice-kept-1", "", 5]),
        ],
    )
    async def test_a_value_that_is_not_ours_is_not_found(self, value: bytes) -> None:
        cache = MemoryCache()
        reuse = Reuse(cache)
        question = reuse.question(ALICE, EXACT, asked(chat()))
        assert question is not None
        assert question.exact is not None
        await cache.put(question.exact, value, 60)

        assert await reuse.find(question) is None

    async def test_a_kept_body_that_is_no_answer_is_not_found(self) -> None:
        cache = MemoryCache()
        reuse = Reuse(cache)
        question = reuse.question(ALICE, EXACT, asked(chat()))
        assert question is not None
        assert question.exact is not None
        value = ["splice-kept-1", question.exact, reply(body=b"<html>")]
        await cache.put(question.exact, msgspec.msgpack.encode(value), 60)

        assert await reuse.find(question) is None

    async def test_typed_bytes_of_another_key_are_not_found(self) -> None:
        cache = MemoryCache()
        reuse = Reuse(cache)
        await reuse.keep_bytes("a", b"of a", 60)
        value = await cache.get("a")
        assert value is not None
        await cache.put("b", value, 60)

        assert await reuse.find_bytes("a") == b"of a"
        assert await reuse.find_bytes("b") is None


class TestTyped:
    async def test_the_same_request_in_other_bytes_has_the_same_key(self, reuse: Reuse) -> None:
        one = reuse.typed_key(ALICE, EXACT, b'{"amount": 5, "country": "DE"}')

        assert one is not None
        assert one == reuse.typed_key(ALICE, EXACT, b'{"country":"DE","amount":5}')
        assert one != reuse.typed_key(ALICE, EXACT, b'{"country":"DE","amount":6}')
        assert one != reuse.typed_key(
            Asker("bob", "help", 3), EXACT, b'{"country":"DE","amount":5}'
        )
        assert reuse.typed_key(ALICE, EXACT, b"no json") is not None
        assert reuse.typed_key(ALICE, Options(), b"{}") is None

    async def test_bytes_come_back(self, reuse: Reuse) -> None:
        key = reuse.typed_key(ALICE, EXACT, b"{}")
        assert key is not None

        await reuse.keep_bytes(key, b"\x00prediction", 60)

        assert await reuse.find_bytes(key) == b"\x00prediction"


@pytest.mark.parametrize(
    ("dialect", "body", "ending"),
    [
        (Dialect.MESSAGES, {"content": [{"type": "text"}], "stop_reason": "end_turn"}, "text"),
        (Dialect.MESSAGES, {"content": [{"type": "text"}], "stop_reason": "max_tokens"}, "cut"),
        (Dialect.MESSAGES, {"content": [{"type": "tool_use"}], "stop_reason": "tool_use"}, "tools"),
        (Dialect.MESSAGES, {"content": [{"type": "text"}], "stop_reason": "refusal"}, ""),
        (Dialect.MESSAGES, {"content": [], "stop_reason": "end_turn"}, ""),
        (Dialect.MESSAGES, {"type": "error", "error": {"type": "overloaded_error"}}, ""),
        (Dialect.RESPONSES, {"status": "completed", "output": [{"type": "message"}]}, "text"),
        (Dialect.RESPONSES, {"status": "completed", "output": [{"type": "mcp_call"}]}, "tools"),
        (Dialect.RESPONSES, {"status": "failed", "output": [{"type": "message"}]}, ""),
        (Dialect.RESPONSES, {"status": "queued", "output": []}, ""),
        (
            Dialect.RESPONSES,
            {"status": "incomplete", "output": [{"type": "message"}],
             "incomplete_details": {"reason": "max_output_tokens"}},
            "cut",
        ),
        (Dialect.EMBEDDINGS, {"data": [{"embedding": [0.1]}]}, "vectors"),
        (Dialect.EMBEDDINGS, {"data": []}, ""),
    ],
)  # fmt: skip
def test_every_dialect_says_how_it_ended(
    dialect: Dialect, body: dict[str, Any], ending: str
) -> None:
    answer = WireReply(dialect, json.dumps(body).encode(), Usage(), "m")

    assert ending_of(answer) == ending


class TestTogether:
    async def join(self, together: Together, key: str = "k", seconds: float = 10) -> Turn:
        turn = await together.join(key, seconds)
        assert isinstance(turn, Turn)
        return turn

    async def waiting(self, together: Together, count: int) -> list[asyncio.Task[Turn | WireReply]]:
        tasks = [asyncio.create_task(together.join("k", 10)) for _ in range(count)]
        await asyncio.sleep(0)
        return tasks

    async def test_two_hundred_get_the_answer_of_one(self) -> None:
        together = Together()
        asking = 0

        async def caller() -> WireReply:
            nonlocal asking
            joined = await together.join("k", 10)
            if isinstance(joined, WireReply):
                return joined
            asking += 1
            await asyncio.sleep(0.01)
            joined.give(reply("the one"))
            return reply("the one")

        answers = await asyncio.gather(*(caller() for _ in range(200)))

        assert asking == 1
        assert answers == [reply("the one")] * 200
        assert together.asking == 0

    async def test_two_keys_know_nothing_of_each_other(self) -> None:
        together = Together()

        one, other = await self.join(together, "a"), await self.join(together, "b")

        one.give(reply())
        other.give(reply())
        assert together.asking == 0

    async def test_when_the_first_goes_away_the_next_takes_over_and_the_rest_wait(self) -> None:
        together = Together()
        first = await self.join(together)
        tasks = await self.waiting(together, 3)

        first.leave()
        await asyncio.sleep(0)

        second = tasks[0].result()
        assert isinstance(second, Turn)
        assert [task.done() for task in tasks] == [True, False, False]
        second.give(reply())
        assert await asyncio.gather(*tasks[1:]) == [reply(), reply()]

    async def test_when_the_first_fails_one_tries_again_and_a_second_failure_is_for_all(
        self,
    ) -> None:
        together = Together()
        first = await self.join(together)
        tasks = await self.waiting(together, 200)

        first.fail(ProviderFailed("openai", got="500"))
        await asyncio.sleep(0)
        second = tasks[0].result()
        assert isinstance(second, Turn)
        assert sum(task.done() for task in tasks) == 1
        second.fail(ProviderFailed("openai", got="500"))

        ended = await asyncio.gather(*tasks[1:], return_exceptions=True)
        assert {type(one) for one in ended} == {ProviderFailed}
        assert together.asking == 0

    async def test_a_request_that_is_wrong_is_wrong_for_all_at_once(self) -> None:
        together = Together()
        first = await self.join(together)
        tasks = await self.waiting(together, 5)

        first.fail(InputMismatch("messages", got="none"))

        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one) for one in ended} == {InputMismatch}

    async def test_a_waiting_caller_that_goes_away_disturbs_nobody(self) -> None:
        together = Together()
        first = await self.join(together)
        tasks = await self.waiting(together, 3)

        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        first.give(reply())

        assert await tasks[0] == reply()
        assert await tasks[2] == reply()

    async def test_a_caller_that_goes_away_in_the_moment_of_its_turn_hands_it_on(self) -> None:
        together = Together()
        first = await self.join(together)
        tasks = await self.waiting(together, 2)

        first.leave()  # the turn is now the first waiting caller's, who has not heard of it yet
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)

        turn = await tasks[1]
        assert isinstance(turn, Turn)
        turn.leave()
        assert together.asking == 0

    async def test_each_waits_only_until_its_own_deadline(self) -> None:
        together = Together()
        first = await self.join(together)
        patient = asyncio.create_task(together.join("k", 10))

        with pytest.raises(TimeoutError):
            await together.join("k", 0.01)
        with pytest.raises(TimeoutError):
            await together.join("k", -1)

        first.give(reply())
        assert await patient == reply()

    async def test_the_first_ending_of_a_turn_counts(self) -> None:
        together = Together()
        first = await self.join(together)
        tasks = await self.waiting(together, 2)

        first.give(reply())
        first.leave()
        first.fail(ProviderFailed("openai"))

        assert await asyncio.gather(*tasks) == [reply(), reply()]
        assert isinstance(await together.join("k", 1), Turn)

    async def test_who_asks_after_the_answer_asks_anew(self) -> None:
        together = Together()
        first = await self.join(together)
        first.give(reply())

        second = await self.join(together)

        first.leave()  # an old turn has no say in the new group
        assert together.asking == 1
        second.leave()
        assert together.asking == 0

    async def test_callers_that_come_and_go_leave_nothing_behind(self) -> None:
        together = Together()

        async def caller(n: int) -> None:
            async with asyncio.timeout(math.inf if n % 3 else 0.001 * (n % 7)):
                joined = await together.join(f"k{n % 5}", 0.5)
                if isinstance(joined, Turn):
                    try:
                        await asyncio.sleep(0)
                        (joined.give(reply()) if n % 2 else joined.fail(ProviderFailed("x")))
                    finally:
                        joined.leave()

        await asyncio.gather(*(caller(n) for n in range(500)), return_exceptions=True)

        assert together.asking == 0


async def test_coalescing_is_by_tenant_even_where_the_cache_is_not(reuse: Reuse) -> None:
    options = Options(exact_s=60, across_tenants=True, coalesce=True)

    one = reuse.question(ALICE, options, asked(chat()))
    other = reuse.question(Asker("bob", "help", 3), options, asked(chat(stream=True)))
    same = reuse.question(ALICE, options, asked(chat(stream=True)))

    assert one is not None
    assert other is not None
    assert same is not None
    assert one.exact == other.exact
    assert one.together != other.together
    assert one.together == same.together
