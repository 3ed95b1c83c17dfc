"""Monitors are read with every mistake named, and a declaration without them stays the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

import splice
from splice.core.monitors import PinnedMonitor
from splice.core.release import Manifest, PinnedRoute
from splice.declare.monitor_reading import read_monitors

Monitor = splice.Monitor
ROUTE = PinnedRoute("rule:score", "rule", 0, 1.0, "score source 1", function="score")
BARE = Manifest("credit", "m:C", "c" * 64, "Score.", "limited", 1.0, (ROUTE,), {}, {})


def read(*monitors: Any, retrains: bool = True) -> tuple[PinnedMonitor, ...]:
    def wrong(*mistake: str) -> None:
        raise AssertionError(mistake)

    return read_monitors(list(monitors), retrains=retrains, wrong=wrong).monitors


def mistakes(*monitors: Any, given: Any = None, retrains: bool = False) -> list[str]:
    noted: list[tuple[str, str, str, str]] = []
    read_monitors(
        list(monitors) if given is None else given, retrains=retrains,
        wrong=lambda *one: noted.append(one),
    )  # fmt: skip
    assert all(field == "monitors" and promised and mend for field, _, promised, mend in noted)
    return [got for _, got, _, _ in noted]


def test_a_declaration_without_monitors_keeps_its_digest() -> None:
    # By Splice as it was before there were monitors: what is live must not look like a change.
    before = "2061f61a73c7995e55f9e6f320583cd73ca756389075b17d74f3ce8c3fc2ca67"

    assert BARE.digest == before


def test_a_pinned_monitor_keeps_its_digest_through_a_database() -> None:
    monitors = read(
        Monitor(drift="psi", above=0.25, columns=["age"], against="7 d"),
        Monitor(latency="p99", above="80 ms", for_=0, cooldown="1 h"),
        Monitor(traffic="calls", below=1),
    )  # fmt: skip
    pinned = msgspec.structs.replace(BARE, monitors=monitors)

    again = msgspec.json.decode(msgspec.json.encode(pinned), type=Manifest)

    assert again == pinned
    assert again.digest == pinned.digest != BARE.digest


def test_bounds_are_in_base_units() -> None:
    found = read(
        Monitor(drift="psi", above=0.25),
        Monitor(latency="p99", above="80 ms"),
        Monitor(share="errors", above="2 %"),
        Monitor(cost="call", above="EUR 0.002"),
        Monitor(cost="day", above="EUR 50"),
        Monitor(accuracy="auc", below=0.7),
        Monitor(outcome="defaulted", above="12 %"),
        Monitor(traffic="calls", below=1),
        Monitor(latency="p50", above="150 %", against="7 d"),
    )

    assert [one.bound for one in found] == [0.25, 0.08, 0.02, 0.002, 50, 0.7, 0.12, 1, 1.5]
    assert [one.clear for one in found] == [
        0.225, 0.072, 0.018, 0.0018, 45, 0.73, 0.108, 1, 1.35,
    ]  # fmt: skip
    assert found[-1].against_s == 7 * 86_400
    assert found[4].window_s == 86_400


def test_the_clear_value_of_a_share_can_be_reached() -> None:
    (found,) = read(Monitor(accuracy="auc", below=0.95))

    assert found.clear == pytest.approx(0.955)


@pytest.mark.parametrize(
    ("then", "pinned"),
    [
        ("alert", ("alert",)),
        ("roll back", ("alert", "roll back")),
        (splice.retrain(), ("alert", "retrain")),
        (["review", "roll back", splice.retrain()], ("alert", "roll back", "review", "retrain")),
    ],
)
def test_every_firing_is_an_alert_whatever_else_is_done(
    then: Sequence[str], pinned: tuple[str, ...]
) -> None:
    (found,) = read(Monitor(share="errors", above=0.02, then=then))

    assert found.then == pinned


def test_names_tell_monitors_apart() -> None:
    found = read(
        Monitor(drift="psi", above=0.25, columns=["age", "income"]),
        Monitor(drift="psi", above=0.25, segment="country=DE"),
        Monitor(drift="psi", above=0.25, against="7 d"),
        Monitor(drift="psi", above=0.25),
        Monitor(drift="psi", above=0.1, name="early warning", severity="info"),
    )

    assert [one.name for one in found] == [
        "drift psi of age, income", "drift psi where country=DE", "drift psi against 7 d",
        "drift psi", "early warning",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("monitor", "got"),
    [
        (Monitor(), "nothing that is watched"),
        (Monitor(drift="psi", latency="p99", above=1), "drift and latency"),
        (Monitor(drift="psy", above=1), "drift='psy'"),
        (Monitor(accuracy="aux", below=1), "accuracy='aux'"),
        (Monitor(latency="p99"), "latency with no bound"),
        (Monitor(latency="p99", above=1, below=2), "latency with above and below"),
        (Monitor(latency="p99", above="soon"), "above 'soon'"),
        (Monitor(latency="p99", above=-1), "above=-1"),
        (Monitor(latency="p99", above=float("nan")), "above=nan"),
        (Monitor(share="errors", above=2), "above=2"),
        (Monitor(share="errors", above=True), "above=True"),
        (Monitor(cost="day", above="50 EUR"), "above '50 EUR'"),
        (Monitor(share="errors", above=0.1, clear=0.2), "clear=0.2"),
        (Monitor(share="errors", above=0.1, window="1 s"), "window='1 s'"),
        (Monitor(share="errors", above=0.1, every="1 s"), "every='1 s'"),
        (Monitor(share="errors", above=0.1, for_="-1 s"), "for_ '-1 s'"),
        (Monitor(share="errors", above=0.1, least=-1), "least=-1"),
        (Monitor(share="errors", above=0.1, severity="bad"), "severity='bad'"),
        (Monitor(share="errors", above=0.1, columns=["age"]), "columns of share"),
        (Monitor(drift="psi", above=0.1, columns=[3]), "columns=[3]"),  # type: ignore[list-item]
        (Monitor(drift="psi", above=0.1, segment="DE"), "segment='DE'"),
        (Monitor(share="errors", above=0.1, segment="country=DE"), "segment of share"),
        (Monitor(share="errors", above=0.1, name="a\nb"), "name='a\\nb'"),
        (Monitor(share="errors", above=0.1, name="x" * 81), f"name='{'x' * 79}"),
        (Monitor(share="errors", above=0.1, then="explode"), "then='explode'"),
        (Monitor(share="errors", above=0.1, then=3), "then=3"),  # type: ignore[arg-type]
        (
            Monitor(share="errors", above=0.1, then=splice.retrain()),
            'then="retrain", and no retrain()',
        ),
        (7, "int"),
    ],
)
def test_a_mistake_is_named(monitor: Any, got: str) -> None:
    assert mistakes(monitor) == [got]


def test_two_of_one_name_and_what_is_no_list_are_named() -> None:
    twice = Monitor(share="errors", above=0.1)

    assert mistakes(twice, twice) == ["two named 'share errors'"]
    assert mistakes(given={"a": 1}) == ["dict"]
    assert mistakes(*[Monitor(share="errors", above=0.1, name=str(n)) for n in range(101)]) == [
        "101 monitors"
    ]


def test_one_monitor_needs_no_list() -> None:
    assert mistakes(given=Monitor(share="errors", above=0.1)) == []
