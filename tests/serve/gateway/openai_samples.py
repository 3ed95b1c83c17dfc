"""What providers answer: chat completions, their chunks, embeddings."""

from __future__ import annotations

import json
from typing import Any

USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
LOGPROBS = {
    "content": [
        {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []},
        {"token": "!", "logprob": -0.2, "bytes": [33], "top_logprobs": []},
    ]
}


def tool_call(name: str, arguments: dict[str, Any], call_id: str) -> dict[str, Any]:
    """One call as a message has it."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": call_id, "type": "function", "function": function}


def completion(
    content: str | None = "Hello there.", finish: str = "stop", **message: Any
) -> dict[str, Any]:
    """A chat completion of one choice."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-scripted",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "finish_reason": finish,
            }
        ],
        "usage": USAGE,
    }


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One event of a stream; without a delta it has no choices."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    if choices and "logprobs" in more:
        choices[0]["logprobs"] = more.pop("logprobs")
    body = {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000,
        "model": "gpt-scripted", "choices": choices, **more,
    }  # fmt: skip
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"

TEXT_STREAM = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hello"}) + chunk({"content": " there"}),
    chunk({"content": "."}),
    chunk({}, "stop"),
    chunk(usage=USAGE),
    DONE,
)

TOOL_STREAM = (
    chunk({"role": "assistant", "content": "Let me see."}),
    chunk(
        {
            "tool_calls": [
                {
                    "index": 0, "id": "call_a", "type": "function",
                    "function": {"name": "weather", "arguments": ""},
                }
            ]
        }
    ),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]}),
    chunk(
        {
            "tool_calls": [
                {
                    "index": 1, "id": "call_b", "type": "function",
                    "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
                }
            ]
        }
    ),
    chunk({}, "tool_calls"),
    chunk(usage=USAGE),
    DONE,
)  # fmt: skip


TOOLS: list[Any] = [
    {
        "type": "function",
        "name": "weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    }
]
NATIVE: dict[str, Any] = {
    "id": "resp_native", "object": "response", "created_at": 1, "status": "completed",
    "model": "gpt-5", "tools": [], "tool_choice": "auto", "parallel_tool_calls": True,
    "output": [
        {"id": "rs_1", "type": "reasoning", "summary": []},
        {"id": "ws_1", "type": "web_search_call", "status": "completed",
         "action": {"type": "search", "query": "x"}},
        {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "Native.", "annotations": []}]},
        {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather",
         "arguments": '{"city": "Oslo"}', "status": "completed"},
    ],
}  # fmt: skip
