"""The guard of typed calls: before the routes are tried, and before the reply goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splice.core.call import Gathered, Prediction
from splice.core.errors import DecisionError, InputMismatch, MalformedBody
from splice.declare.codec import Codec
from splice.engine.guard import Asking
from splice.engine.guard_texts import mapped, strings, untrusted
from splice.engine.routing.prompted import output_plain

_decode = msgspec.json.decode
_encode = msgspec.json.Encoder(enc_hook=str).encode


async def before(
    asking: Asking, body: bytes, gathered: list[Gathered], context: Mapping[str, Any]
) -> Mapping[str, Any]:
    """What the routes may see: the context, or the same with things taken out.

    Raises:
        RefusedError: A policy says no, or cannot be asked.
    """
    guard = asking.guard
    redacts: set[str] = set()
    if guard.at("input") and await asking.look("input", list(strings(_decode(body)))):
        redacts.add("input")
    if guard.at("context"):
        texts = untrusted(context)
        for one in gathered:
            texts += strings(msgspec.to_builtins(one.values, enc_hook=str))
        if await asking.look("context", texts):
            redacts.add("context")
    if not redacts:
        return context

    def change(text: str) -> str:
        for at in ("input", "context"):
            if at in redacts:
                text = asking.redacted(at, text)
        return text

    # What came of types of the user's own becomes plain: only so can it be looked into.
    plain: Any = msgspec.to_builtins(dict(context), enc_hook=str)
    return mapped(plain, change)


async def of_prediction(asking: Asking, prediction: Prediction) -> list[str]:
    """The texts of what a model said, that no policy objects to.

    Raises:
        RefusedError: A policy says no, or cannot be asked.
    """
    value = prediction.value
    if value is None or isinstance(value, (int, float)) or not asking.guard.at("output"):
        return []
    texts = [value] if isinstance(value, str) else list(strings(output_plain(value)))
    await asking.look("output", texts)
    return texts


async def of_reply(asking: Asking, reply: bytes, seen: list[str], codec: Codec) -> bytes:
    """The reply as it may go out. `seen` are texts that were looked at already.

    Raises:
        RefusedError: A policy says no, or cannot be asked.
        DecisionError: With what was taken out it is none of the declared type any more.
    """
    if not asking.guard.at("output"):
        return reply
    plain = _decode(reply)
    known = set(seen)
    await asking.look("output", [one for one in strings(plain) if one not in known])
    if not asking.redacts:
        return reply
    clean = _encode(mapped(plain, lambda text: asking.redacted("output", text)))
    if clean == reply:
        return reply
    try:
        codec.decode(clean, "reply")
    except (InputMismatch, MalformedBody):
        raise DecisionError(
            "reply",
            got="a reply that is not of its type without what a policy took out",
            promised="the declared reply type",
            mend='let the policy refuse: then="refuse"',
        ) from None
    return clean


def clean_prediction(asking: Asking, prediction: bytes) -> bytes:
    """A prediction as it is recorded, without what policies take out."""
    if not asking.redacts:
        return prediction
    return _encode(mapped(_decode(prediction), lambda text: asking.redacted("output", text)))
