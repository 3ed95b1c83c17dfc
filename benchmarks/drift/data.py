"""The rows of the benchmark: columns whose shifts were planted, and columns that did not move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

Draw = Callable[[np.random.Generator, int, bool], np.ndarray]

WORDS = list("abcdefgh")
MERCHANTS = np.array([f"merchant-{number}" for number in range(2000)])
TILTED = [0.25, 0.2, 0.15, 0.1, 0.1, 0.08, 0.07, 0.05]
FORM = 1
"""Goes up with each change of what is drawn: kept files are of one form."""


def _normal(mean: float = 0.0, deviation: float = 1.0, seed: float = 1.0) -> Draw:
    """A bell curve, and how much its mean and deviation grow."""
    return lambda rng, size, moved: rng.normal(mean * moved, seed + (deviation - 1) * moved, size)


def _holes(before: float, after: float) -> Draw:
    def draw(rng: np.random.Generator, size: int, moved: bool) -> np.ndarray:
        values = rng.normal(size=size)
        values[rng.random(size) < (after if moved else before)] = np.nan
        return values

    return draw


def _outliers(share: float) -> Draw:
    def draw(rng: np.random.Generator, size: int, moved: bool) -> np.ndarray:
        values = rng.normal(size=size)
        if moved:
            values[rng.random(size) < share] += 10
        return values

    return draw


def _words(words: Sequence[str], before: Sequence[float], after: Sequence[float]) -> Draw:
    chances = [np.array(one) / sum(one) for one in (before, after)]
    return lambda rng, size, moved: np.array(words)[
        rng.choice(len(words), size, p=chances[int(moved)])
    ]


def _merchants(power: float) -> Draw:
    return lambda rng, size, moved: MERCHANTS[
        (rng.random(size) ** (power if moved else 1) * len(MERCHANTS)).astype(int)
    ]


SHIFTED: dict[str, Draw] = {
    "mean +0.5 sd": _normal(0.5),
    "sd x 1.5": _normal(0, 1.5),
    "log-normal x 3.3": lambda rng, size, moved: rng.lognormal(1.2 * moved, 2, size),
    "exponential x 1.6": lambda rng, size, moved: rng.exponential(1 + 0.6 * moved, size),
    "counts 3 -> 4": lambda rng, size, moved: rng.poisson(3 + moved, size).astype(float),
    "zeros 50 % -> 70 %": lambda rng, size, moved: np.where(
        rng.random(size) < 0.5 + 0.2 * moved, 0.0, rng.exponential(1, size)
    ),
    "missing 2 % -> 20 %": _holes(0.02, 0.2),
    "5 % outliers, 10 sd off": _outliers(0.05),
    "a category of 12.5 % is gone": _words(WORDS, [1] * 8, [1] * 7 + [0]),
    "a category of 5 % is new": _words([*WORDS, "z"], [1] * 8 + [0], [0.95 / 8] * 8 + [0.05]),
    "shares of categories": _words(WORDS, TILTED, TILTED[::-1]),
    "among 2,000 merchants": _merchants(2),
}
UNSHIFTED: dict[str, Draw] = {
    "normal": _normal(),
    "normal, other scale": _normal(seed=1e6),
    "normal, far off": lambda rng, size, _: 1.7e9 + rng.normal(0, 30, size),
    "log-normal": lambda rng, size, _: rng.lognormal(0, 2, size),
    "exponential": lambda rng, size, _: rng.exponential(1, size),
    "uniform": lambda rng, size, _: rng.random(size),
    "counts": lambda rng, size, _: rng.poisson(3, size).astype(float),
    "heavy tails (t, 2 df)": lambda rng, size, _: rng.standard_t(2, size),
    "half zeros": lambda rng, size, _: np.where(
        rng.random(size) < 0.5, 0.0, rng.exponential(1, size)
    ),
    "missing 10 %": _holes(0.1, 0.1),
    "constant": lambda rng, size, _: np.full(size, 3.0),
    "mean +0.01 sd": _normal(0.01),
    "categories, even": _words(WORDS, [1] * 8, [1] * 8),
    "categories, uneven": _words(WORDS, TILTED, TILTED),
    "2,000 merchants": _merchants(1),
    "two categories": _words(["yes", "no"], [0.9, 0.1], [0.9, 0.1]),
    "twenty categories": _words([f"c{n}" for n in range(20)], range(1, 21), range(1, 21)),
    "a category of 0.01 % is new": _words([*WORDS, "z"], [1] * 8 + [0], [1 / 8] * 8 + [1e-4]),
}
"""Not moved, or by so little that nobody would do anything about it."""


def files(cache: Path, rows: int) -> tuple[Path, Path]:
    """Parquet files of the current rows and of the reference, drawn once."""
    folder = cache / "drift"
    made = (folder / f"current-{rows}-{FORM}.parquet", folder / f"reference-{rows}-{FORM}.parquet")
    folder.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(made):
        if not file.exists():
            new = file.with_suffix(".new")
            parquet.write_table(table(rows, number, moved=number == 0), new)
            new.rename(file)
    return made


def table(rows: int, seed: int, *, moved: bool) -> pa.Table:
    """All columns; each has random numbers of its own."""
    columns = {**SHIFTED, **UNSHIFTED}
    streams = np.random.SeedSequence([seed, rows]).spawn(len(columns))
    return pa.table(
        {
            name: draw(np.random.default_rng(stream), rows, moved)
            for (name, draw), stream in zip(columns.items(), streams, strict=True)
        }
    )
