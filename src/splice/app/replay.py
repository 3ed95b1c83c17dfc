"""Replay: a recorded input through its release, or another, with the look-ups it made then."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec

from splice.app.watch import Watcher
from splice.app.wiring import Services
from splice.core.call import Call, Record
from splice.core.erasure import why_gone
from splice.core.errors import UnknownCall, UnknownRelease
from splice.core.rollout import SHADOW
from splice.engine.admit import entity_of
from splice.engine.engine import Answered
from splice.engine.gather import Look
from splice.engine.line import Arm, Picked
from splice.serve.asked import ASKED


class Difference(msgspec.Struct, frozen=True):
    """One thing that came out otherwise."""

    what: str
    recorded: str
    replayed: str


async def replay(
    services: Services, watcher: Watcher, record: Record, number: int | None = None
) -> Answered:
    """What the recorded input gives now by a release; nothing is recorded.

    Raises:
        UnknownRelease: The integration has no such release.
        UnknownCall: What was asked is not there any more, or cannot be read here.
        RequestError: That release does not take the recorded input.
    """
    gone = why_gone(record.notes)
    if gone and not record.input:
        raise UnknownCall(record.call_id, got=f"a call whose texts are {gone}")
    wanted = record.release if number is None else number
    line = await asyncio.to_thread(watcher.line_of, record.integration, wanted)
    if line is None:
        raise UnknownRelease(
            record.integration,
            got=f"no release {wanted}",
            mend=f"splice release list {record.integration}",
        )
    if line.declaration.options.conversation and record.surface in ASKED:
        call = Call(record.call_id, line.name, record.input, record.asked_us, "replay")
        asked = ASKED[record.surface](record.input)
        again = await services.engine.answer_again(line, call, asked, record.variant)
        return Answered(again)
    request = line.request.decode(record.input, line.where)
    look = Look(record.asked_us, services.features, record.gathered)
    call = Call(
        id=record.call_id,
        integration=record.integration,
        body=record.input,
        asked_us=record.asked_us,
        surface="replay",
    )
    picked = None if line.split is None else Picked(line.split.named(record.variant))
    if record.shadow_of and line.shadow is not None:
        picked = Picked(Arm(SHADOW, line.shadow.steps))
    entity = entity_of(line, request)
    return await services.engine.run(line, call, request, look, entity, picked)


def differences(recorded: Record, replayed: Record) -> list[Difference]:
    """What came out otherwise, reply first; times and costs are not compared."""
    pairs: list[tuple[str, Any, Any]] = [
        *_json_pairs("reply", recorded.reply, replayed.reply),
        ("status", recorded.status, replayed.status),
        ("route", recorded.route, replayed.route),
        ("version", recorded.version, replayed.version),
        *_json_pairs("prediction", recorded.prediction, replayed.prediction, skip=("cost_nano",)),
        *_json_pairs("context", recorded.context, replayed.context),
    ]
    return [Difference(name, _shown(a), _shown(b)) for name, a, b in pairs if a != b]


def _json_pairs(
    what: str, a: bytes | None, b: bytes | None, skip: tuple[str, ...] = ()
) -> list[tuple[str, Any, Any]]:
    left: Any = msgspec.json.decode(a) if a else None
    right: Any = msgspec.json.decode(b) if b else None
    if not (isinstance(left, dict) and isinstance(right, dict)):
        return [(what, left, right)]
    old, new = cast("dict[str, Any]", left), cast("dict[str, Any]", right)
    names = [n for n in dict.fromkeys([*old, *new]) if n not in skip]
    return [(f"{what}.{n}", old.get(n), new.get(n)) for n in names]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
