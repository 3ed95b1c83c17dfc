"""The guard of conversations: what a caller and his tools say, and what a model answers."""

from __future__ import annotations

from typing import Any

import msgspec

from splice.core.chat import Asked, WireReply
from splice.core.policies import Station
from splice.engine.guard import Asking
from splice.engine.guard_texts import (
    answered_texts,
    changed,
    changed_answer,
    heard,
    without_tools,
)
from splice.engine.guard_tools import called_names

_SAID: tuple[Station, ...] = ("input", "context", "results")


async def let_in(asking: Asking, asked: Asked) -> Asked:
    """The request as it may go to a model: as it came, or with words or tools taken out.

    Raises:
        RefusedError: A policy says no, or cannot be asked.
    """
    said = heard(asked)
    asking.untrusted = said.untrusted
    for at in _SAID:
        await asking.look(at, said.texts[at])
    if asking.guard.tools:
        asking.tools(said.tools, ())
    if said.untrusted:
        asked = _narrowed(asking, asked)
    if not asking.redacts:
        return asked

    def change(text: str) -> str:
        for at in _SAID:
            text = asking.redacted(at, text)
        return text

    return changed(asked, change)


def _narrowed(asking: Asking, asked: Asked) -> Asked:
    for one in asking.guard.tools:
        if one.narrows:
            asked, gone = without_tools(asked, lambda name, one=one: one.left(name, untrusted=True))
            if gone:
                asking.withheld(one.pinned.name, one.pinned.version, gone)
    return asked


async def let_out(asking: Asking, reply: WireReply) -> WireReply:
    """The answer as it may go to the caller.

    Raises:
        RefusedError: A policy says no, or cannot be asked.
    """
    guard = asking.guard
    if not guard.at("output") and not guard.tools:
        return reply
    plain: Any = msgspec.json.decode(reply.body)
    await said_by_model(asking, plain)
    if not asking.redacts:
        return reply
    body = changed_answer(reply.body, lambda text: asking.redacted("output", text))
    return msgspec.structs.replace(reply, body=body)


async def said_by_model(asking: Asking, answer: Any) -> None:
    """Asks about an answer in any dialect, as plain values: its texts, and the tools it calls.

    Raises:
        RefusedError: A policy says no, or cannot be asked.
    """
    if asking.guard.tools:
        names = list(called_names(answer))
        if names:
            asking.tools((), names)
    await asking.look("output", answered_texts(answer))
