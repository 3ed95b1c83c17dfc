"""Batches and their results in the shapes of OpenAI and of Anthropic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from splice.testing.anthropic_server import Said, error_of, message_of
from splice.testing.openai_server import USAGE
from splice.testing.openai_shapes import chat_reply, example_of

Json = dict[str, Any]  # any JSON, throughout

ENDED = {"completed", "expired", "cancelled", "failed"}


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one request.

    It is answered with `text`, or with an example of its schema; it fails with a `status`, it
    `expired` with its batch, it is `missing` among the results, or its line is `garbled`. `cut` is
    an answer that broke off at its bound of tokens.
    """

    text: str | None = None
    status: int = 200
    expired: bool = False
    missing: bool = False
    garbled: bool = False
    cut: bool = False


class Made(msgspec.Struct):
    """One batch that was made. `ran` are the ids of the requests that were run, and are charged."""

    id: str
    kind: Literal["openai", "anthropic"]
    requests: list[Json]
    created: float
    status: str
    metadata: Json | None = None
    why: str = ""
    ran: list[str] = []
    files: dict[str, str] = {}
    cancelled: bool = False


def shown(batch: Made) -> Json:
    """A batch as its vendor shows it."""
    total = len(batch.requests)
    ended = batch.status in ENDED
    if batch.kind == "anthropic":
        made = datetime.fromtimestamp(batch.created, UTC)
        lost = total - len(batch.ran) if ended else 0
        return {
            "id": batch.id, "type": "message_batch", "created_at": made.isoformat(),
            "expires_at": made.isoformat(),
            "processing_status": "ended" if ended else "in_progress",
            "cancel_initiated_at": made.isoformat() if batch.cancelled else None,
            "request_counts": {
                "processing": 0 if ended else total, "succeeded": total - lost if ended else 0,
                "errored": 0, "canceled": lost if batch.cancelled else 0,
                "expired": 0 if batch.cancelled else lost,
            },
        }  # fmt: skip
    errors = {"object": "list", "data": [{"code": "invalid", "message": batch.why}]}
    return {
        "id": batch.id, "object": "batch", "endpoint": "/v1/chat/completions",
        "completion_window": "24h", "input_file_id": "file_0001", "status": batch.status,
        "created_at": int(batch.created), "metadata": batch.metadata, **batch.files,
        "request_counts": {"total": total, "completed": len(batch.ran), "failed": 0},
        "errors": errors if batch.why else None,
    }  # fmt: skip


def _openai_line(body: Json, fate: Fate, cancelled: bool) -> Json:
    if fate.expired:
        said = "This request could not be executed before the completion window expired."
        return {"response": None, "error": {"code": "batch_expired", "message": said}}
    if fate.status != 200:
        reply: Json = {"error": {"message": "as scripted", "code": "scripted"}}
        return {"response": {"status_code": fate.status, "body": reply}, "error": None}
    return {"response": {"status_code": 200, "body": chat(body, fate)}, "error": None}


def _anthropic_line(body: Json, fate: Fate, cancelled: bool) -> Json:
    if cancelled or fate.expired:
        return {"result": {"type": "canceled" if cancelled else "expired"}}
    if fate.status != 200:
        return {"result": {"type": "errored", "error": error_of(fate.status, "as scripted")}}
    return {"result": {"type": "succeeded", "message": message(body, fate)}}


RESULTS = {"openai": _openai_line, "anthropic": _anthropic_line}


def chat(body: Json, fate: Fate) -> Json:
    """A chat completion."""
    text = fate.text
    if text is None:
        wanted: Json = body.get("response_format") or {}
        schema: Json | None = wanted["json_schema"]["schema"] if "json_schema" in wanted else None
        text = last(body).upper() if schema is None else json.dumps(example_of(schema))
    said = {"role": "assistant", "content": text, "refusal": None}
    return chat_reply(body.get("model", ""), [said], "length" if fate.cut else "stop", USAGE)


def message(body: Json, fate: Fate) -> Json:
    """A message."""
    reason = "max_tokens" if fate.cut else None
    return message_of(Said(text=fate.text, stop_reason=reason), body)


def last(body: Mapping[str, Any]) -> str:
    """The text of the last message."""
    content: Any = body["messages"][-1]["content"]
    return content if isinstance(content, str) else str(content[-1]["text"])
