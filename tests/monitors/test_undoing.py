"""A monitor rolls back once for a firing, onto a release that may answer, and never in circles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from monitor_house import HOUR_US, NOW_US, House, manifest, monitor

from splice.control.rollouts import Rollouts
from splice.control.undoing import Undoing
from splice.core.alerts import MONITOR, Deed
from splice.core.errors import RefusedError
from splice.core.release import PinnedRollout, Variant
from splice.ports.stores import LiveChange

BACK = monitor(then=("alert", "roll back"))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """A house on each database."""
    if request.param == "sqlite":
        made = request.getfixturevalue("house")
        watching(made)
        yield made
        return
    made = House(tmp_path, request.getfixturevalue("postgres_database"))
    watching(made)
    yield made
    made.close()


@pytest.fixture
def acting(house: House) -> House:
    return watching(house)


def watching(house: House) -> House:
    """A house whose monitors roll back."""
    house.deeds = {"roll back": undoing(house).roll_back}
    return house


def undoing(house: House) -> Undoing:
    ledger = house.ledger
    rollouts = Rollouts(ledger.releases, ledger.models)
    return Undoing(rollouts, ledger.models, ledger.alerts, ledger.audit)


def live(house: House) -> int:
    return house.ledger.releases.live()[0].number


def said(house: House) -> list[str]:
    return [f"{deed.state}: {deed.detail}" for one in house.alerts() for deed in one.deeds]


def test_a_firing_rolls_back_once_and_the_audit_log_says_why(either: House) -> None:
    either.apply(BACK, bundle="a")
    either.apply(BACK, bundle="b")

    either.after(1, 0.01, 0.05, 0.05, 0.05)

    event = either.ledger.audit.events()[-1]
    first = either.alerts()[0]
    assert live(either) == 1
    assert first.deeds[0].detail == "release 1 answers instead of 2"
    assert (event.action, event.by, event.subject) == ("monitor.rollback", MONITOR, "credit")
    assert event.why.startswith("share errors: share of calls that failed is 5 %, above 2 %")
    assert event.details == {
        "release": 1, "before": 2, "alert": first.id, "monitor": "share errors",
    }  # fmt: skip


def test_the_same_reason_does_not_roll_back_through_all_releases(acting: House) -> None:
    for bundle in "abcd":
        acting.apply(BACK, bundle=bundle)

    acting.after(1, *[0.05] * 30)

    assert live(acting) == 3
    assert said(acting)[0] == "done: release 3 answers instead of 4"
    assert "a rollback for the same reason" in said(acting)[1]
    assert len(said(acting)) == 2


def test_it_never_rolls_back_onto_what_was_rolled_back_for_the_same_reason(acting: House) -> None:
    acting.apply(BACK, bundle="a")
    acting.apply(BACK, bundle="b")
    acting.after(1, 0.05)
    acting.apply(BACK, bundle="c")

    acting.now += 25 * HOUR_US
    acting.after(1, 0.05)

    assert live(acting) == 1
    assert said(acting) == [
        "done: release 1 answers instead of 2", "done: release 1 answers instead of 3",
    ]  # fmt: skip


def test_where_every_older_release_was_bad_it_says_so(acting: House) -> None:
    acting.apply(BACK, bundle="a")
    acting.apply(BACK, bundle="b")
    acting.after(1, 0.05)
    acting.now += 25 * HOUR_US
    acting.after(1, 0.05)

    assert live(acting) == 1
    assert said(acting)[1].startswith("refused: got no release to roll back to")


def test_another_reason_may_roll_back_the_same_day(acting: House) -> None:
    other = monitor("latency", then=("alert", "roll back"))
    for bundle in "abc":
        acting.apply(BACK, other, bundle=bundle)
    acting.values = {"latency": 0.001}
    acting.after(1, 0.05)

    acting.values = {"latency": 0.05}
    acting.after(1, 0.001)

    assert live(acting) == 1


def test_a_rollout_ends_before_a_release_is_left(acting: House) -> None:
    first = manifest(BACK, bundle="a")
    releases = acting.ledger.releases
    releases.add_release(manifest(BACK, bundle="z"), by="ada", why="", now_us=NOW_US)
    releases.add_release(first, by="ada", why="", now_us=NOW_US)
    challenger = Variant("challenger", 5000, first.routes)
    canary = msgspec.structs.replace(first, rollout=PinnedRollout("salt", (challenger,)))
    releases.add_release(canary, by="ada", why="", now_us=NOW_US)

    acting.after(1, 0.05)

    assert live(acting) == 2
    assert said(acting) == ["done: the rollout ended; release 2 answers"]
    assert acting.ledger.audit.events()[-1].by == MONITOR


def test_a_release_in_mid_rollout_or_with_a_withdrawn_version_is_passed_over(
    acting: House,
) -> None:
    releases = acting.ledger.releases
    acting.apply(BACK, bundle="a")
    plain = manifest(BACK, bundle="b")
    challenger = Variant("challenger", 5000, plain.routes)
    canary = msgspec.structs.replace(plain, rollout=PinnedRollout("salt", (challenger,)))
    releases.add_release(canary, by="ada", why="", now_us=NOW_US)
    withdrawn = msgspec.structs.replace(plain.routes[0], sha256="f" * 64)
    bad = msgspec.structs.replace(plain, routes=(withdrawn,))
    releases.add_release(bad, by="ada", why="", now_us=NOW_US)
    acting.apply(BACK, bundle="d")
    acting.ledger.models.withdrawn = lambda: {"f" * 64: "it is biased"}  # type: ignore[method-assign]

    acting.after(1, 0.05)

    assert live(acting) == 1


def test_one_that_was_killed_after_it_rolled_back_does_not_do_it_again(acting: House) -> None:
    acting.apply(BACK, bundle="a")
    acting.apply(BACK, bundle="b")
    acting.apply(BACK, bundle="c")
    kept = acting.ledger.alerts.save_alert

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    acting.ledger.alerts.save_alert = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        acting.after(1, 0.05)
    between = (live(acting), acting.alerts()[0].deeds[0].state)
    acting.ledger.alerts.save_alert = kept

    undone = undoing(acting).roll_back(acting.alerts()[0], acting.now)

    assert between == (2, "wanted")
    assert undone == "release 2 answers instead of 3"
    assert live(acting) == 2


def test_two_that_act_at_once_roll_back_once(acting: House) -> None:
    for bundle in "abc":
        acting.apply(BACK, bundle=bundle)
    acting.deeds = {}
    acting.after(1, 0.05)
    alert = msgspec.structs.replace(acting.alerts()[0], deeds=(Deed("roll back"),))
    releases = acting.ledger.releases
    go_live = releases.go_live

    def late(*arguments: object, **named: object) -> object:
        releases.go_live = go_live
        undoing(acting).roll_back(alert, acting.now)
        return go_live(*arguments, **named)  # type: ignore[arg-type]

    releases.go_live = late  # type: ignore[method-assign]

    told = undoing(acting).roll_back(alert, acting.now)

    assert told == "release 2 answers instead of 3"
    assert live(acting) == 2
    actions = [one.action for one in acting.ledger.audit.events()]
    assert actions.count("monitor.rollback") == 1


def test_who_was_faster_is_not_overruled(acting: House) -> None:
    for bundle in "abc":
        acting.apply(BACK, bundle=bundle)
    acting.deeds = {}
    acting.after(1, 0.05)
    (alert,) = acting.alerts()
    change = LiveChange(expect=3)
    acting.ledger.releases.go_live("credit", 1, by="ada", why="", now_us=NOW_US, change=change)

    told = undoing(acting).roll_back(alert, acting.now)

    assert told == "release 1 answers already, which somebody else made live"
    assert live(acting) == 1


def test_the_only_release_is_kept(acting: House) -> None:
    acting.apply(BACK)
    acting.deeds = {}
    acting.after(1, 0.05)

    with pytest.raises(RefusedError, match="no release to roll back to"):
        undoing(acting).roll_back(acting.alerts()[0], acting.now)
