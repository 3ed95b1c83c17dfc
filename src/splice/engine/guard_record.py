"""What is recorded of a call that a policy refused: not what such policies refuse."""

from __future__ import annotations

import msgspec

from splice.core.call import Attempt, Gathered, Record
from splice.engine.faults import faults
from splice.engine.guard import Check, Guard
from splice.engine.guard_texts import mapped, strings

WITHHELD = "not kept: what a policy refuses could not be taken out"
"""The note of a refused call whose texts are not kept at all."""


def without_refused(record: Record, guard: Guard) -> Record:
    """The record of a refused call as it may be written.

    Secrets, addresses and whatever else a policy refuses by a rule of masking become the name of
    that rule, in the entity, too. All such policies are asked, for the one that ended the call may
    have been another. Where that fails, the texts are not kept.
    """
    for check in guard.checks:
        # An injection is refused for what it does to a model: it may be read afterwards, and must.
        if check.pinned.then == "refuse" and getattr(check.detector, "masks", False):
            try:
                record = _without(record, check)
            except Exception as error:  # noqa: BLE001 - whatever it raises, what it could not read stays out
                faults.told(check.where, error)
                return _bare(record)
    return record


def _without(record: Record, check: Check) -> Record:
    def text(said: str) -> str:
        clean = check.detector.redact(said)
        if check.detector.find(clean) is not None:
            raise ValueError("something is found in what is left")
        return clean

    def document(raw: bytes | None) -> bytes | None:
        if not raw:
            return raw
        plain = msgspec.json.decode(raw)
        clean = mapped(plain, text, names=True)
        # Policies see all texts at once: what is told only by its neighbour is found so, too.
        if check.detector.find("\n".join(strings(clean))) is not None:
            raise ValueError("something is found in several texts together")
        return raw if clean == plain else msgspec.json.encode(clean)

    def looked(one: Gathered) -> Gathered:
        values = mapped(msgspec.to_builtins(one.values, enc_hook=str), text, names=True)
        return msgspec.structs.replace(one, entity=text(one.entity), values=values)

    def attempt(one: Attempt) -> Attempt:
        return msgspec.structs.replace(one, why=text(one.why)) if one.why else one

    return msgspec.structs.replace(
        record,
        entity=None if record.entity is None else text(record.entity),
        input=document(record.input) or b"",
        context=document(record.context),
        prediction=document(record.prediction),
        reply=document(record.reply),
        gathered=tuple(map(looked, record.gathered)),
        attempts=tuple(map(attempt, record.attempts)),
    )


def _bare(record: Record) -> Record:
    return msgspec.structs.replace(
        record,
        entity=None,
        input=b"",
        context=None,
        prediction=None,
        reply=None,
        gathered=(),
        attempts=tuple(msgspec.structs.replace(one, why="") for one in record.attempts),
        notes=(*record.notes, WITHHELD),
    )
