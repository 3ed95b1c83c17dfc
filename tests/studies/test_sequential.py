"""Intervals that hold at every look, by formula, by another's hand, and by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tea_tasting as tt

from splice.core.moments import PAIRS, Moments, moments_of
from splice.monitor import sequential

Matrix = np.ndarray[Any, Any]


def moments(*columns: Matrix) -> Moments:
    """Of many units, quickly."""
    rows = np.zeros((len(columns[0]), 5))
    rows[:, : len(columns)] = np.stack(columns, 1)
    products = rows.T @ rows
    y, n = rows[:, 0], rows[:, 1]
    return Moments(
        len(rows), tuple(rows.sum(0)), tuple(products[i, j] for i, j in PAIRS),
        int((y != 0).sum()), bool(((y >= 0) & (y <= n) & (y == np.round(y))).all()),
    )  # fmt: skip


def users(rng: np.random.Generator, count: int, arm: int, lift: float = 0.0) -> dict[str, Matrix]:
    """Users who differ in how much they call and in how it ends, now and before."""
    taste = rng.normal(0, 1, count)
    calls = rng.poisson(3, count) + 1
    past = rng.poisson(8, count)
    return {
        "variant": np.full(count, arm),
        "y": calls * (10 + lift + taste) + rng.normal(0, 2, count),
        "n": calls.astype(float),
        "past_y": past * (10 + taste) + rng.normal(0, 2, count),
        "past_n": past.astype(float),
    }


def both(lift: float = 0.5) -> tuple[dict[str, Matrix], dict[str, Matrix]]:
    rng = np.random.default_rng(7)
    return users(rng, 4000, 0), users(rng, 3000, 1, lift)


def tasted(metric: Any) -> Any:
    """What tea-tasting says of the same users."""
    control, treated = both()
    columns = {name: np.concatenate([control[name], treated[name]]) for name in control}
    return tt.Experiment(m=metric).analyze(pa.table(columns))["m"]


def test_many_units_have_the_moments_of_each_of_them() -> None:
    one, _ = both()

    quick = moments(one["y"][:50], one["n"][:50])
    plain = moments_of(list(zip(one["y"][:50], one["n"][:50], strict=True)))

    assert quick.sums == pytest.approx(plain.sums)
    assert quick.products == pytest.approx(plain.products)


def test_a_ratio_metric_is_what_tea_tasting_makes_of_it() -> None:
    control, treated = both()
    theirs = tasted(tt.RatioOfMeans("y", "n", use_t=False))

    ours = sequential.compare(
        moments(control["y"], control["n"]), moments(treated["y"], treated["n"])
    )

    assert ours is not None
    fixed = sequential.fixed_interval(ours.difference, ours.variance)
    assert ours.difference == pytest.approx(theirs.effect_size, rel=1e-9)
    assert fixed.low == pytest.approx(theirs.effect_size_ci_lower, rel=1e-5)
    assert fixed.high == pytest.approx(theirs.effect_size_ci_upper, rel=1e-5)
    assert ours.reduction == 0.0


def test_a_mean_corrected_by_the_past_is_what_tea_tasting_makes_of_it() -> None:
    control, treated = both()
    theirs = tasted(tt.Mean("y", "past_y", use_t=False))
    plain = tasted(tt.Mean("y", use_t=False))

    def columns(one: dict[str, Matrix]) -> Moments:
        return moments(one["y"], np.ones(len(one["y"])), one["past_y"])

    ours = sequential.compare(columns(control), columns(treated))

    assert ours is not None
    error = (theirs.effect_size_ci_upper - theirs.effect_size_ci_lower) / 2 / 1.959964
    before = (plain.effect_size_ci_upper - plain.effect_size_ci_lower) / 2 / 1.959964
    # Their factor is of all users at once, ours of the difference: equal but for the sampling.
    assert ours.difference == pytest.approx(theirs.effect_size, abs=0.02 * error)
    assert math.sqrt(ours.variance) == pytest.approx(error, rel=1e-3)
    assert ours.reduction == pytest.approx(1 - (error / before) ** 2, abs=2e-3)


def test_the_past_of_a_ratio_metric_takes_most_of_its_variance_away() -> None:
    control, treated = both(lift=0.5)
    columns = ("y", "n", "past_y", "past_n")

    def with_past(one: dict[str, Matrix]) -> Moments:
        return moments(*(one[name] for name in columns), one["past_n"] > 0)

    plain = sequential.compare(
        moments(control["y"], control["n"]), moments(treated["y"], treated["n"])
    )
    corrected = sequential.compare(with_past(control), with_past(treated))

    assert plain is not None
    assert corrected is not None
    assert corrected.reduction > 0.2
    assert abs(corrected.difference - 0.5) < 4 * math.sqrt(corrected.variance)
    assert corrected.plain == pytest.approx(plain.variance)


def test_columns_of_the_past_that_say_the_same_twice_change_nothing() -> None:
    control, treated = both()

    def twice(one: dict[str, Matrix]) -> Moments:
        return moments(one["y"], one["n"], one["past_y"], 3 * one["past_y"], 0 * one["y"])

    def once(one: dict[str, Matrix]) -> Moments:
        return moments(one["y"], one["n"], one["past_y"])

    ours = sequential.compare(twice(control), twice(treated))
    plain = sequential.compare(once(control), once(treated))

    assert ours is not None
    assert plain is not None
    assert ours.variance == pytest.approx(plain.variance, rel=1e-6)


@pytest.mark.parametrize("units", [200, 5_000, 1_000_000])
def test_the_radius_is_that_of_the_paper(units: int) -> None:
    deviation, alpha, tuned = 3.0, 0.05, 5_000
    log_alpha = -2 * math.log(alpha)
    rho = math.sqrt((log_alpha + math.log(log_alpha + 1)) / tuned)
    inner = units * rho**2 + 1
    papers = deviation * math.sqrt(
        2 * inner / (units * rho) ** 2 * math.log(math.sqrt(inner) / alpha)
    )

    mixture = sequential.mixture_at(deviation**2 / 123, 123, tuned)

    assert sequential.radius(deviation**2 / units, mixture) == pytest.approx(papers)


def test_an_interval_is_tightest_where_it_was_tuned_to_be() -> None:
    variance = 0.01 / 5_000

    def wider(units: float) -> float:
        """How much wider than for one look, with a mixture for so many units."""
        mixture = sequential.mixture_at(variance, 5_000, units)
        return sequential.radius(variance, mixture) / math.sqrt(variance)

    assert wider(5_000) < min(wider(3_000), wider(8_000))
    assert 2.9 < wider(5_000) < 3.1


def test_the_units_that_are_needed_are_those_that_tell() -> None:
    compared = sequential.Compared(0.001, 0.01 / 4_000, 0.01 / 4_000, 4_000)
    mixture = sequential.mixture_for(0.005)

    more = sequential.more_units(compared, mixture, 0.005)

    assert more is not None
    variance = 0.01 / (4_000 + more)
    room = 0.005 - 0.8416 * math.sqrt(variance)
    assert sequential.radius(variance, mixture) == pytest.approx(room, rel=0.01)
    assert sequential.more_units(compared, mixture, 0.05) == 0
    assert sequential.more_units(compared, mixture, 0.0) is None
    assert sequential.more_units(compared, mixture, 1e-12) is None


def test_nothing_is_told_of_too_few_units_or_of_what_hardly_ever_happens() -> None:
    rng = np.random.default_rng(3)
    ones = np.ones(5_000)

    def share(hits: int, units: int = 5_000) -> Moments:
        return moments(np.arange(units) < hits, ones[:units])

    assert sequential.compare(share(40, 99), share(40)) is None
    assert sequential.compare(share(10), share(9)) is None
    assert sequential.compare(Moments(), share(9)) is None
    assert sequential.compare(share(11), share(9)) is not None
    amounts = np.where(np.arange(5_000) < 9, rng.exponential(9, 5_000), 0.0)
    assert sequential.compare(moments(amounts, ones), moments(amounts, ones)) is None


def test_no_failure_at_all_does_not_prove_that_there_will_be_none() -> None:
    none = moments(np.zeros(1_000), np.ones(1_000))

    compared = sequential.compare(none, none)

    assert compared is not None
    assert math.sqrt(compared.variance) == pytest.approx(math.sqrt(2) / 1_000, rel=0.01)


def test_calls_that_all_cost_the_same_leave_nothing_to_chance() -> None:
    calls = np.random.default_rng(1).poisson(3, 1_000) + 1.0
    same = moments(0.001 * calls, calls)

    assert sequential.compare(same, same) is None
    assert sequential.spread(same) == 0.0


def rejected(runs: int, ever: Callable[[np.random.Generator], bool]) -> float:
    """How often something comes true."""
    return sum(ever(np.random.default_rng(seed)) for seed in range(runs)) / runs


def aa_calls(rng: np.random.Generator, units: int = 600) -> tuple[Matrix, Matrix, Matrix]:
    """Users of two equal arms: how likely each fails, how often each calls, and his arm."""
    kind = rng.beta(0.05 * 20, 0.95 * 20, units)
    return kind, rng.gamma(1.0, 0.5, units), rng.random(units) < 0.5


def test_two_equal_arms_are_told_apart_by_rows_of_calls_and_hardly_ever_by_users() -> None:
    """A look a day for 25 days; what the table in docs/experiments.md has at full size."""
    found = {"rows": 0, "one look": 0, "every look": 0, "missed": 0}
    runs = 200
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        kind, often, arm = aa_calls(rng)
        y, n = np.zeros(len(kind)), np.zeros(len(kind))
        mixture, ever, compared, rows = None, False, None, 0.0
        for _ in range(25):
            calls = rng.poisson(often)
            n += calls
            y += rng.binomial(calls, kind)
            seen = n > 0
            pair = [moments(y[seen & one], n[seen & one]) for one in (~arm, arm)]
            compared = sequential.compare(pair[0], pair[1])
            if compared is None:
                continue
            mixture = mixture or sequential.mixture_at(compared.variance, compared.units)
            interval = sequential.interval(compared, mixture)
            ever = ever or not interval.low <= 0 <= interval.high
            shares = [(one.ratio or 0.0, one.sums[1]) for one in pair]
            error = math.sqrt(sum(p * (1 - p) / count for p, count in shares))
            rows = abs(shares[1][0] - shares[0][0]) / error
        assert compared is not None
        found["rows"] += rows > 1.96
        found["one look"] += abs(compared.difference) > 1.96 * math.sqrt(compared.variance)
        found["every look"] += ever
    shares_of = {name: count / runs for name, count in found.items()}

    assert shares_of["rows"] > 0.10, shares_of
    assert 0.01 < shares_of["one look"] < 0.10, shares_of
    assert shares_of["every look"] <= 0.05, shares_of


def test_a_sample_ratio_may_be_looked_at_after_every_unit() -> None:
    def ever(shift: float) -> Callable[[np.random.Generator], bool]:
        def one(rng: np.random.Generator) -> bool:
            treated = np.cumsum(rng.random(4_000) < 0.1 + shift)
            looks = range(20, 4_000, 20)
            return any(
                sequential.mismatch((at - int(treated[at]), int(treated[at])), (0.9, 0.1)) < 0.001
                for at in looks
            )

        return one

    assert rejected(150, ever(0.0)) <= 0.01
    assert rejected(60, ever(0.03)) > 0.9


def test_a_sample_ratio_of_nobody_is_no_mismatch() -> None:
    assert sequential.mismatch((0, 0), (0.5, 0.5)) == 1.0
    assert sequential.mismatch((60, 0), (0.5, 0.5)) < 0.001
