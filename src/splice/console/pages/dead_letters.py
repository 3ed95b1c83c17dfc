"""Dead letters: events that could not be answered, why, and what they were."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException

from splice.console.desk import Visit
from splice.console.paging import ROWS, number_of, seen
from splice.console.room import Page, Room
from splice.core.access import Permission
from splice.core.events import DeadLetter
from splice.core.units import plural

_MOST_SHOWN = 65_536

STATES = ("dead", "replayed", "dropped")


def dead_letters(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """Those of a state, newest first, that the visitor may see."""
    integration, state = visit.query.get("integration", "")[:200], visit.query.get("state", "")
    state = state if state in STATES else STATES[0]
    before = number_of(visit.query.get("before", ""))

    def below(number: int | None) -> list[DeadLetter]:
        return room.shelves.dead_letters.dead_letters(
            integration or None, states=(state,), before=number, limit=ROWS + 1
        )

    found = seen(below, lambda one: one.id, lambda one: visit.may_see(one.integration), before)
    shown = {
        "letters": found[:ROWS],
        "more": found[ROWS - 1].id if len(found) > ROWS else None,
        "paged": before is not None,
        "integration": integration,
        "state": state,
        "states": STATES,
    }
    return Page("dead_letters.html", "Dead letters", shown)


def dead_letter(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """One, with its bytes for who may read what callers ask.

    Raises:
        HTTPException: There is none of that number, or none that the visitor may know of.
    """
    letter = letter_of(room, visit, named["number"])
    event = letter.event
    reads = room.may_read(visit.principal, letter.integration, "")
    contents = {"Key": event.key, "Value": event.value} if reads else {}
    shown = {
        "letter": letter,
        "contents": {name: _text(raw) for name, raw in contents.items() if raw is not None},
        "headers": [(name, _text(value)) for name, value in event.headers] if reads else [],
        "operates": visit.principal.may(Permission.OPERATE, letter.integration),
    }
    return Page("dead_letter.html", f"Dead letter {letter.id}", shown)


def letter_of(room: Room, visit: Visit, number: str) -> DeadLetter:
    """A dead letter that the visitor may know of.

    Raises:
        HTTPException: There is none of that number, or none that he may know of.
    """
    found = room.shelves.dead_letters.dead_letter(number_of(number) or 0)
    if found is None or not visit.may_see(found.integration):
        raise HTTPException(404)
    return found


def _text(raw: bytes) -> str:
    """As people can read it, from its beginning."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return f"{plural(len(raw), 'byte')} that are no text, in hexadecimal: {raw[:1024].hex(' ')}"
    if len(text) > _MOST_SHOWN:
        return f"{text[:_MOST_SHOWN]}\n… {plural(len(text) - _MOST_SHOWN, 'character')} more"
    return text
