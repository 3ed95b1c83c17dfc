"""Chat completions as a Responses client wants them: whole, and as they stream."""

from __future__ import annotations

from typing import Any

from splice.core.call import Usage
from splice.serve.openai.narration import Narration
from splice.serve.openai.reading import as_list, as_object, as_text, lenient

Fields = dict[str, Any]


def narrate_reply(completion: Fields, narration: Narration, usage: Usage) -> None:
    """Tell a whole chat completion from its first choice; nothing after it."""
    choice = _first(completion.get("choices"))
    message = as_object(choice.get("message"))
    _narrate(message, _logprobs(choice), narration)
    reason = choice.get("finish_reason")
    told = usage_of(completion.get("usage")) or counted(usage)
    narration.end(reason if isinstance(reason, str) else "stop", told)


class ChunkReader:
    """Reads chunks of a chat completion and tells them as parts of a response."""

    def __init__(self, narration: Narration) -> None:
        self._narration = narration
        self._rest: list[bytes] = []
        self._reason = "stop"
        self._usage: Fields | None = None

    def read(self, events: bytes) -> None:
        """Whole server-sent events.

        Raises:
            MalformedBody: What is in one is not JSON.
        """
        for line in events.splitlines():
            if line.startswith(b"data:"):
                self._rest.append(line[5:].strip())
            elif not line and self._rest:
                self._read_one(b"\n".join(self._rest))
                self._rest = []
        if self._rest:
            self._read_one(b"\n".join(self._rest))
            self._rest = []

    def end(self) -> None:
        """The stream came to its regular end."""
        self._narration.end(self._reason, self._usage)

    def _read_one(self, payload: bytes) -> None:
        if payload == b"[DONE]":
            return
        chunk = as_object(lenient(payload))
        self._usage = usage_of(chunk.get("usage")) or self._usage
        model = chunk.get("model")
        if isinstance(model, str) and model:
            self._narration.response["model"] = model
        choice = _first(chunk.get("choices"))
        if choice.get("index", 0) != 0:
            return
        _narrate(as_object(choice.get("delta")), _logprobs(choice), self._narration)
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            self._reason = reason


def _narrate(said: Fields, logprobs: list[Any], narration: Narration) -> None:
    """A message, or a delta of one: they have the same fields."""
    # `reasoning_content` is what most servers of open models call it, `reasoning` what others do.
    thought = said.get("reasoning_content") or said.get("reasoning")
    if isinstance(thought, str) and thought:
        narration.say("reasoning_text", thought)
    content = said.get("content")
    if isinstance(content, str) and (content or logprobs):
        narration.say("output_text", content, logprobs)
    refusal = said.get("refusal")
    if isinstance(refusal, str) and refusal:
        narration.say("refusal", refusal)
    for position, one in enumerate(as_list(said.get("tool_calls"))):
        call = as_object(one)
        function = as_object(call.get("function"))
        index = call.get("index")
        narration.call(
            index if isinstance(index, int) else position,
            as_text(call.get("id")),
            as_text(function.get("name")),
            as_text(function.get("arguments")),
        )


def usage_of(usage: Any) -> Fields | None:
    """The usage of a chat completion in the words of a response; None where there is none."""
    given = as_object(usage)
    tokens_in, tokens_out = given.get("prompt_tokens"), given.get("completion_tokens")
    if not isinstance(tokens_in, int) or not isinstance(tokens_out, int):
        return None
    details_in = as_object(given.get("prompt_tokens_details"))
    details_out = as_object(given.get("completion_tokens_details"))
    return _usage(
        tokens_in,
        tokens_out,
        details_in.get("cached_tokens") or 0,
        details_in.get("cache_write_tokens") or 0,
        details_out.get("reasoning_tokens") or 0,
    )


def counted(usage: Usage) -> Fields | None:
    """The same from our own count; None where tokens were not counted."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    return _usage(usage.input_tokens, usage.output_tokens, cached, written, 0)


def _usage(tokens_in: int, tokens_out: int, cached: int, written: int, thought: int) -> Fields:
    return {
        "input_tokens": tokens_in,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "output_tokens": tokens_out,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": tokens_in + tokens_out,
    }


def _logprobs(choice: Fields) -> list[Any]:
    return as_list(as_object(choice.get("logprobs")).get("content"))


def _first(value: Any) -> Fields:
    choices = as_list(value)
    return as_object(choices[0]) if choices else {}
