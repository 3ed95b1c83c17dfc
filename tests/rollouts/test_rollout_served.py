"""A challenger gets its share of the calls of a real server, and only that."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from rollout_house import House, ask, followed, live_release, model, until, versions

CUSTOMERS = [f"c-{n}" for n in range(400)]


@pytest.fixture
def house(command) -> House:
    return House(command)


def test_a_share_is_kept_by_entity_and_grows_without_moving_anybody(house: House) -> None:
    with house.serve(workers=2) as server:
        assert set(versions(server, CUSTOMERS[:20]).values()) == {"orders@1"}

        house.ran("rollout", "start", "orders", "orders@2", "--share", "30 %", "-y")
        followed(server, 2, workers=2)
        first, again = versions(server, CUSTOMERS), versions(server, CUSTOMERS)
        house.ran("rollout", "set", "orders", "--share", "60 %", "-y")
        followed(server, 3, workers=2)
        more = versions(server, CUSTOMERS)
        said = house.ran("rollout", "stop", "orders", "-y", "--why", "enough seen")
        followed(server, 1, workers=2)
        after = versions(server, CUSTOMERS)

    chosen = {name for name, version in first.items() if version == "orders@2"}
    assert again == first
    assert 0.2 < len(chosen) / len(CUSTOMERS) < 0.4
    grown = {name for name, version in more.items() if version == "orders@2"}
    assert chosen < grown
    assert 0.5 < len(grown) / len(CUSTOMERS) < 0.7
    assert set(after.values()) == {"orders@1"}
    assert "Release 1 of orders is live (was 3)." in said


def test_a_record_names_its_variant_and_is_replayed_by_it(house: House) -> None:
    with house.serve() as server, closing(server.connection()) as one:
        house.ran("rollout", "start", "orders", "orders@challenger", "--share", "50 %", "-y")
        until(lambda: live_release(server) == 2, "the rollout is live")
        answers = [ask(one, name) for name in CUSTOMERS[:40]]
        house.ran("rollout", "stop", "orders", "-y")
        server.stop()

    firsts = {answer["version"]: answer for answer in answers}
    for answer in firsts.values():
        shown = json.loads(house.ran("calls", "show", answer["call_id"]))
        variant = {"orders@1": "champion", "orders@2": "challenger"}[answer["version"]]
        assert shown["variant"] == variant
        replayed = house.ran("calls", "replay", answer["call_id"])
        assert "the same" in replayed.lower()
    assert set(firsts) == {"orders@1", "orders@2"}


def test_a_challenger_that_fails_costs_no_caller_his_answer_and_is_taken_away(
    house: House,
) -> None:
    house.add(model(float("nan")))
    with house.serve(workers=2) as server, closing(server.connection()) as one:
        house.ran(
            "rollout", "start", "orders", "orders@3", "--share", "50 %",
            "--guard", "errors<=0.05", "-y", "--why", "try it",
        )  # fmt: skip
        until(lambda: live_release(server) == 2, "the rollout is live")
        asked = 0
        while "rollout ended" not in server.log and asked < 20_000:
            assert ask(one, f"c-{asked}")["reply"]["risk"] == 0.25
            asked += 1
        assert "rollout ended, release 1 answers: guard broken: errors" in server.log
    events = json.loads(house.ran("audit", "list", "--subject", "orders", "--json"))
    assert [one["action"] for one in events][-2:] == ["rollout.start", "rollout.abort"]
    assert "errors" in events[-1]["why"]
    assert events[-1]["by"] == "splice steward"


def test_a_canary_climbs_by_itself_and_stands_at_its_last_step(command) -> None:
    house = House(
        command,
        'rollout = splice.Rollout(challenger=splice.Model("orders@challenger"), '
        'steps=("10 %", "50 %", "100 %"), every="1 s", min_calls=5, '
        'guards=[splice.Guard(figure="failures", at_most=0.1), '
        'splice.Guard(figure="latency_p95", at_most="5 s")])',
    )
    with house.serve() as server, closing(server.connection()) as one:
        asked = 0
        while live_release(server) < 3 and asked < 200_000:
            ask(one, f"c-{asked}")
            asked += 1
        assert live_release(server) == 3
        assert set(versions(server, CUSTOMERS[:50]).values()) == {"orders@2"}
        until(lambda: "stands at 100 %" in server.log or not ask(one, "c"), "it says so")
        status = json.loads(house.ran("rollout", "status", "--json"))
        shown = house.ran("rollout", "status")

    assert status[0]["share"] == 1.0
    assert [each["state"] for each in status[0]["guards"]] == ["holds", "holds"]
    assert "orders@2 for 100 % (step 3 of 3: 10 %, 50 %, 100 %)" in shown


def test_a_shadow_repeats_calls_and_nobody_gets_its_answer(house: House) -> None:
    with house.serve() as server, closing(server.connection()) as one:
        house.ran("rollout", "shadow", "orders", "orders@2")
        until(lambda: live_release(server) == 2, "the shadow is live")
        # In halves: on a busy machine fifty at once are more than may run, and some are left out.
        answers = [ask(one, name) for name in CUSTOMERS[:25]]
        ended = b'splice_shadows_total{integration="orders",ended="answered"} 25'
        until(lambda: ended in server.get("/metrics").body, "the first half is recorded")
        answers += [ask(one, name) for name in CUSTOMERS[25:50]]
        server.stop()

    calls = json.loads(house.ran("calls", "list", "--limit", "200", "--json"))
    shadows = [call for call in calls if call["surface"] == "shadow"]
    assert {answer["reply"]["risk"] for answer in answers} == {0.25}
    assert len(shadows) == 50
    shown = json.loads(house.ran("calls", "show", shadows[0]["call_id"]))
    assert shown["reply"] == {"risk": 0.75, "action": "review"}
    assert shown["variant"] == "shadow"
    assert shown["shadow_of"] in {answer["call_id"] for answer in answers}
    assert shown["version"] == "orders@2"


def test_a_second_rollout_waits_for_the_first(house: House) -> None:
    house.ran("release", "apply", "-y")
    house.ran("rollout", "start", "orders", "orders@2", "--share", "10 %", "-y")

    again = house.refused("rollout", "start", "orders", "orders@2", "--share", "20 %", "-y")
    house.ran("rollout", "stop", "orders", "-y")
    champion = house.refused("rollout", "start", "orders", "orders@1", "--share", "20 %", "-y")
    shareless = house.refused("rollout", "start", "orders", "orders@2", "-y")
    strange = house.refused("rollout", "start", "orders", "orders@9", "--share", "1 %", "-y")
    fine = house.refused("rollout", "start", "orders", "orders@2", "--share", "0.001 %", "-y")

    assert "a rollout of orders@2, which is running" in again
    assert "which is the champion" in champion
    assert "no share" in shareless
    assert "no such version" in strange
    assert "in steps of 0.01 %" in fine
