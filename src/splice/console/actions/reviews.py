"""What a reviewer does: takes a call, says whether its decision stands, has it looked at again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from splice.console.acting import Form
from splice.console.desk import Visit
from splice.console.pages import reviews
from splice.console.replying import reply_of
from splice.console.room import Page, Room
from splice.control.oversight import Ruling, name_of
from splice.core.access import Permission
from splice.core.errors import InputMismatch, NotAllowed, Overtaken
from splice.core.reviews import CHOICES
from splice.ports.reviews import ReviewFilter

_LOOKED_AT = 200


def act(room: Room, visit: Visit, named: Mapping[str, str], form: Form) -> str | Page:
    """Whatever the button of the page says; a mistake shows the page again, with what was typed."""
    review_id, now_us = named["review_id"], time.time_ns() // 1000
    oversight, who = room.overseer.oversight, visit.principal
    here = f"/reviews/{review_id}"
    wanted = form.get("do", "")
    try:
        if wanted == "take":
            oversight.claim(who, review_id, now_us)
        elif wanted == "let go":
            oversight.let_go(who, review_id)
            return "/reviews"
        elif wanted == "again":
            new = oversight.again(who, review_id, form.get("why", ""), now_us)
            return f"/reviews/{new.id}"
        else:
            oversight.decide(who, review_id, _ruling(room, visit, review_id, form), now_us)
    except (InputMismatch, NotAllowed, Overtaken) as error:
        return reviews.page(room, visit, review_id, form, error)
    return here


def take_next(room: Room, visit: Visit, named: Mapping[str, str], form: Form) -> str | Page:
    """Take the first that is due of those that he may decide."""
    now_us = time.time_ns() // 1000
    oversight, who = room.overseer.oversight, visit.principal
    name = form.get("integration", "")
    wanted = ReviewFilter((name,) if name else None, waits=True, limit=_LOOKED_AT)
    for one in oversight.listed(who, wanted):
        if one.holds(name_of(who), now_us) or one.seen_by(name_of(who)):
            continue
        second = one.terms.four_eyes and bool(one.verdicts)
        needs = Permission.APPROVE if one.state == "escalated" or second else Permission.REVIEW
        if not who.may(needs, one.integration):
            continue
        try:
            oversight.claim(who, one.id, now_us)
        except Overtaken:  # another took it just now
            continue
        return f"/reviews/{one.id}"
    return "/reviews?none=1"


def _ruling(room: Room, visit: Visit, review_id: str, form: Form) -> Ruling:
    choice = form.get("do", "")
    if choice not in CHOICES:
        raise InputMismatch(
            "review.choice", got="nothing" if not choice else repr(choice[:40]),
            promised="one of them", mend="choose what is to be done",
        )  # fmt: skip
    reply = b""
    if choice == "override":
        review = room.overseer.oversight.one(visit.principal, review_id)
        release = room.shelves.releases.release(review.integration, review.release)
        schema: dict[str, Any] = {} if release is None else release.manifest.reply_schema
        reply = msgspec.json.encode(reply_of(schema, form, f"{review.integration}.reply"))
    reason = form.get("why" if choice == "escalate" else "reason", "")
    return Ruling(choice, reply, reason, form.get("note", ""))
