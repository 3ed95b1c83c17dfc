"""Reviews: the queue of calls that a person must look at, and the page where he decides one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from starlette.exceptions import HTTPException

from splice.console.desk import Visit
from splice.console.pages.calls import summary, summary_of
from splice.console.replying import inputs_of
from splice.console.room import Page, Room
from splice.console.search import id_in
from splice.console.story import fields_of, story_of
from splice.control.oversight import NOBODY, name_of
from splice.core.access import Permission
from splice.core.call import Record
from splice.core.errors import SpliceError
from splice.core.explanations import Similar, route_of
from splice.core.reviews import Review, ReviewState
from splice.ports.reviews import ReviewFilter

_ROWS = 50
_STATES: tuple[ReviewState, ...] = ("escalated", "decided", "expired")


def reviews(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """The queue: what waits, in the order in which it is due; or what ended."""
    query, who = visit.query, visit.principal
    oversight = room.overseer.oversight
    state: ReviewState | None = next((one for one in _STATES if one == query.get("state")), None)
    integration = query.get("integration", "")
    after_id = id_in(query.get("after", ""))
    wanted = ReviewFilter(
        (integration,) if integration else None, state, None if state else True,
        holder=name_of(who) if query.get("mine") else None,
        due_before_us=visit.now_us if query.get("overdue") else None,
        after=oversight.one(who, after_id) if after_id else None, limit=_ROWS,
    )  # fmt: skip
    found = oversight.listed(who, wanted)
    records = room.shelves.records.get_many([one.call_id for one in found])
    rows = [
        {"review": one, "record": _readable(room, visit, records.get(one.call_id)),
         "summary": _summary(room, visit, records.get(one.call_id))}
        for one in found
    ]  # fmt: skip
    seen = oversight.seen(who)
    waiting = [
        one
        for one in room.shelves.reviews.waiting(visit.now_us)
        if seen is None or one.integration in seen
    ]
    names = sorted({one.integration for one in waiting} | {m.name for m in room.members(visit)})
    shown = {
        "rows": rows, "waiting": waiting, "state": state or "", "names": names,
        "integration": integration, "next": found[-1].id if len(found) == _ROWS else "",
        "reviews_any": any(who.may(Permission.REVIEW, one.integration) for one in waiting),
        "none_left": bool(query.get("none")),
    }  # fmt: skip
    return Page("reviews.html", "Reviews", shown)


def review(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """One review, with all that is known of its call."""
    return page(room, visit, named["review_id"])


def page(
    room: Room,
    visit: Visit,
    review_id: str,
    form: Mapping[str, str] | None = None,
    error: SpliceError | None = None,
) -> Page:
    """The page of a review; with what was typed and what is wrong with it, where something is."""
    who = visit.principal
    one = room.overseer.oversight.one(who, id_in(review_id) or review_id)
    record = _readable(room, visit, room.shelves.records.get(one.call_id))
    release = room.shelves.releases.release(one.integration, one.release)
    others = room.shelves.reviews.reviews(ReviewFilter(call_id=one.call_id))
    reply = None if record is None else _json(record.reply)
    schema: dict[str, Any] = {} if release is None else release.manifest.reply_schema
    shown = {
        "review": one, "record": record, "form": form or {}, "error": error,
        "story": None if record is None else story_of(record, _outcomes(room, record), release),
        "inputs": inputs_of(schema, reply, form) if record is not None else [],
        "others": [other for other in others if other.id != one.id],
        "may": _may(one, visit), "me": name_of(who),
        "corrected": [fields_of(said.reply.encode()) for said in one.verdicts],
        "objective": "" if release is None else release.manifest.purpose.partition("\n")[0],
        "why": None if record is None else _why(room, visit, record),
        "reply_known": reply is not None,
    }  # fmt: skip
    return Page("review.html", f"Review of {one.integration}", shown)


def why(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """What the answer rests on, by itself: a page asks again until it is worked out.

    Raises:
        HTTPException: There is no such call, or none that the visitor may read.
    """
    one = room.overseer.oversight.one(visit.principal, named["review_id"])
    record = _readable(room, visit, room.shelves.records.get(one.call_id))
    if record is None:
        raise HTTPException(404)
    return Page("review_why.html", "Why", {"review": one, "why": _why(room, visit, record)})


def _why(room: Room, visit: Visit, record: Record) -> dict[str, Any]:
    explains = room.overseer.explanations
    rests = explains.attributions(record)
    release = room.shelves.releases.release(record.integration, record.release)
    route = route_of(release, record.version)
    return {
        "rests": rests, "told": explains.told(record), "route": route,
        "widest": max((abs(part.adds) for part in rests.parts), default=0) if rests else 0,
        "similar": _calls(room, visit, explains.similar(record)),
        "history": _calls(room, visit, explains.history(record)),
    }  # fmt: skip


def _calls(room: Room, visit: Visit, some: Sequence[Similar]) -> list[dict[str, Any]]:
    return [
        {"similar": one, "record": one.record, "summary": summary(one.record.reply),
         "asked": summary(one.record.input)}
        for one in some
        if room.may_read(visit.principal, one.record.integration, one.record.caller)
    ]  # fmt: skip


def _may(one: Review, visit: Visit) -> dict[str, Any]:
    """What the visitor may do with it, and why he may not."""
    who, name = visit.principal, name_of(visit.principal)
    second = one.terms.four_eyes and any(said.choice != "escalate" for said in one.verdicts)
    approver = one.state == "escalated" or second
    why = ""
    if not one.waits:
        why = f"It is {one.state}."
    elif not who.may(Permission.REVIEW, one.integration):
        why = "You may look at it, and not decide it: that takes the role reviewer."
    elif one.terms.four_eyes and name == NOBODY:
        why = "Two people must say the same, and nobody knows who you are: sign in, or show a key."
    elif one.seen_by(name):
        why = "You have given your verdict: it needs another person's."
    elif approver and not who.may(Permission.APPROVE, one.integration):
        why = "It needs one who may approve: the role approver."
    elif one.holds(name, visit.now_us):
        why = f"{one.holder} is looking at it just now."
    return {
        "decide": not why, "why": why, "approver": approver, "second": second,
        "again": not one.waits and who.may(Permission.REVIEW, one.integration),
        "holds": one.standing(visit.now_us) == "claimed" and not one.holds(name, visit.now_us),
    }  # fmt: skip


def _readable(room: Room, visit: Visit, record: Record | None) -> Record | None:
    if record is None or not room.may_read(visit.principal, record.integration, record.caller):
        return None
    return record


def _summary(room: Room, visit: Visit, record: Record | None) -> str:
    return "" if _readable(room, visit, record) is None else summary_of(cast("Record", record))


def _outcomes(room: Room, record: Record) -> list[Any]:
    return room.shelves.outcomes.outcomes_of(record)


def _json(document: bytes | None) -> Any:
    try:
        return msgspec.json.decode(document) if document else None
    except msgspec.DecodeError:
        return None
