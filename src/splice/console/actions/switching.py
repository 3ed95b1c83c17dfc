"""The switch of an integration, and the way back to an older release."""

from __future__ import annotations

import time
from collections.abc import Mapping

from splice.console.acting import Form, must_operate, why_of
from splice.console.desk import Visit
from splice.console.room import Page, Room
from splice.control.oversight import name_of
from splice.core.errors import InputMismatch


def stop(room: Room, visit: Visit, named: Mapping[str, str], form: Form) -> str | Page:
    """Switch it off: every worker refuses its calls within a second."""
    name = _operated(room, visit, named["name"])
    why = why_of(form)
    room.shelves.releases.set_stopped(name, why, by=name_of(visit.principal), now_us=_now())
    return f"/integrations/{name}"


def start(room: Room, visit: Visit, named: Mapping[str, str], form: Form) -> str | Page:
    """Switch it on again."""
    name = _operated(room, visit, named["name"])
    room.shelves.releases.set_stopped(name, "", by=name_of(visit.principal), now_us=_now())
    return f"/integrations/{name}"


def roll_back(room: Room, visit: Visit, named: Mapping[str, str], form: Form) -> str | Page:
    """An older release answers from now on."""
    name = _operated(room, visit, named["name"])
    number = form.get("to", "")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise InputMismatch("release", got=repr(number[:20]), promised="the number of a release")
    room.control.rollback(
        name, int(number), by=name_of(visit.principal), why=why_of(form), now_us=_now()
    )
    return f"/integrations/{name}/releases"


def _operated(room: Room, visit: Visit, name: str) -> str:
    """The name of an integration that the visitor may operate."""
    member = room.member(visit, name)
    must_operate(visit, member.name)
    return member.name


def _now() -> int:
    return time.time_ns() // 1000
