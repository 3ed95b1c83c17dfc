"""How often the 95 % intervals of quality hold the truth, by simulation.

    python benchmarks/accuracy/coverage.py [--rounds 1000] [--json]

Labels are drawn from a known world, tallied as the ledger tallies them, and each interval is asked
whether it holds what the figure is in that world (found from 400,000 draws). Estimates (CBPE) are
asked whether they hold what the figure of those very calls turned out to be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from splice.core.quality import Measured
from splice.core.tallies import Tally, count_call, count_label, encode, read
from splice.core.truths import PinnedTruth, Task
from splice.monitor import cbpe
from splice.monitor.classes import binary_figures, bins_of, class_figures
from splice.monitor.numbers import ranking_figures, rating_figures, regression_figures

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Tally]

SIZES = (50, 200, 1000)
WORLD = 400_000
YES_NO = PinnedTruth("o", Task.CLASSIFICATION, 1.0, 1.0, positive=(True,))
CLASSES = PinnedTruth("o", Task.CLASSIFICATION, 1.0, 1.0)
NUMBER = PinnedTruth("o", Task.REGRESSION, 1.0, 1.0)
RATING = PinnedTruth("o", Task.RATING, 1.0, 1.0, good=4.0)
RANKING = PinnedTruth("o", Task.RANKING, 1.0, 1.0, predicted="reply.items", at=10)


def chances(rng: np.random.Generator, n: int, centre: float) -> tuple[Floats, Floats]:
    """Scores of a model that is sure of itself by a fifth too much, and the true chances."""
    odds = rng.normal(centre, 1.5, n)
    return 1 / (1 + np.exp(-1.2 * odds)), 1 / (1 + np.exp(-odds))


def binary(centre: float) -> Draw:
    """What happens or not; `centre` is the logarithm of the odds in the middle."""

    def draw(rng: np.random.Generator, n: int) -> Tally:
        score, true = chances(rng, n, centre)
        tally = Tally()
        for s, happened in zip(score.tolist(), (rng.random(n) < true).tolist(), strict=True):
            count_label(tally, YES_NO, (s, s >= 0.5), happened)
        return tally

    return draw


def classes(rng: np.random.Generator, n: int) -> Tally:
    """One of four classes, of unequal frequency; seven in ten are right."""
    names = np.array(["a", "b", "c", "d"])
    true = rng.choice(names, n, p=[0.45, 0.3, 0.15, 0.1])
    said = np.where(rng.random(n) < 0.7, true, rng.choice(names, n))
    tally = Tally()
    for one, other in zip(said.tolist(), true.tolist(), strict=True):
        count_label(tally, CLASSES, (0.7, one), other)
    return tally


def numbers(rng: np.random.Generator, n: int) -> Tally:
    """Amounts with a long tail, foretold with an error that grows with them."""
    true = rng.lognormal(3, 0.5, n)
    said = true * rng.lognormal(0.02, 0.2, n)
    tally = Tally()
    for one, other in zip(said.tolist(), true.tolist(), strict=True):
        count_label(tally, NUMBER, (None, one), other)
    return tally


def ratings(rng: np.random.Generator, n: int) -> Tally:
    """One to five stars."""
    tally = Tally()
    for one in rng.choice([1.0, 2.0, 3.0, 4.0, 5.0], n, p=[0.1, 0.1, 0.2, 0.35, 0.25]).tolist():
        count_label(tally, RATING, (None, None), one)
    return tally


def rankings(rng: np.random.Generator, n: int) -> Tally:
    """One relevant thing, near the top more often than not, or nowhere."""
    tally = Tally()
    for place in np.minimum(rng.geometric(0.3, n) - 1, 12).tolist():
        value = (place if place < 12 else -1,)
        count_label(tally, RANKING, (None, ("x",)), value)
    return tally


def figures(task: Task, tally: Tally, *, yes_no: bool = True) -> tuple[Measured, ...]:
    """All figures of a tally, by way of how it is stored."""
    again = Tally()
    again.merge(read(encode(tally)))
    if task is Task.CLASSIFICATION:
        return binary_figures(again.cells) if yes_no else class_figures(again.cells)
    if task is Task.REGRESSION:
        return regression_figures(again.errors)
    if task is Task.RATING:
        return rating_figures(again.errors, again.good)
    return ranking_figures(again.places)


WORLDS: dict[str, tuple[Task, Draw, bool]] = {
    "happens in 35 %": (Task.CLASSIFICATION, binary(-1.0), True),
    "happens in 5 %": (Task.CLASSIFICATION, binary(-4.0), True),
    "one of four classes": (Task.CLASSIFICATION, classes, False),
    "numbers": (Task.REGRESSION, numbers, True),
    "ratings": (Task.RATING, ratings, True),
    "rankings": (Task.RANKING, rankings, True),
}


def coverage(world: str, size: int, rounds: int, seed: int = 1) -> dict[str, tuple[float, int]]:
    """By figure: the share of intervals that hold the truth, and how many there were."""
    task, draw, yes_no = WORLDS[world]
    rng = np.random.default_rng(seed)
    true = {one.name: one.value for one in figures(task, draw(rng, WORLD), yes_no=yes_no)}
    held: dict[str, list[bool]] = {}
    for _ in range(rounds):
        for one in figures(task, draw(rng, size), yes_no=yes_no):
            value = true[one.name]
            if value is not None and one.low is not None and one.high is not None:
                held.setdefault(one.name, []).append(one.low <= value <= one.high)
    return {name: (float(np.mean(all_)), len(all_)) for name, all_ in held.items()}


def estimates(
    history: int, size: int, rounds: int, seed: int = 1, drift: float = 0.0
) -> dict[str, tuple[float, int, float]]:
    """By figure: how often an estimate held what came true, of how many, and its mean error.

    `drift` moves the logarithm of the true odds of the calls, and not their chances: concept drift.
    """
    rng = np.random.default_rng(seed)
    held: dict[str, list[tuple[bool, float]]] = {}
    for _ in range(rounds):
        past = binary(-1.0)(rng, history)
        score, true = chances(rng, size, -1.0)
        true = 1 / (1 + np.exp(-(np.log(true / (1 - true)) + drift)))
        asked, told = Tally(), Tally()
        for s, happened in zip(score.tolist(), (rng.random(size) < true).tolist(), strict=True):
            count_call(asked, YES_NO, s, s >= 0.5)
            count_label(told, YES_NO, (s, s >= 0.5), happened)
        came = {one.name: one.value for one in binary_figures(told.cells)}
        for one in cbpe.estimate(bins_of(past.cells), cbpe.unlabelled(asked.cells, {})):
            value = came[one.name]
            if value is None or one.value is None or one.low is None or one.high is None:
                continue
            held.setdefault(one.name, []).append((one.low <= value <= one.high, one.value - value))
    return {
        name: (
            float(np.mean([a for a, _ in all_])),
            len(all_),
            float(np.mean([b for _, b in all_])),
        )
        for name, all_ in held.items()
    }


def rows(rounds: int) -> Iterator[dict[str, object]]:
    """A row for each figure."""
    for world in WORLDS:
        for size in SIZES:
            for name, (share, count) in coverage(world, size, rounds).items():
                yield {"world": world, "labels": size, "figure": name, "held": share, "of": count}
    for drift in (0.0, 1.0):
        found = estimates(1000, 500, max(100, rounds // 4), drift=drift)
        for name, (share, count, error) in found.items():
            world = "estimate (CBPE)" + (" under concept drift" if drift else "")
            yield {
                "world": world, "labels": 500, "figure": name, "held": share, "of": count,
                "error": error,
            }  # fmt: skip


def main() -> None:
    """Print a table, or a JSON row a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for row in rows(given.rounds):
        if given.json:
            sys.stdout.write(json.dumps(row) + "\n")
        else:
            error = f"  mean error {row['error']:+.3f}" if "error" in row else ""
            held = f"{row['figure']:18} {row['held']:.3f}{error}"
            sys.stdout.write(f"{row['world']:40} {row['labels']:>5} {held}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
