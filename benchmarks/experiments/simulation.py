"""Studies by simulation: how often equal arms are told apart, and real effects found and covered.

    python -m benchmarks.experiments.simulation --runs 1000

Prints the tables of docs/experiments.md. Every run is a study that is looked at once a day: users
come, call, and each call ends one way or the other. The statistics are those of
`splice.monitor.sequential`; nothing else of Splice takes part.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from splice.core.moments import PAIRS, Moments
from splice.monitor import sequential

Matrix = np.ndarray[Any, Any]
DAYS = 30


class Users(NamedTuple):
    """Who takes part: what each is like, how often he calls in a day, and when he comes."""

    kind: Matrix
    often: Matrix
    comes: Matrix


class Setting(NamedTuple):
    """One kind of study; `came` says what so many calls of users of a kind and arm come to."""

    name: str
    users: Callable[[np.random.Generator], Users]
    came: Callable[[np.random.Generator, Matrix, Matrix, Matrix], Matrix]
    effect: float = 0.0
    past_days: int = 0


class Tally:
    """What became of the runs of one setting."""

    def __init__(self) -> None:
        self.runs = self.rows = self.rows_ever = self.once = self.ever_fixed = 0
        self.ever = self.missed = self.ratio = 0
        self.reduction: list[float] = []
        self.days: list[int] = []


def moments(*columns: Matrix) -> Moments:
    """Of users, quickly."""
    rows = np.zeros((len(columns[0]), 5))
    rows[:, : len(columns)] = np.stack(columns, 1)
    products = rows.T @ rows
    y, n = rows[:, 0], rows[:, 1]
    return Moments(
        len(rows), tuple(rows.sum(0)), tuple(products[i, j] for i, j in PAIRS),
        int((y != 0).sum()), bool(((y >= 0) & (y <= n) & (y == np.round(y))).all()),
    )  # fmt: skip


def run(setting: Setting, seed: int, tally: Tally) -> None:
    """One study from its first day to its last."""
    rng = np.random.default_rng(seed)
    users = setting.users(rng)
    count = len(users.kind)
    arm = rng.random(count) < 0.5
    y, n = np.zeros(count), np.zeros(count)
    past_n = rng.poisson(users.often * setting.past_days)
    past_y = setting.came(rng, past_n, users.kind, np.zeros(count, bool))
    mixture: float | None = None
    rows = rows_ever = fixed_ever = ever = missed = ratio = False
    compared = None
    day_told = 0
    for day in range(DAYS):
        calls = rng.poisson(users.often) * (users.comes <= day)
        came = setting.came(rng, calls, users.kind, arm)
        y, n = y + came, n + calls
        seen = n > 0
        sides = [seen & ~arm, seen & arm]
        columns = [y, n, past_y, past_n, past_n > 0] if setting.past_days else [y, n]
        pair = [moments(*(one[side] for one in columns)) for side in sides]
        ratio |= sequential.mismatch([one.count for one in pair], (0.5, 0.5)) < 0.001
        rows = _rows(pair, setting.effect)
        rows_ever |= rows
        compared = sequential.compare(pair[0], pair[1])
        if compared is None:
            continue
        if mixture is None:
            mixture = sequential.mixture_at(compared.variance, compared.units)
        interval = sequential.interval(compared, mixture)
        if not interval.low <= 0 <= interval.high and not ever:
            ever, day_told = True, day + 1
        missed |= not interval.low <= setting.effect <= interval.high
        fixed_ever |= abs(compared.difference) > 1.96 * math.sqrt(compared.variance)
    tally.runs += 1
    tally.rows += rows
    tally.rows_ever += rows_ever
    tally.ever_fixed += fixed_ever
    tally.ever += ever
    tally.missed += missed
    tally.ratio += ratio
    if compared is not None:
        tally.once += abs(compared.difference) > 1.96 * math.sqrt(compared.variance)
        tally.reduction.append(compared.reduction)
    if ever:
        tally.days.append(day_told)


def _rows(pair: list[Moments], effect: float) -> bool:
    """Whether the usual test of two shares, on rows of calls, rejects; for 0 and 1 only."""
    if not all(one.binary for one in pair) or effect:
        return False
    shares = [(one.ratio or 0.0, one.sums[1]) for one in pair]
    error = math.sqrt(math.fsum(p * (1 - p) / calls for p, calls in shares if calls))
    return bool(error) and abs(shares[1][0] - shares[0][0]) > 1.96 * error


def people(
    count: int, rate: float, alike: float, calls: float, *, come: bool = True
) -> Callable[[np.random.Generator], Users]:
    """Users whose chance is spread by a beta distribution; `alike` is the correlation of calls."""
    spread = 1 / alike - 1

    def made(rng: np.random.Generator) -> Users:
        kind = rng.beta(rate * spread, (1 - rate) * spread, count)
        often = rng.gamma(1.0, calls / DAYS, count)
        comes = rng.integers(0, DAYS, count) if come else np.zeros(count, int)
        return Users(kind, often, comes)

    return made


def happens(effect: float = 0.0) -> Any:
    """Each call comes to 1 with the chance of its user."""

    def came(rng: np.random.Generator, calls: Matrix, kind: Matrix, arm: Matrix) -> Matrix:
        return rng.binomial(calls, np.clip(kind + effect * arm, 0, 1)).astype(float)

    return came


def amounts(rng: np.random.Generator, calls: Matrix, kind: Matrix, arm: Matrix) -> Matrix:
    """Each call comes to an amount with a long tail, larger for some users."""
    mean = np.exp(3 + 2 * kind)
    return mean * rng.gamma(np.maximum(calls, 1e-9) * 0.3, 1 / 0.3) * (calls > 0)


SETTINGS = [
    Setting("users come and call about 15 times", people(3000, 0.05, 1 / 21, 30), happens()),
    Setting("the same users all the time", people(1500, 0.05, 1 / 21, 15, come=False), happens()),
    Setting("one in a hundred", people(4000, 0.01, 1 / 21, 10), happens()),
    Setting("users who are much alike in their calls", people(2000, 0.2, 0.5, 20), happens()),
    Setting("amounts with a long tail", people(2000, 0.2, 0.5, 10), amounts),
    Setting("with their past (CUPED)", people(2000, 0.2, 0.3, 10), happens(), past_days=60),
    Setting("an effect of 0.01", people(6000, 0.05, 1 / 21, 15), happens(0.01), 0.01),
    Setting("an effect of 0.02", people(6000, 0.05, 1 / 21, 15), happens(0.02), 0.02),
    Setting("an effect of 0.02, with their past", people(6000, 0.2, 0.3, 15), happens(0.02), 0.02,
            60),
]  # fmt: skip


HEADS = (
    "study", "calls, one look", "calls, daily", "users, one look", "users, daily",
    "always valid, daily", "covered at every look", "told on day", "less variance", "ratio",
)  # fmt: skip


def main() -> None:
    """Run all, and print the table."""
    options = argparse.ArgumentParser()
    options.add_argument("--runs", type=int, default=1000)
    runs = options.parse_args().runs
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
    for setting in SETTINGS:
        tally = Tally()
        for seed in range(runs):
            run(setting, seed, tally)
        parts = (tally.rows, tally.rows_ever, tally.once, tally.ever_fixed, tally.ever,
                 tally.runs - tally.missed)  # fmt: skip
        cells = [f"{one / tally.runs:.1%}" for one in parts]
        if not tally.rows_ever:  # that test is of shares, and of equal arms
            cells[:2] = ["", ""]
        told = f"{np.median(tally.days):.0f}" if setting.effect else ""
        less = f"{np.mean(tally.reduction):.0%}" if setting.past_days else ""
        row = [setting.name, *cells, told, less, f"{tally.ratio / tally.runs:.1%}"]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
