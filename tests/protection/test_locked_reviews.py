"""What a person writes of an encrypted call is read by who may, and gone with the person's key."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
from protection_house import House

import splice
from splice.app.overseeing import declared_by, oversight_of
from splice.app.rolling import catch_up
from splice.control.oversight import Ruling
from splice.core.access import Grant, Principal, Role
from splice.core.reviews import Review, Verdict
from splice.ports.reviews import ReviewFilter

SECRET = "a rash from the wedding cake"
MORE = ')\n    review = splice.Review(when={"urgency": ">= 0.5"}, four_eyes=True'
RIGHT = msgspec.json.encode({"urgency": 0.1, "advice": f"not urgent: {SECRET}"})


def person(name: str) -> Principal:
    return Principal(name=name, grants=(Grant(Role.APPROVER),))


def test_a_corrected_decision_is_enciphered_agreed_upon_and_erased(tmp_path: Path) -> None:
    house = House(tmp_path / "p", more=MORE)

    async def ask() -> None:
        async with splice.App(project=house.folder) as app:
            visit = {"patient": "p-77", "complaint": "fever", "age": 80}
            await app.call("triages", visit)

    asyncio.run(ask())
    stores = house.stores()
    assert catch_up(stores)
    desk = oversight_of(house.settings, stores, declared_by(stores))
    (review,) = stores.reviews.reviews(ReviewFilter(waits=True))
    ruling = Ruling("override", RIGHT, "a false alarm", f"seen: {SECRET}")

    first = desk.decide(person("ada"), review.id, ruling, time.time_ns() // 1000)
    done = desk.decide(person("bob"), review.id, ruling, time.time_ns() // 1000)

    assert (first.state, done.state) == ("open", "decided")
    assert {(one.reply.encode(), one.note) for one in said(done)} == {(RIGHT, f"seen: {SECRET}")}
    assert stores.reviews.review(review.id) == done
    stores.close()
    assert b"wedding" not in house.everything()
    logged = ("audit", "list", "--action", "review.")
    line = told(house, *logged)
    assert f"review={review.id}, call={review.call_id}, " in line
    assert f"note=seen: {SECRET}" in line

    house.erase("p-77", now_us=time.time_ns() // 1000)

    stores = house.stores()
    gone = stores.reviews.review(review.id)
    assert [(one.reply, one.note) for one in said(gone)] == [("", ""), ("", "")]
    stores.close()
    assert "note=erased" in told(house, *logged)
    shown = told(house, "reviews", "show", review.id)
    assert all(f"{what}: erased, 20" in shown for what in ("asked", "predicted", "decided")), shown
    assert "nothing" not in shown


def told(house: House, *command: str) -> str:
    """What a command prints, without the ends of lines that a table makes."""
    return " ".join(house.project.run(*command).stdout.split())


def said(review: Review | None) -> tuple[Verdict, ...]:
    assert review is not None
    return review.verdicts
