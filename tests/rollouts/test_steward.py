"""The steward acts once, by its own clock, and never over a person's head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.control.rollouts import Rollouts, Wanted, Who
from splice.control.steward import STEWARD, Steward
from splice.core.errors import NotPromoted
from splice.core.figures import Figures
from splice.core.release import (
    Manifest,
    ModelVersion,
    PinnedGuard,
    PinnedRollout,
    PinnedRoute,
    Release,
    Signature,
    Variant,
)
from splice.ports.figures import Sought

HOUR_US = 3_600_000_000
OWN = PinnedRoute(
    "model:credit", "model", 0, 1.0, "credit@1", "credit", 1, sha256(b"1").hexdigest()
)
OTHER = PinnedRoute("model:credit@challenger", "model", 0, 1.0, "credit@2", "credit", 2, "b" * 64)
BARE = Manifest("credit", "m:C", "c" * 64, "Score.", "limited", 1.0, (OWN,), {}, {})
CANARY = PinnedRollout(
    "salt", (Variant("challenger", 100, (OTHER,)),), steps=(100, 5000, 10_000), every_s=60,
    min_calls=50, guards=(PinnedGuard("errors", at_most=0.05),),
)  # fmt: skip


class Scripted:
    """A FigureStore that says what it was told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.challenger = Figures(100)
        self.asked: list[Sought] = []

    def figures(self, sought: Sought, outcomes: Sequence[str] = ()) -> Figures:
        self.asked.append(sought)
        return self.challenger if sought.variant == "challenger" else Figures(1000)


class House:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._now = 1000
        self.figures = Scripted()
        self.rollouts = Rollouts(ledger.releases, ledger.models)
        self._add(BARE)

    def _add(self, manifest: Manifest) -> None:
        self.ledger.releases.add_release(manifest, by="ada", why="", now_us=1)

    def canary(self, then: str = "") -> None:
        import msgspec

        rollout = msgspec.structs.replace(CANARY, then=then)
        self._add(msgspec.structs.replace(BARE, rollout=rollout))

    def steward(self, name: str = "one", promote=None) -> Steward:
        return Steward(self.rollouts, self.figures, self.ledger.leases, name, promote)

    def look(self, steward: Steward, clock: float, now_us: int = HOUR_US) -> int:
        """One look; the number that is live after it."""
        steward.look(self.ledger.releases.live(), now_us, clock)
        return self.live.number

    @property
    def live(self) -> Release:
        return self.rollouts.live("credit")

    def tick(self) -> int:
        self._now += 1
        return self._now

    def share(self) -> int:
        rollout = self.live.manifest.rollout
        return rollout.variants[0].share if rollout is not None and rollout.variants else 0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "blobs")
    yield House(ledger)
    ledger.close()


def test_a_canary_climbs_step_by_step_and_then_holds(house: House) -> None:
    house.canary()
    steward = house.steward()

    shares = []
    for clock in (0, 30, 61, 64, 120, 125, 128, 190, 400):
        house.look(steward, clock)
        shares.append(house.share())

    assert shares == [100, 100, 5000, 5000, 5000, 10_000, 10_000, 10_000, 10_000]
    assert all(one.releases == (2,) for one in house.figures.asked[:4])


def test_a_broken_guard_names_the_release_of_before_again(house: House) -> None:
    house.canary()
    steward = house.steward()
    house.figures.challenger = Figures(40, errors=30)

    assert house.look(steward, 0) == 1

    event = house.ledger.audit.events(subject="credit")[-1]
    assert (event.action, event.by, event.details["before"]) == ("rollout.abort", STEWARD, 2)
    assert "errors 75 %, at most 5 % allowed (40 calls)" in event.why


def test_two_stewards_whose_clocks_disagree_by_an_hour_take_one_step(house: House) -> None:
    house.canary()
    one, two = house.steward("one"), house.steward("two")
    for clock in (0.0, 61.0):
        house.look(one, clock, HOUR_US)
        house.look(two, clock, 2 * HOUR_US)

    assert house.share() == 5000
    assert house.live.number == 3


def test_no_wall_clock_cuts_a_step_short(house: House) -> None:
    house.canary()
    steward = house.steward()

    house.look(steward, 0.0, HOUR_US)
    house.look(steward, 30.0, 900 * HOUR_US)  # somebody set it

    assert house.share() == 100


def test_a_steward_that_starts_anew_begins_the_step_anew(house: House) -> None:
    house.canary()
    house.look(house.steward("one"), 0.0)
    later = house.steward("one")
    house.look(later, 100.0)

    assert house.share() == 100
    assert house.look(later, 161.0) == 3


def test_a_stopped_integration_is_left_alone(house: House) -> None:
    house.canary()
    steward = house.steward()
    house.look(steward, 0.0)
    house.ledger.releases.set_stopped("credit", "odd", by="ada", now_us=3)
    house.figures.challenger = Figures(100, errors=100)

    assert house.look(steward, 61.0) == 2


def test_a_person_who_was_faster_is_not_overruled(house: House, caplog) -> None:
    house.canary()
    steward = house.steward()
    house.look(steward, 0.0)
    live = house.ledger.releases.live()
    house.rollouts.stop("credit", Who("ada", "no", 5))

    steward.look(live, HOUR_US, 61.0)  # it saw what was live a moment before

    assert house.live.number == 1
    assert "which this change was made for" in caplog.text


def test_the_last_step_becomes_the_champion_where_it_is_so_declared(house: House) -> None:
    house.canary(then="promote")
    promoted: list[str] = []

    def promote(release: Release) -> str:
        promoted.append(release.integration)
        return "done"

    steward = house.steward(promote=promote)
    for clock in (0, 61, 64, 125, 128, 190):
        house.look(steward, clock)

    assert house.share() == 10_000
    assert promoted[0] == "credit"


def test_a_gate_that_says_no_leaves_the_challenger_where_it_is(house: House, caplog) -> None:
    house.canary(then="promote")

    def promote(release: Release) -> str:
        raise NotPromoted("credit@2", got="auc 0.6", promised="at least 0.7")

    steward = house.steward(promote=promote)
    for clock in (0, 61, 64, 125, 128, 190, 300):
        house.look(steward, clock)

    assert house.share() == 10_000
    assert caplog.text.count("auc 0.6") == 1  # told once, not at every look


def test_a_person_may_end_move_and_start_it_again(house: House) -> None:
    house.canary()
    moved = house.rollouts.move("credit", 7000, Who("ada", "", 5))
    back = house.rollouts.stop("credit", Who("ada", "", 6))
    actions = [one.action for one in house.ledger.audit.events(subject="credit")]

    assert moved.manifest.rollout is not None
    assert moved.manifest.rollout.variants[0].share == 7000
    assert back.number == 1
    assert actions[-2:] == ["rollout.move", "rollout.stop"]


def start(house: House, **wanted: Any) -> Release:
    return house.rollouts.start(
        "credit", "credit@2", Wanted(**wanted), Who("ada", "", house.tick())
    )


@pytest.fixture
def registered(house: House, tmp_path: Path) -> House:
    """Both versions are in the registry, for commands to name."""
    file = tmp_path / "model"
    for content in (b"1", b"2"):
        file.write_bytes(content)
        version = ModelVersion("credit", 0, "", 0, "onnx", Signature())
        house.ledger.models.add_model("credit", file, version)
    return house


def test_the_policy_of_a_rollout_ends_with_it(registered: House) -> None:
    first = start(registered, steps=(100, 5000), guards=CANARY.guards, then="promote")
    registered.rollouts.stop("credit", Who("ada", "", registered.tick()))
    second = start(registered, steps=(2500,))

    assert first.manifest.rollout is not None
    assert second.manifest.rollout is not None
    assert first.manifest.rollout.then == "promote"
    assert (second.manifest.rollout.then, second.manifest.rollout.guards) == ("", ())


def test_the_policy_ends_too_where_no_release_of_before_is_like_it(registered: House) -> None:
    registered.canary(then="promote")  # the first release that has any challenger in its history
    bare = registered.rollouts.stop("credit", Who("ada", "", registered.tick()))

    assert bare.manifest.rollout is None


def test_what_a_release_came_to_before_it_was_live_again_is_no_news(house: House) -> None:
    house.canary()
    steward = house.steward()
    house.look(steward, 0)
    house.look(steward, 61)
    assert house.live.number == 3

    house.ledger.releases.go_live("credit", 2, by="ada", why="back", now_us=77)
    house.figures.asked.clear()
    house.look(steward, 100)

    assert {one.since_us for one in house.figures.asked} == {77}


def test_a_canary_never_steps_down(house: House) -> None:
    house.canary()
    steward = house.steward()
    house.rollouts.move("credit", 6000, Who("ada", "", 5))
    for clock in (0, 61):
        house.look(steward, clock)

    assert house.share() == 10_000


def test_outcomes_of_an_earlier_run_are_not_counted_again(registered: House) -> None:
    guard = PinnedGuard("outcome:paid", at_least=0.9)
    start(registered, steps=(5000,), guards=(guard,))
    registered.rollouts.stop("credit", Who("ada", "", registered.tick()))
    again = start(registered, steps=(5000,), guards=(guard,))
    registered.look(registered.steward(), 0)

    assert {one.releases for one in registered.figures.asked} == {(again.number,)}


def test_a_steward_that_ends_lets_another_act_at_once(house: House) -> None:
    house.canary()
    first, second = house.steward("one"), house.steward("two")
    house.look(first, 0)
    house.figures.challenger = Figures(100, errors=100)
    assert house.look(second, 1) == 2  # the lease is the first one's

    first.close()

    assert house.look(second, 10) == 1
