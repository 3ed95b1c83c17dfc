"""The guard of typed calls: before the routes are tried, and before the reply goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splice.core.call import Prediction
from splice.core.chat import Asked, Dialect
from splice.core.errors import DecisionError, InputMismatch, MalformedBody
from splice.core.untrusted import holds_untrusted
from splice.engine import guard_chat
from splice.engine.gather import recorded
from splice.engine.guard import Asking
from splice.engine.guard_texts import mapped, strings, untrusted
from splice.engine.routing.prompted import output_plain
from splice.engine.run import Run

_decode = msgspec.json.decode
_encode = msgspec.json.Encoder(enc_hook=str).encode


async def let_in(run: Run, asking: Asking, context: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the routes may see: the context, or the same with things taken out.

    Raises:
        RefusedError: A policy says no, or cannot be asked.
    """
    if run.line.declaration.options.conversation:  # asked in the native shape
        fields = {name: value for name, value in context.items() if value is not None}
        asked = await guard_chat.let_in(asking, Asked(Dialect.CHAT, "", False, fields, 0))
        clean: Mapping[str, Any] = asked.fields
        if clean is fields:
            return context
        clean = {
            name: _decode(value) if isinstance(value, msgspec.Raw) else value
            for name, value in clean.items()
        }
    else:
        clean = await _let_in(run, asking, context)
    if clean is not context:
        run.context = recorded(run.line, clean)
    return clean


async def _let_in(run: Run, asking: Asking, context: Mapping[str, Any]) -> Mapping[str, Any]:
    asking.untrusted = bool(run.gathered) or holds_untrusted(dict(context))
    texts = list(strings(_decode(run.call.body))) if asking.guard.at("input") else []
    redacts = await asking.look("input", texts)
    outside = list[str]()
    if asking.guard.at("context"):
        outside = untrusted(context)
        for one in run.gathered:
            outside += strings(msgspec.to_builtins(one.values, enc_hook=str))
    redacts = await asking.look("context", outside) or redacts
    if not redacts:
        return context

    def change(text: str) -> str:
        return asking.redacted("context", asking.redacted("input", text))

    # What came of types of the user's own becomes plain: only so can it be looked into.
    plain: Any = msgspec.to_builtins(dict(context), enc_hook=str)
    return asking.surely("input", lambda: mapped(plain, change))


async def let_through(run: Run, asking: Asking, prediction: Prediction) -> set[str]:
    """The texts of what a model said, once no policy objects to them.

    Raises:
        RefusedError: A policy says no, or cannot be asked.
    """
    value = prediction.value
    if run.line.declaration.options.conversation:
        await guard_chat.said_by_model(asking, output_plain(value))
        return set()
    texts = list[str]()
    if asking.guard.at("output") and value is not None and not isinstance(value, (int, float)):
        texts = [value] if isinstance(value, str) else list(strings(output_plain(value)))
    await asking.look("output", texts)
    return set(texts)


async def let_out(run: Run, asking: Asking, reply: bytes, seen: set[str]) -> bytes:
    """The reply as it may go out; `seen` are texts that were looked at already.

    Raises:
        RefusedError: A policy says no, or cannot be asked.
        DecisionError: With what was taken out it is none of the declared type any more.
    """
    if not asking.guard.at("output"):
        return reply
    plain = _decode(reply)
    if not run.line.declaration.options.conversation:
        await asking.look("output", [one for one in strings(plain) if one not in seen])
    if not asking.redacts:
        return reply

    def change(text: str) -> str:
        return asking.redacted("output", text)

    if run.prediction is not None:
        said: Any = _decode(run.prediction)
        run.prediction = asking.surely("output", lambda: _encode(mapped(said, change)))
    clean = asking.surely("output", lambda: _encode(mapped(plain, change)))
    try:
        run.line.reply.decode(clean, "reply")
    except (InputMismatch, MalformedBody):
        raise DecisionError(
            f"{run.line.name}.reply",
            got="a reply that is not of its type without what a policy took out",
            promised="the declared reply type",
            mend='let the policy refuse: then="refuse"',
        ) from None
    return clean
