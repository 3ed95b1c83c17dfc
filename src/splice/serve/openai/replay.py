"""A whole answer told as a stream: from a cache, or held until it was recorded."""

from __future__ import annotations

from typing import Any

import msgspec

from splice.core.call import Usage
from splice.serve.openai.narration import event
from splice.serve.openai.reading import as_list, as_object, as_text

Fields = dict[str, Any]
_encode = msgspec.json.Encoder().encode
_PIECES = 8
_SHORTEST = 32
DONE = b"data: [DONE]\n\n"

_IN_OTHER_PLACES = ("role", "content", "tool_calls")
_TEXT_OF = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text"}


def chat_events(completion: Fields, usage: Usage, *, with_usage: bool) -> bytes:
    """A chat completion as its chunks would have come, `[DONE]` included."""
    head = {
        name: completion[name]
        for name in ("id", "created", "model", "service_tier", "system_fingerprint")
        if name in completion
    }
    head["object"] = "chat.completion.chunk"
    if with_usage:
        head["usage"] = None
    told: list[bytes] = []

    def tell(choices: list[Fields], **more: Any) -> None:
        told.append(b"data: " + _encode({**head, "choices": choices, **more}) + b"\n\n")

    for position, one in enumerate(as_list(completion.get("choices"))):
        choice = as_object(one)
        index = choice.get("index", position)
        message = as_object(choice.get("message"))
        opening = {k: v for k, v in message.items() if k not in _IN_OTHER_PLACES and v is not None}
        deltas: list[Fields] = [{"role": message.get("role", "assistant"), **opening}]
        content = message.get("content")
        if isinstance(content, str):
            deltas[0]["content"] = ""
            deltas += [{"content": piece} for piece in pieces(content)]
        deltas += [
            {"tool_calls": [{"index": i, **as_object(call)}]}
            for i, call in enumerate(as_list(message.get("tool_calls")))
        ]
        logprobs = choice.get("logprobs")
        for number, delta in enumerate(deltas):
            told_choice: Fields = {"index": index, "delta": delta, "finish_reason": None}
            if logprobs is not None and number == min(1, len(deltas) - 1):
                # Whole, at the first piece: tokens do not end where pieces do.
                told_choice["logprobs"] = logprobs
            tell([told_choice])
        reason = choice.get("finish_reason") or "stop"
        tell([{"index": index, "delta": {}, "finish_reason": reason}])
    if with_usage:
        tell([], usage=completion.get("usage") or _counted(usage))
    return b"".join(told) + DONE


def response_events(response: Fields) -> bytes:
    """A response object in the events that it would have come in."""
    told: list[bytes] = []

    def tell(kind: str, **fields: Any) -> None:
        told.append(event(kind, len(told), fields))

    begun: Fields = {**response, "status": "in_progress", "output": [], "usage": None}
    begun |= {"incomplete_details": None, "error": None}
    tell("response.created", response=begun)
    tell("response.in_progress", response=begun)
    for position, one in enumerate(as_list(response.get("output"))):
        item = as_object(one)
        parts: Any = item.get("content")
        bare = {**item, "status": "in_progress"} if "status" in item else dict(item)
        if isinstance(parts, list):
            bare["content"] = []
        if item.get("type") == "function_call":
            bare["arguments"] = ""
        tell("response.output_item.added", output_index=position, item=bare)
        place: Fields = {"item_id": item.get("id"), "output_index": position}
        for index, part in enumerate(as_list(parts)):
            _tell_part(tell, as_object(part), {**place, "content_index": index})
        if item.get("type") == "function_call":
            arguments = as_text(item.get("arguments"))
            for piece in pieces(arguments):
                tell("response.function_call_arguments.delta", **place, delta=piece)
            tell(
                "response.function_call_arguments.done",
                **place, name=item.get("name"), arguments=arguments,
            )  # fmt: skip
        tell("response.output_item.done", output_index=position, item=item)
    status = response.get("status")
    known = status in ("completed", "incomplete", "failed")
    tell(f"response.{status if known else 'completed'}", response=response)
    return b"".join(told)


def _tell_part(tell: Any, part: Fields, place: Fields) -> None:
    kind = as_text(part.get("type"))
    name = _TEXT_OF.get(kind)
    if name is None:
        tell("response.content_part.added", **place, part=part)
    else:
        bare = {**part, name: ""}
        if kind == "output_text":
            bare |= {"annotations": [], "logprobs": []}
        tell("response.content_part.added", **place, part=bare)
        text = as_text(part.get(name))
        logprobs: Fields = {"logprobs": []} if kind == "output_text" else {}
        for piece in pieces(text):
            tell(f"response.{kind}.delta", **place, delta=piece, **logprobs)
        if kind == "output_text":
            logprobs = {"logprobs": part.get("logprobs") or []}
        tell(f"response.{kind}.done", **place, **{name: text}, **logprobs)
    tell("response.content_part.done", **place, part=part)


def pieces(text: str) -> list[str]:
    """A text in a few pieces of about one length; none of an empty one."""
    step = max(_SHORTEST, -(-len(text) // _PIECES))
    return [text[start : start + step] for start in range(0, len(text), step)]


def _counted(usage: Usage) -> Fields | None:
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
