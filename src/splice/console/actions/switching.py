"""The switch of an integration, and the way back to an older release."""

from __future__ import annotations

import time
from collections.abc import Mapping

from splice.console.acting import Form
from splice.console.desk import Visit
from splice.console.room import Page, Room
from splice.control.oversight import name_of
from splice.core.access import Permission
from splice.core.errors import InputMismatch, NotAllowed

_LONGEST = 500


def stop(room: Room, visit: Visit, named: Mapping[str, str], form: Form) -> str | Page:
    """Switch it off: every worker refuses its calls within a second."""
    name = _operated(room, visit, named["name"])
    why = _why(form)
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
        name, int(number), by=name_of(visit.principal), why=_why(form), now_us=_now()
    )
    return f"/integrations/{name}/releases"


def _operated(room: Room, visit: Visit, name: str) -> str:
    """The name of an integration that the visitor may operate."""
    member = room.member(visit, name)
    if not visit.principal.may(Permission.OPERATE, member.name):
        raise NotAllowed(
            member.name, got=f"{name_of(visit.principal)}, who may not operate it",
            promised="the role operator", mend="ask one who has it",
        )  # fmt: skip
    return member.name


def _why(form: Form) -> str:
    why = form.get("why", "").strip()
    if not 0 < len(why) <= _LONGEST:
        raise InputMismatch(
            "why", got=f"{len(why)} characters", promised=f"a reason of 1 to {_LONGEST}",
            mend="say why: who looks at it later must understand it",
        )  # fmt: skip
    return why


def _now() -> int:
    return time.time_ns() // 1000
