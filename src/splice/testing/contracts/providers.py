"""What every provider of language models must do, whatever runs behind it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from splice.core.chat import Dialect, WireRequest
from splice.core.errors import RequestError, RouteError, RouteTimeout
from splice.ports.providers import Completion, CompletionRequest, Message, Provider, Stream

LABELS = ("billing", "technical", "other")

LABEL_SCHEMA: dict[str, Any] = {  # a JSON Schema
    "type": "object",
    "properties": {"label": {"enum": list(LABELS)}},
    "required": ["label"],
}


class ProviderContract:
    """Inherit it, and give it two fixtures: `provider`, and `model`, a name that it completes.

    The tests are coroutines: run them with pytest-asyncio in its automatic mode.
    """

    def ask(self, model: str, **changes: Any) -> CompletionRequest:
        """A small request; `changes` are fields of it."""
        fields: dict[str, Any] = {
            "model": model,
            "messages": (
                Message("system", "Sort the ticket: billing, technical or other. Answer in JSON."),
                Message("user", "My invoice is wrong."),
            ),
            "timeout_s": 60.0,
            "params": {"temperature": 0, "max_tokens": 96},
        }
        return CompletionRequest(**(fields | changes))

    def wire(self, model: str, **changes: Any) -> WireRequest:
        """A small chat completion as a client would send it.

        `changes` are fields of its body, `timeout_s` or `between_s`.
        """
        timeout_s, between_s = changes.pop("timeout_s", 60.0), changes.pop("between_s", 30.0)
        fields: dict[str, Any] = {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Say hello."},
            ],
            "temperature": 0,
            "max_tokens": 24,
        }
        raw = {
            name: msgspec.Raw(msgspec.json.encode(value))
            for name, value in (fields | changes).items()
        }
        return WireRequest(Dialect.CHAT, model, raw, timeout_s, between_s)

    async def test_a_completion_has_text_a_reason_to_stop_and_a_model(
        self, provider: Provider, model: str
    ) -> None:
        completion = await provider.complete(self.ask(model))

        assert completion.text
        assert completion.finish_reason in ("stop", "length")
        assert completion.model

    async def test_tokens_are_counted(self, provider: Provider, model: str) -> None:
        usage = (await provider.complete(self.ask(model))).usage

        assert usage.input_tokens
        assert usage.input_tokens > 0
        assert usage.output_tokens
        assert usage.output_tokens > 0

    async def test_an_answer_satisfies_the_schema_asked_for(
        self, provider: Provider, model: str
    ) -> None:
        completion = await provider.complete(self.ask(model, schema=LABEL_SCHEMA))

        answer = json.loads(completion.text)
        assert list(answer) == ["label"]
        assert answer["label"] in LABELS

    async def test_an_answer_satisfies_a_schema_with_definitions(
        self, provider: Provider, model: str
    ) -> None:
        schema = {
            "$ref": "#/$defs/Reply",
            "$defs": {
                "Reply": {
                    "type": "object",
                    "properties": {"urgent": {"type": "boolean"}, "team": {"$ref": "#/$defs/T"}},
                    "required": ["urgent", "team"],
                },
                "T": {"enum": ["red", "blue"]},
            },
        }

        completion = await provider.complete(self.ask(model, schema=schema))

        answer = json.loads(completion.text)
        assert isinstance(answer["urgent"], bool)
        assert answer["team"] in ("red", "blue")

    async def test_the_request_is_left_as_it_was(self, provider: Provider, model: str) -> None:
        request = self.ask(model, schema=LABEL_SCHEMA)
        before = json.dumps([request.schema, request.params])

        await provider.complete(request)

        assert json.dumps([request.schema, request.params]) == before

    async def test_a_timeout_of_no_time_at_all_is_a_timeout(
        self, provider: Provider, model: str
    ) -> None:
        with pytest.raises(RouteTimeout):
            await provider.complete(self.ask(model, timeout_s=0.0))

        assert (await provider.complete(self.ask(model))).text

    async def test_a_cancelled_call_leaves_the_provider_usable(
        self, provider: Provider, model: str
    ) -> None:
        call = asyncio.create_task(provider.complete(self.ask(model)))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        assert (await provider.complete(self.ask(model))).text

    async def test_calls_at_the_same_time_are_all_answered(
        self, provider: Provider, model: str
    ) -> None:
        calls = [provider.complete(self.ask(model, schema=LABEL_SCHEMA)) for _ in range(4)]

        assert all(json.loads(c.text)["label"] in LABELS for c in await asyncio.gather(*calls))

    async def test_another_event_loop_may_use_it_at_the_same_time(
        self, provider: Provider, model: str
    ) -> None:
        def elsewhere() -> Completion:
            return asyncio.run(provider.complete(self.ask(model)))

        here, there = await asyncio.gather(
            provider.complete(self.ask(model)), asyncio.to_thread(elsewhere)
        )

        assert here.text
        assert there.text

    async def test_the_model_is_among_those_it_lists_if_it_lists_any(
        self, provider: Provider, model: str
    ) -> None:
        names = await provider.models()

        assert not names or model in names

    async def test_closing_twice_is_harmless_and_later_calls_fail_as_route_errors(
        self, provider: Provider, model: str
    ) -> None:
        await provider.complete(self.ask(model))

        await provider.close()
        await provider.close()

        with pytest.raises(RouteError):
            await provider.complete(self.ask(model))

    # Requests as clients send them

    async def test_chat_is_among_what_it_speaks(self, provider: Provider, model: str) -> None:
        assert Dialect.CHAT in provider.dialects
        provider.price(model)  # a price or None, but never an error

    async def test_a_whole_answer_is_a_chat_completion_with_its_tokens_counted(
        self, provider: Provider, model: str
    ) -> None:
        reply = await provider.send(self.wire(model))

        assert reply.complete
        assert reply.model
        assert text_of(reply.body)
        assert (reply.usage.input_tokens or 0) > 0
        assert (reply.usage.output_tokens or 0) > 0
        assert not reply.usage.estimated

    async def test_a_whole_answer_satisfies_the_schema_asked_for(
        self, provider: Provider, model: str
    ) -> None:
        schema = {"name": "label", "schema": LABEL_SCHEMA}
        wanted = {"type": "json_schema", "json_schema": schema}

        reply = await provider.send(self.wire(model, response_format=wanted, max_tokens=96))

        assert json.loads(text_of(reply.body))["label"] in LABELS

    async def test_a_stream_is_whole_events_that_make_up_its_reply(
        self, provider: Provider, model: str
    ) -> None:
        stream = await provider.open(self.wire(model))
        blocks = await blocks_of(stream)

        reply = stream.reply()
        assert all(block.endswith(b"\n\n") for block in blocks)
        chunks = chunks_of(b"".join(blocks))
        said = [c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"]]
        assert "".join(said) == text_of(reply.body)
        assert said
        assert stream.started
        assert reply.complete
        assert reply.model
        assert (reply.usage.output_tokens or 0) > 0
        assert b"".join(blocks).endswith(b"data: [DONE]\n\n")
        assert await stream.next() is None

    async def test_a_stream_says_the_same_as_a_whole_answer(
        self, provider: Provider, model: str
    ) -> None:
        whole = await provider.send(self.wire(model, seed=1))
        stream = await provider.open(self.wire(model, seed=1))
        await blocks_of(stream)

        assert text_of(stream.reply().body) == text_of(whole.body)

    async def test_tokens_of_a_stream_come_as_an_event_only_where_they_were_asked_for(
        self, provider: Provider, model: str
    ) -> None:
        silent = await provider.open(self.wire(model))
        unasked = chunks_of(b"".join(await blocks_of(silent)))
        options = {"include_usage": True}
        counting = await provider.open(self.wire(model, stream_options=options))
        asked = chunks_of(b"".join(await blocks_of(counting)))

        assert [c for c in unasked if not c["choices"]] == []
        assert [c["usage"]["completion_tokens"] for c in asked if not c["choices"]] == [
            counting.reply().usage.output_tokens
        ]
        assert silent.reply().usage.output_tokens

    async def test_a_stream_that_is_left_stops_and_tells_what_came(
        self, provider: Provider, model: str
    ) -> None:
        stream = await provider.open(self.wire(model, max_tokens=200))
        while not stream.started:
            assert await stream.next() is not None

        stream.hang_up()
        stream.hang_up()

        reply = stream.reply()
        assert isinstance(text_of(reply.body), str)
        assert (reply.usage.output_tokens or 0) > 0
        assert (await provider.send(self.wire(model))).complete

    async def test_a_cancelled_reader_of_a_stream_leaves_the_provider_usable(
        self, provider: Provider, model: str
    ) -> None:
        stream = await provider.open(self.wire(model, max_tokens=200))
        reading = asyncio.create_task(blocks_of(stream))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        stream.hang_up()

        assert (await provider.send(self.wire(model))).complete

    async def test_no_time_at_all_is_a_timeout_of_whole_answers_and_of_streams(
        self, provider: Provider, model: str
    ) -> None:
        with pytest.raises(RouteTimeout):
            await provider.send(self.wire(model, timeout_s=0.0))
        with pytest.raises(RouteTimeout):
            await (await provider.open(self.wire(model, timeout_s=0.0))).next()

        assert (await provider.send(self.wire(model))).complete

    async def test_a_wrong_request_is_the_callers_mistake(
        self, provider: Provider, model: str
    ) -> None:
        wrong = self.wire(model, messages="hello")

        with pytest.raises(RequestError):
            await provider.send(wrong)
        with pytest.raises(RequestError):
            await provider.open(wrong)

    async def test_streams_and_whole_answers_go_on_at_the_same_time(
        self, provider: Provider, model: str
    ) -> None:
        async def streamed() -> str:
            stream = await provider.open(self.wire(model))
            await blocks_of(stream)
            return text_of(stream.reply().body)

        async def whole() -> str:
            return text_of((await provider.send(self.wire(model))).body)

        assert all(await asyncio.gather(streamed(), whole(), streamed(), whole()))

    async def test_a_closed_provider_fails_requests_as_route_errors(
        self, provider: Provider, model: str
    ) -> None:
        await provider.close()

        with pytest.raises(RouteError):
            await provider.send(self.wire(model))
        with pytest.raises(RouteError):
            await provider.open(self.wire(model))


async def blocks_of(stream: Stream) -> list[bytes]:
    """All that a stream gives until its regular end."""
    blocks: list[bytes] = []
    while (block := await stream.next()) is not None:
        blocks.append(block)
    return blocks


def chunks_of(events: bytes) -> list[dict[str, Any]]:
    """The JSON of each event but `[DONE]`."""
    lines = [one[6:] for one in events.split(b"\n") if one.startswith(b"data: ")]
    return [json.loads(one) for one in lines if one != b"[DONE]"]


def text_of(body: bytes) -> str:
    """The text of the first choice of a chat completion."""
    return json.loads(body)["choices"][0]["message"]["content"] or ""
