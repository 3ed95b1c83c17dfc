"""What becomes of a dead letter: it is tried again, or given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from splice.console.acting import Form, must_operate, why_of
from splice.console.desk import Visit
from splice.console.pages.dead_letters import letter_of
from splice.console.room import Page, Room
from splice.control.oversight import name_of
from splice.core.errors import InputMismatch
from splice.core.events import DeadLetter


def replay(room: Room, visit: Visit, named: Mapping[str, str], form: Form) -> str | Page:
    """Put it back into the stream it came from, as it came."""
    letter = _operated(room, visit, named["number"])
    by = name_of(visit.principal)
    return _done(letter, room.shelves.dead_letters.replay([letter.id], by=by, now_us=visit.now_us))


def drop(room: Room, visit: Visit, named: Mapping[str, str], form: Form) -> str | Page:
    """Give it up: its body is erased, what happened to it is kept."""
    letter = _operated(room, visit, named["number"])
    by, why = name_of(visit.principal), why_of(form)
    done = room.shelves.dead_letters.drop([letter.id], by=by, why=why, now_us=visit.now_us)
    return _done(letter, done)


def _operated(room: Room, visit: Visit, number: str) -> DeadLetter:
    letter = letter_of(room, visit, number)
    must_operate(visit, letter.integration)
    return letter


def _done(letter: DeadLetter, done: Sequence[int]) -> str:
    if letter.id not in done:
        raise InputMismatch(
            f"dead letter {letter.id}", got="one that was replayed or dropped before",
            promised="one that is dead", mend="open it again: it says by whom",
        )  # fmt: skip
    return f"/dead-letters/{letter.id}"
