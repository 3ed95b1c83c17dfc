"""What the mock provider answers, and what every subject must therefore hand on.

The whole reply is a chat completion of about 60 tokens; the streamed one has the same length in 50
pieces, each an event of its own, and the count of tokens where the caller asks for it. No two
pieces are alike, so that a lost, doubled or misplaced one shows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

MODEL = "mock-model"
CREATED = 1_793_880_000
PIECES = 50
INPUT_TOKENS = 131

WHOLE_TEXT = (
    "Your parcel left our warehouse on Tuesday and is now with the carrier. The scan of this "
    "morning puts it in Leipzig, so that delivery on Thursday is likely; a second attempt is made "
    "on Friday. You need not do anything. Should it not have come by Saturday, write to us again "
    "and we send a new one at no cost."
)
WHOLE_TOKENS = 64
STREAM_TEXT = [f" part-{number:02d}" for number in range(PIECES)]
"""The content of each streamed event, in order."""


class WrongReplyError(RuntimeError):
    """A reply is not the provider's: how fast it came is of no interest."""


def whole_reply() -> bytes:
    """The body of the whole chat completion."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": WHOLE_TEXT, "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    return _compact(
        {
            "id": "chatcmpl-mock",
            "object": "chat.completion",
            "created": CREATED,
            "model": MODEL,
            "choices": [choice],
            "usage": _usage(WHOLE_TOKENS),
            "system_fingerprint": "fp_mock",
        }
    )


def stream_events(*, with_usage: bool) -> list[bytes]:
    """The events of the streamed chat completion: its pieces, its end, its usage, `[DONE]`.

    The role comes with the first piece, as some providers do, so that events and pieces are one.
    """
    deltas: list[dict[str, str]] = [{"content": piece} for piece in STREAM_TEXT]
    deltas[0] = {"role": "assistant", **deltas[0]}
    chunks = [_chunk([_choice(delta, None)]) for delta in deltas]
    chunks.append(_chunk([_choice({}, "stop")]))
    if with_usage:
        chunks = [chunk | {"usage": None} for chunk in chunks]
        chunks.append(_chunk([]) | {"usage": _usage(PIECES)})
    return [b"data: " + _compact(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


def check_whole(body: bytes) -> None:
    """That `body` says what the provider said.

    Raises:
        WrongReplyError: It says something else.
    """
    try:
        reply = json.loads(body)
        said = reply["choices"][0]["message"]["content"], reply["choices"][0]["finish_reason"]
        counted = reply["usage"]["prompt_tokens"], reply["usage"]["completion_tokens"]
    except (ValueError, LookupError, TypeError) as error:
        raise WrongReplyError(f"not a chat completion: {body[:300]!r}") from error
    if said != (WHOLE_TEXT, "stop"):
        raise WrongReplyError(f"another text or end: {said}")
    if counted != (INPUT_TOKENS, WHOLE_TOKENS):
        raise WrongReplyError(f"another count of tokens: {counted}")


def check_stream(body: bytes) -> None:
    """That `body` is all 50 pieces in 50 events, in order, then the end, the usage and `[DONE]`.

    Raises:
        WrongReplyError: Something is missing, doubled, joined or out of place.
    """
    lines = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
    if not lines or lines[-1] != b"[DONE]":
        raise WrongReplyError(f"the stream did not come to its end: …{body[-300:]!r}")
    pieces: list[str] = []
    ends: list[str] = []
    counted: list[tuple[int, int]] = []
    try:
        for line in lines[:-1]:
            chunk = json.loads(line)
            for choice in chunk["choices"]:
                pieces += [text] if (text := choice["delta"].get("content")) else []
                ends += [end] if (end := choice.get("finish_reason")) else []
            if usage := chunk.get("usage"):
                counted.append((usage["prompt_tokens"], usage["completion_tokens"]))
    except (ValueError, LookupError, TypeError) as error:
        raise WrongReplyError(f"an event is not a chunk of a chat: {error!r}") from error
    _expect("pieces", pieces, STREAM_TEXT)
    _expect("end", ends, ["stop"])
    _expect("count of tokens", counted, [(INPUT_TOKENS, PIECES)])


def _expect(what: str, got: Sequence[object], expected: Sequence[object]) -> None:
    """That two sequences are the same."""
    if list(got) != list(expected):
        raise WrongReplyError(f"{what}: {len(got)} came, {len(expected)} were sent: {got}")


# Any: the values of JSON.
def _chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    """One event of a stream."""
    return {
        "id": "chatcmpl-mock",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": MODEL,
        "system_fingerprint": "fp_mock",
        "choices": choices,
    }


def _choice(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    """The one choice of an event."""
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _usage(output_tokens: int) -> dict[str, int]:
    """The count of tokens."""
    total = INPUT_TOKENS + output_tokens
    return {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": output_tokens,
        "total_tokens": total,
    }


def _compact(value: object) -> bytes:
    """JSON as a provider sends it."""
    return json.dumps(value, separators=(",", ":")).encode()
