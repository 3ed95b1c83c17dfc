"""Places, shares, guards and steps: the rules of rollouts, without a server."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise

import msgspec
import pytest

from splice.control.judging import judge, verdict
from splice.core.errors import DeclarationError
from splice.core.figures import Figures, Mean, wilson
from splice.core.release import PinnedGuard, PinnedRollout, PinnedRoute, Variant
from splice.core.rollout import WHOLE, place, share, share_text
from splice.engine.line import Arm, Step
from splice.engine.routing.split import Split


def arm(name: str) -> Arm:
    route = PinnedRoute(name, "rule", 0, 1.0, name)
    return Arm(name, (Step(route, None, immediate=True),))


def split(challenger: int, salt: str = "s") -> Split:
    return Split(salt, arm("own").steps, [(arm("challenger"), challenger)])


def test_places_are_spread_evenly() -> None:
    counted = Counter(place("salt", f"customer-{n}") * 20 // WHOLE for n in range(100_000))

    # Chi-squared with 19 degrees of freedom; 43.8 is its 99.9th percentile.
    assert sum((count - 5000) ** 2 / 5000 for count in counted.values()) < 43.8


def test_another_salt_is_another_order() -> None:
    names = [f"c-{n}" for n in range(4000)]
    here = {name for name in names if split(2500, "a").arm(name).name == "challenger"}
    there = {name for name in names if split(2500, "b").arm(name).name == "challenger"}

    assert 0.2 < len(here & there) / len(here) < 0.3  # as many as by chance


@pytest.mark.parametrize("counted", [0, 1, 4999, WHOLE])
def test_a_share_is_what_it_says(counted: int) -> None:
    here = split(counted)
    got = sum(here.arm(f"c-{n}").name == "challenger" for n in range(20_000)) / 20_000

    assert abs(got - counted / WHOLE) < 4 * math.sqrt(0.25 / 20_000)
    assert (got == counted / WHOLE) or counted not in (0, WHOLE)


def test_a_larger_share_keeps_everybody_who_had_it() -> None:
    names = [f"c-{n}" for n in range(5000)]
    chosen = [
        {n for n in names if split(s).arm(n).name == "challenger"} for s in range(0, 10_001, 500)
    ]

    assert all(a <= b for a, b in pairwise(chosen))


@pytest.mark.parametrize(
    ("given", "counted"), [("10 %", 1000), (0.1, 1000), ("0.01%", 1), (0, 0), ("100 %", 10_000)]
)
def test_a_share_is_read(given: str | float, counted: int) -> None:
    assert share(given) == counted
    assert share(share_text(counted)) == counted


@pytest.mark.parametrize(
    "given", ["ten", "-1 %", 1.5, "101 %", 0.00001, True, "", "1e2 %", math.nan]
)
def test_what_is_no_share_is_refused(given: str | float) -> None:
    with pytest.raises(DeclarationError, match="a share such as"):
        share(given)


def figures(calls: int, errors: int = 0, **latency: float) -> Figures:
    return Figures(calls, errors, errors, latency)


ERRORS = PinnedGuard("errors", at_most=0.05)


@pytest.mark.parametrize(
    ("calls", "errors", "state"),
    [
        (0, 0, "unknown"),
        (3, 3, "unknown"),  # three of three may be bad luck
        (19, 19, "unknown"),
        (20, 10, "broken"),  # beyond doubt, long before the step's calls are there
        (60, 6, "unknown"),  # above the bound, and not beyond doubt
        (100, 6, "broken"),  # at the end of a step the figure itself counts
        (100, 5, "holds"),
    ],
)
def test_a_share_of_errors_is_judged_by_its_interval(calls: int, errors: int, state: str) -> None:
    (judged,) = judge(ERRORS, figures(calls, errors), figures(0), min_calls=100)

    assert judged.state == state


def test_a_guard_that_compares_needs_both_sides() -> None:
    guard = PinnedGuard("latency_p95", worse_by=0.010)
    slow, quick = figures(200, latency_p95=0.050), figures(200, latency_p95=0.035)

    assert judge(guard, slow, quick, 100)[0].state == "broken"
    assert judge(guard, slow, figures(200, latency_p95=0.041), 100)[0].state == "holds"
    assert judge(guard, slow, figures(0), 100)[0].state == "unknown"


def test_an_outcome_that_is_better_when_higher_is_guarded_below() -> None:
    guard = PinnedGuard("outcome:paid", worse_by=0.05, higher_is_better=True)
    champion = Figures(outcomes={"paid": Mean(500, 0.90, 0.09)})

    def state(mean: float, count: int = 500) -> str:
        challenger = Figures(outcomes={"paid": Mean(count, mean, mean * (1 - mean))})
        return judge(guard, challenger, champion, 400)[0].state

    assert [state(0.95), state(0.86), state(0.84)] == ["holds", "holds", "broken"]
    assert state(0.50, 60) == "broken"  # beyond doubt
    assert state(0.84, 60) == "unknown"


def test_two_bounds_of_one_guard_are_judged_apart() -> None:
    guard = PinnedGuard("latency_p99", at_most=0.1, worse_by=0.01)
    judged = judge(guard, figures(200, latency_p99=0.09), figures(200, latency_p99=0.05), 100)

    assert [one.state for one in judged] == ["holds", "broken"]


def test_a_guard_is_seldom_broken_by_chance_however_often_it_is_looked_at() -> None:
    """True share 3 %, bound 5 %: of 400 canaries of 1,000 calls, each judged after every 20."""

    dice, stopped = random.Random(7), 0
    for _ in range(400):
        errors = 0
        for calls in range(20, 1001, 20):
            errors += sum(dice.random() < 0.03 for _ in range(20))
            if judge(ERRORS, figures(calls, errors), figures(0), 10_000)[0].state == "broken":
                stopped += 1
                break

    assert stopped <= 12  # 3 %


def test_wilson_covers() -> None:
    low, high = wilson(3, 100)

    assert (round(low, 4), round(high, 4)) == (0.0103, 0.0845)  # as published tables have it
    assert wilson(0, 0) == (0.0, 1.0)


def canary(share: int) -> PinnedRollout:
    return PinnedRollout(
        "s", (Variant("challenger", share, ()),), steps=(100, 1000, 10_000), every_s=60,
        min_calls=50, guards=(ERRORS,),
    )  # fmt: skip


CANARY = canary(100)


def test_a_step_is_left_when_its_time_its_calls_and_its_guards_allow() -> None:
    good, few = figures(50, 0), figures(49, 0)

    assert verdict(CANARY, good, figures(0), 59).do == "wait"
    assert verdict(CANARY, few, figures(0), 61).do == "wait"
    assert verdict(CANARY, good, figures(0), 61).do == "advance"
    assert verdict(canary(500), good, figures(0), 61).do == "advance"  # moved by a person
    assert verdict(canary(10_000), good, figures(0), 61).do == "finish"
    assert verdict(CANARY, figures(50, 40), figures(0), 0).do == "abort"


def test_a_guard_of_which_nothing_is_known_holds_the_step() -> None:
    waiting = msgspec.structs.replace(CANARY, guards=(PinnedGuard("outcome:paid", at_least=0.5),))

    said = verdict(waiting, figures(5000), figures(0), 1e6)

    assert (said.do, "outcome:paid" in said.why) == ("wait", True)


def test_a_canary_most_of_whose_answers_are_others_ends_without_any_guard() -> None:
    unguarded = msgspec.structs.replace(CANARY, guards=())
    said = verdict(unguarded, Figures(20, 11), Figures(100), 0)

    assert said.do == "abort"
    assert "did not answer 55% of 20 calls" in said.why
    assert verdict(unguarded, Figures(20, 10), Figures(100), 0).do == "wait"


def test_where_everybody_has_the_challenger_nothing_waits_for_the_champion() -> None:
    compared = PinnedGuard("latency_p95", worse_by=0.01)
    everybody = msgspec.structs.replace(canary(10_000), guards=(compared,))

    assert verdict(everybody, figures(500, latency_p95=0.1), figures(0), 61).do == "finish"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_no_number_holds_nothing(value: float) -> None:
    guard = PinnedGuard("outcome:loss", at_most=0.2)
    odd = Figures(calls=900, outcomes={"loss": Mean(900, value, 1.0)})

    assert judge(guard, odd, figures(0), 100)[0].state == "unknown"


@pytest.mark.parametrize(
    ("guard", "truth"),
    [
        (PinnedGuard("outcome:x", at_least=0.02), 0.05),
        (PinnedGuard("outcome:x", at_most=0.97), 0.95),
        (PinnedGuard("outcome:x", worse_by=0.01, higher_is_better=True), 0.05),
    ],
)
def test_a_good_challenger_is_seldom_taken_away_by_its_rare_outcomes(
    guard: PinnedGuard, truth: float
) -> None:
    """Twenty equal outcomes in a row are no proof. 300 canaries, each judged after every 20."""
    dice, stopped = random.Random(11), 0
    base = Figures(5000, outcomes={"x": Mean(5000, truth, truth * (1 - truth), binary=True)})
    for _ in range(300):
        hits = 0
        for count in range(20, 1001, 20):
            hits += sum(dice.random() < truth for _ in range(20))
            mean = hits / count
            told = Mean(count, mean, mean * (1 - mean) * count / (count - 1), binary=True)
            judged = judge(guard, Figures(count, outcomes={"x": told}), base, 10_000)
            if judged[0].state == "broken":
                stopped += 1
                break

    assert stopped <= 15  # 5 %
