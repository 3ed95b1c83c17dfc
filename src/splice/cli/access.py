"""What `splice check` says of access: what is open, to whom, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from splice.app import wiring
from splice.app.clock import now_us
from splice.app.openness import Open, openness
from splice.app.settings import Settings
from splice.cli.common import DONE, REFUSED, as_json, out, stores, talk


def open_things(settings: Settings, opened: wiring.Stores) -> list[Open]:
    """What is open in a project."""
    keys, people = opened.keys.access().keys, opened.people.people()
    return openness(settings, keys, people, now_us())


def tell_openness(found: Sequence[Open]) -> None:
    """Say after a check what somebody could do who was never let in; `--access` says more."""
    for one in found:
        if one.level != "open":
            continue
        talk.print(_told(one), style="red")


def check_access(*, json: bool) -> int:
    """Say only that; gives the exit code."""
    with stores() as (settings, opened):
        found = open_things(settings, opened)
    if json:
        as_json(found)
    elif not found:
        out.print("Nothing is open.")
    for one in () if json else found:
        out.print(_told(one), style="red" if one.level == "open" else None)
    return REFUSED if any(one.level == "open" for one in found) else DONE


def _told(one: Open) -> str:
    return f"{one.level}: {one.what}: {one.why}\n    do        {one.mend}"
