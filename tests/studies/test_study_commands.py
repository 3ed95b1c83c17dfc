"""`splice experiment` and `splice value`, in words and in JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from studies_house import DAY, HOLDOUT, OBJECTIVE, World, manifest, rollout

from splice.adapters.ledgers.sql import open_ledger
from splice.app.clock import now_us


@pytest.fixture
def made(command: Any) -> Iterator[World]:
    """A project whose ledger knows an integration that began 80 days ago."""
    (command.folder / ".splice").mkdir()
    url = f"sqlite:///{command.folder / '.splice' / 'ledger.db'}"
    ledger = open_ledger(url, command.folder / ".splice" / "models")
    rates = {"challenger": 0.02, "champion": 0.1, "holdout": 0.2, "": 0.1}
    yield World(ledger, lambda variant, kind: rates[variant] * 2 * kind)
    ledger.close()


def began() -> int:
    return now_us() - 80 * DAY


def test_an_experiment_is_told_in_words_with_exact_units(made: World, command: Any) -> None:
    start = began()
    made.apply(manifest(), start)
    made.lives(800, 20, began_us=start)

    ran = command("experiment", "fraud")

    assert ran.code == 0, ran.err
    assert "fraud  rollout  releases 1  since" in ran.out
    assert "Better: -" in ran.out
    assert "pp" in ran.out
    assert "A difference is caused by the variant." in ran.out
    assert "Outcomes count 40 d after their call." in ran.out
    assert "Guardrail errors holds: worse by 2 pp at most." in ran.out
    assert "as they should come" in ran.out


def test_an_experiment_is_told_in_json(made: World, command: Any) -> None:
    start = began()
    made.apply(manifest(), start)
    made.lives(300, 20, began_us=start)

    (study,) = command("experiment", "fraud", "--json").json

    assert study["kind"] == "rollout"
    assert study["effects"][0]["interval"]["always"] is True
    assert study["causal"] is True


def test_how_many_units_more_would_tell_is_said_in_plain_words(made: World, command: Any) -> None:
    start = began()
    made.rate = lambda variant, kind: 0.05
    made.apply(manifest(), start)
    made.lives(400, 20, began_us=start)

    ran = command("experiment", "fraud")

    assert "No difference can be told yet; it lies between" in ran.out
    assert "more units would tell the 2 pp that the objective promises." in ran.out


def test_studies_that_ended_are_shown_where_they_are_asked_for(made: World, command: Any) -> None:
    start = began()
    made.apply(manifest(rollout=rollout(2000)), start)
    made.lives(100, 5, began_us=start)
    made.apply(manifest(), start + 6 * DAY)

    running = command("experiment", "fraud")
    every = command("experiment", "fraud", "--all")

    assert running.out.count("fraud  rollout") == 1
    assert every.out.count("fraud  rollout") == 2
    assert "  ended" in every.out or "  settled" in every.out


def test_an_integration_without_an_experiment_is_told_how_to_begin_one(
    made: World, command: Any
) -> None:
    made.apply(manifest(rollout=None), began())

    ran = command("experiment", "fraud")

    assert (ran.code, ran.out) == (0, "")
    assert "splice rollout start fraud" in ran.err
    assert "splice.Holdout" in ran.err
    assert command("experiment", "fraud", "--json").json == []


def test_an_unknown_integration_is_refused_by_both(made: World, command: Any) -> None:
    made.apply(manifest(), began())

    for which in ("experiment", "value"):
        ran = command(which, "nothing")
        assert ran.code != 0
        assert "one of fraud" in ran.err


def test_value_is_told_in_words_and_in_json(made: World, command: Any) -> None:
    start = began()
    made.apply(manifest(rollout=None, holdout=HOLDOUT), start)
    made.lives(1_500, 30, began_us=start)

    ran = command("value", "fraud", "--window", "80 d")
    worth = command("value", "fraud", "--window", "80 d", "--json").json

    assert ran.code == 0, ran.err
    assert "chargeback_rate is" in ran.out
    assert "fraud  against those who are held out  causal" in ran.out
    assert "  Moved EUR " in ran.out
    assert "a return of EUR" in ran.out
    assert "fraud  against the declared baseline  estimate" in ran.out
    assert "Estimated to have moved EUR" in ran.out
    assert worth["value"]["causal"] is True
    assert worth["value"]["cost"] == pytest.approx(made.ledger.records.count("fraud") * 0.001)
    assert worth["beside"]["causal"] is False
    assert worth["standing"]["target"] == OBJECTIVE["target"]


@pytest.mark.parametrize("window", ["soon", "0 s", "-1 d"])
def test_a_window_that_is_none_is_refused(made: World, command: Any, window: str) -> None:
    made.apply(manifest(), began())

    ran = command("value", "fraud", "--window", window)

    assert ran.code != 0
    assert "--window" in ran.err
