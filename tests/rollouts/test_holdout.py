"""A holdout: a sticky share of the entities gets a rule, beside rollouts and on every way in."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from rollout_house import DECLARED, House

import splice
from splice.app.settings import load
from splice.app.wiring import Stores
from splice.core.call import Record
from splice.core.release import Manifest, PinnedHoldout
from splice.core.rollout import place
from splice.ports.stores import CallFilter

HOLDOUT = 'holdout = splice.Holdout("20 %", route=splice.Rule(before))'
ROLLOUT = 'rollout = splice.Rollout(challenger=splice.Model("orders@2"), share="50 %")'
DECLARES = DECLARED.replace(
    "def scorecard", "def before(context):\n    return 0.125\n\n\ndef scorecard"
)
NAMES = [f"c-{n}" for n in range(300)]


class Project(House):
    """The project of two models, with what a line of the declaration says."""

    def declared(self, line: str) -> str:
        self.declare(DECLARES.replace("ROLLOUT", line))
        return self.ran("release", "apply", "-y")

    def manifest(self) -> Manifest:
        """Of the live release."""
        opened = Stores(load(self.folder))
        try:
            (live,) = opened.releases.live()
            release = opened.releases.release("orders", live.number)
        finally:
            opened.close()
        assert release is not None
        return release.manifest

    def asked(self, names: list[str] = NAMES) -> dict[str, Record]:
        """The newest record of each customer, who calls once, in process."""

        async def ask() -> None:
            async with splice.App(project=self.folder) as app:
                for name in names:
                    await app.call("orders", {"customer": name, "amount": 1.0})

        asyncio.run(ask())
        opened = Stores(load(self.folder))
        try:
            found = opened.records.find(CallFilter(limit=len(names)))
            whole = opened.records.get_many([one.call_id for one in found])
        finally:
            opened.close()
        return {one.entity: one for one in whole.values() if one.entity is not None}


@pytest.fixture
def project(command: Any) -> Project:
    return Project(command)


def held(records: dict[str, Record]) -> set[str]:
    return {name for name, record in records.items() if record.variant == "holdout"}


def test_who_is_held_out_gets_the_rule_and_everybody_else_the_model(project: Project) -> None:
    project.declared(HOLDOUT)
    pinned = project.manifest().holdout

    records = project.asked()

    assert pinned is not None
    assert held(records) == {one for one in NAMES if place(pinned.salt, one) < 2000}
    assert 35 < len(held(records)) < 85
    for record in records.values():
        out = record.variant == "holdout"
        assert record.route == ("rule:before@holdout" if out else "model:orders")
        assert record.variant in ("holdout", "champion")
        assert msgspec.json.decode(record.reply or b"")["risk"] == (0.125 if out else 0.25)
        assert record.cost_nano == 0 or not out


def test_a_rollout_beside_it_keeps_its_share_and_its_callers(project: Project) -> None:
    project.declared(ROLLOUT)
    alone = project.asked()
    project.declared(f"{ROLLOUT}\n    {HOLDOUT}")

    beside = project.asked()

    out = held(beside)
    assert 35 < len(out) < 85
    # Nobody who is not held out has moved, and both variants lose the same share.
    moved = [one for one in NAMES if one not in out and alone[one].variant != beside[one].variant]
    assert moved == []
    challengers = [one for one in NAMES if alone[one].variant == "challenger"]
    assert 0.08 < len(out.intersection(challengers)) / len(challengers) < 0.34


def test_commands_that_start_and_stop_a_rollout_leave_the_holdout_alone(project: Project) -> None:
    project.declared(HOLDOUT)
    before = project.manifest().holdout
    out = held(project.asked())

    project.ran("rollout", "start", "orders", "orders@challenger", "--share", "50 %", "-y")
    during = project.manifest()
    while_it_runs = held(project.asked())
    project.ran("rollout", "stop", "orders", "-y")

    assert during.rollout is not None
    assert during.holdout == before == project.manifest().holdout
    assert while_it_runs == out


def test_whoever_is_held_out_stays_so_while_the_share_grows_and_code_changes(
    project: Project,
) -> None:
    project.declared(HOLDOUT)
    few = held(project.asked())
    project.declare(
        DECLARES.replace("ROLLOUT", HOLDOUT.replace("20 %", "40 %")).replace("> 0.5", "> 0.6")
    )
    project.ran("release", "apply", "-y")

    more = held(project.asked())

    assert few < more


def test_another_season_holds_out_others(project: Project) -> None:
    project.declared(HOLDOUT)
    first = held(project.asked())
    project.declared(HOLDOUT.replace('"20 %"', '"20 %", season="2027"'))

    second = held(project.asked())

    assert len(second - first) > 10


def test_the_last_rule_of_the_routes_is_business_as_usual_where_none_is_named(
    project: Project,
) -> None:
    project.declared('holdout = splice.Holdout("50 %")')

    records = project.asked(NAMES[:40])

    routes = {record.route for record in records.values() if record.variant == "holdout"}
    assert routes == {"rule:scorecard@holdout"}


def test_a_release_says_what_it_changes_of_the_holdout(project: Project) -> None:
    project.declared("")
    project.declare(DECLARES.replace("ROLLOUT", HOLDOUT))

    shown = project.ran("release", "diff")

    assert "holdout: nothing -> before source" in shown
    assert "for 20 %" in shown


def test_a_manifest_without_a_holdout_has_the_digest_that_it_had_before_there_were_any(
    project: Project,
) -> None:
    project.declared("")

    plain = project.manifest()

    assert b"holdout" not in msgspec.json.encode(plain)
    with_one = msgspec.structs.replace(plain, holdout=PinnedHoldout("x", 1, ()))
    assert with_one.digest != plain.digest


def test_a_replay_of_a_held_out_call_asks_the_rule_again(project: Project) -> None:
    project.declared(HOLDOUT)
    records = project.asked(NAMES[:40])
    one = next(record for record in records.values() if record.variant == "holdout")

    said = project.ran("calls", "replay", one.call_id)

    assert "rule:before@holdout" in said or "same" in said


TYPED = '''
import splice


class Order(splice.Request):
    customer: ENTITY
    amount: float


class Screening(splice.Reply):
    risk: float


def scorecard(context):
    return 0.1


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    routes = [ROUTES]
    LINE

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score)
'''
CHAT = '''
import splice


class Chat(splice.Conversation):
    """Answer what customers ask."""

    routes = [splice.LLM("remote/small")]
    holdout = splice.Holdout("5 %")
'''


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("holdout = 0.05", "expected  a splice.Holdout"),
        ('holdout = splice.Holdout("0 %")', "above 0 %, and at most 50 %"),
        ('holdout = splice.Holdout("60 %")', "above 0 %, and at most 50 %"),
        ('holdout = splice.Holdout("many")', "a share such as"),
        ('holdout = splice.Holdout("5 %", route=splice.Model("x"))', "business as usual, no AI"),
        ('holdout = splice.Holdout("5 %", route=scorecard)', "business as usual, no AI"),
        ('holdout = splice.Holdout("5 %", season=2027)', "a short text"),
        ('holdouts = splice.Holdout("5 %")', "holdout, perhaps"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_where_it_stands(command: Any, line: str, said: str) -> None:
    source = TYPED.replace("ENTITY", "splice.Entity").replace("LINE", line)
    command.write("integrations.py", source.replace("ROUTES", "splice.Rule(scorecard)"))

    ran = command("check")

    assert ran.code == 1
    assert said in ran.err
    assert "integrations.py:" in ran.err


def test_a_holdout_wants_an_entity_to_hold_out_and_a_rule_to_answer_it(command: Any) -> None:
    line = 'holdout = splice.Holdout("5 %")'
    nobody = TYPED.replace("ENTITY", "str").replace("LINE", line)
    command.write("integrations.py", nobody.replace("ROUTES", "splice.Rule(scorecard)"))
    without_entity = command("check")
    no_rule = TYPED.replace("ENTITY", "splice.Entity").replace("LINE", line)
    command.write("integrations.py", no_rule.replace("ROUTES", 'splice.Model("m")'))
    without_rule = command("check")
    command.write("integrations.py", CHAT)
    of_a_conversation = command("check")

    assert "one field marked splice.Entity" in without_entity.err
    assert "what answered before there was AI" in without_rule.err
    assert "no rule can answer a conversation" in of_a_conversation.err
