"""Measures of drift, held against scipy where it has the same, and against known distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from splice.monitor import measures as m
from splice.monitor.cells import paired
from splice.monitor.shapes import binned


def function(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    points = np.sort(values)
    return points, np.arange(1, len(points) + 1) / len(points), float(len(points))


@pytest.mark.parametrize("sizes", [(40, 70), (500, 300)])
def test_the_kolmogorov_smirnov_distance_is_that_of_scipy(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.3, 1, sizes[0]), rng.normal(0, 1, sizes[1])

    ours = m.ks(function(x), function(y))

    theirs = stats.ks_2samp(x, y, method="asymp")
    assert ours.value == pytest.approx(theirs.statistic)
    root = (sizes[0] * sizes[1] / sum(sizes)) ** 0.5
    assert ours.p == pytest.approx(stats.kstwobign.sf(theirs.statistic * root))


def test_the_wasserstein_distance_is_that_of_scipy_in_deviations_of_the_reference() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.lognormal(0.2, 1, 400), rng.lognormal(0, 1, 600)

    ours = m.wasserstein(function(x), function(y), (float(x.std()), float(y.std())))

    assert ours is not None
    assert ours.value == pytest.approx(stats.wasserstein_distance(x, y) / y.std())


def test_the_two_sample_chi_squared_is_that_of_a_contingency_table() -> None:
    current, reference = np.array([30.0, 50, 20, 9]), np.array([300.0, 420, 260, 80])

    p = m.homogeneity(current, reference)

    table = np.array([current, reference])
    assert p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)


def test_the_jensen_shannon_distance_of_large_samples_is_that_of_their_shares() -> None:
    q, r = np.array([0.5, 0.3, 0.2]), np.array([0.3, 0.3, 0.4])

    found = m.js(q * 1e8, r * 1e8)

    middle = (q + r) / 2
    divergence = (stats.entropy(q, middle, 2) + stats.entropy(r, middle, 2)) / 2
    assert found.value == pytest.approx(divergence**0.5, abs=1e-4)


def test_psi_of_large_samples_is_the_sum_that_everybody_uses() -> None:
    q, r = np.array([0.5, 0.3, 0.2]), np.array([0.3, 0.3, 0.4])

    found = m.psi(q * 1e8, r * 1e8)

    assert found.value == pytest.approx(((q - r) * np.log(q / r)).sum(), abs=1e-4)


def test_what_chance_gives_is_taken_off_so_that_alike_samples_are_zero_apart_on_average() -> None:
    rng = np.random.default_rng(3)
    shares, raw = np.full(10, 0.1), 0.0
    below = 0
    for _ in range(300):
        a, b = (rng.multinomial(200, shares).astype(float) for _ in range(2))
        found = m.psi(a, b)
        raw += (
            float(((a / 200 - b / 200) * np.log(a / b)).sum()) / 300 if a.all() and b.all() else 0
        )
        below += found.low == 0

    assert raw > 0.05  # uncorrected, a moderate shift already
    assert below >= 285


def test_the_reference_is_a_sample_and_never_taken_for_exact() -> None:
    rng = np.random.default_rng(4)
    ours, naive = 0, 0
    for _ in range(400):
        a, b = (np.bincount(rng.integers(0, 8, n), minlength=8) * 1.0 for n in (2000, 400))
        ours += m.homogeneity(a, b) < 0.05
        naive += stats.chisquare(a, b / b.sum() * a.sum()).pvalue < 0.05

    assert ours <= 36  # 5 % of 400 is 20; more than 36 comes once in 3,000 times
    assert naive > 200


def test_an_interval_of_psi_holds_the_true_distance() -> None:
    rng = np.random.default_rng(5)
    q, r = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.25] * 4)
    truth = float(((q - r) * np.log(q / r)).sum())
    held = 0
    for _ in range(400):
        found = m.psi(rng.multinomial(500, q) * 1.0, rng.multinomial(800, r) * 1.0)
        held += found.low <= truth <= found.high

    assert 0.92 <= held / 400 <= 0.99


def test_bins_by_reference_quantiles_see_a_shift_that_equal_widths_do_not() -> None:
    rng = np.random.default_rng(6)
    now, before = rng.lognormal(1.2, 2, 50_000), rng.lognormal(0, 2, 50_000)

    by_quantiles = m.psi(*binned(*paired(now, before)))

    edges = np.linspace(min(now.min(), before.min()), max(now.max(), before.max()), 11)
    by_width = m.psi(*(np.histogram(one, edges)[0] * 1.0 for one in (now, before)))
    assert by_quantiles.value > 0.3
    assert by_width.value < 0.01


def test_a_value_that_comes_often_has_a_bin_of_its_own() -> None:
    rng = np.random.default_rng(9)
    before = np.where(rng.random(5000) < 0.6, 7.0, rng.normal(7, 3, 5000))
    now = np.where(before == 7.0, 6.99, before)

    found = m.psi(*binned(*paired(now, before)))

    assert found.low > 1


def test_the_distance_of_means_of_vectors_is_mahalanobis_and_its_test_hotellings() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(300, 4)), rng.normal(size=(400, 4))
    x[:, 0] += 0.5

    def parts(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        off = rows - rows.mean(axis=0)
        return rows.mean(axis=0), off.T @ off

    (mean_x, of_x), (mean_y, of_y) = parts(x), parts(y)
    found = m.apart("text", (mean_x, mean_y), (of_x, of_y), (300.0, 400.0))

    assert found.low < 0.5 < found.high
    assert found.p is not None
    assert found.p < 1e-6


def test_corrected_p_is_that_of_scipy() -> None:
    p = np.array([0.001, 0.2, 0.03, 0.9, 0.04, 0.0005])

    assert m.corrected(p) == pytest.approx(stats.false_discovery_control(p))


@pytest.mark.parametrize("kind", ["whole", "spikes", "far", "tiny", "huge", "constant"])
def test_cells_count_as_a_sort_would(kind: str) -> None:
    rng = np.random.default_rng(8)
    made = {
        "whole": lambda n: rng.poisson(40, n).astype(float),
        "spikes": lambda n: np.where(rng.random(n) < 0.6, 0.0, rng.normal(1e6, 1, n)),
        "far": lambda n: rng.normal(1.7e9, 30, n),
        "tiny": lambda n: rng.normal(0, 1e-200, n),
        "huge": lambda n: rng.normal(0, 1e150, n),
        "constant": lambda n: np.full(n, 7.0),
    }[kind]
    now, before = made(5000), made(4000)
    if kind != "constant":
        now = now + now.std() * 0.2

    spreads = paired(now, before)

    ours = m.ks(*(one.function for one in spreads))
    assert ours.value == pytest.approx(stats.ks_2samp(now, before).statistic, abs=0.002)
    assert [float(one.count) for one in spreads] == [5000, 4000]
    assert spreads[1].quantile(0.5) == pytest.approx(float(np.median(before)), rel=0.01, abs=1e-190)
