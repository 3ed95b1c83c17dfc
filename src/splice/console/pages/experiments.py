"""Experiments: rollouts and holdouts as studies, with what they tell and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping

from splice.console.desk import Visit
from splice.console.room import Page, Room


def experiments(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """The page."""
    member = room.member(visit, named["name"])
    studies = room.shelves.studies.studies(member.name)
    wanted = visit.query.get("study", "")
    one = next((each for each in studies if each.key == wanted), studies[0] if studies else None)
    shown = {"member": member, "here": "experiments", "studies": studies[:40], "one": one}
    return Page("experiments.html", f"Experiments of {member.name}", shown)
