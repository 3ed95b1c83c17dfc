"""What every provider of language models must do, whatever runs behind it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from splice.core.errors import RouteError, RouteTimeout
from splice.ports.providers import Completion, CompletionRequest, Message, Provider

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
