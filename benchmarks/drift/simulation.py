"""`python benchmarks/drift/simulation.py`: how often drift is alarmed where there is none.

Columns are drawn over and over, current and reference, from known distributions. Counted are false
alarms, small p, and how often the 95 % interval holds the true distance. Writes
`benchmarks/results/drift-simulation.json`.
"""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

import numpy as np
from scipy import special

from splice.core.profiles import Profile
from splice.monitor.drift import drift
from splice.monitor.shapes import BINS
from splice.monitor.tables import Values, profile_of

SIZES = ((50, 50), (200, 1000), (1000, 1000), (1000, 100_000), (20_000, 20_000))
MEASURES = ("psi", "ks", "js", "chi2", "wasserstein", "missing")
SHIFT = 0.5
WORDS = list("abcdefgh")
TILTED = np.array([0.25, 0.2, 0.15, 0.1, 0.1, 0.08, 0.07, 0.05])


def main(argv: list[str]) -> None:
    """Run it; the argument is how often each pair of sizes is drawn (200)."""
    rounds = int(argv[0]) if argv else 200
    rows = [row for sizes in SIZES for row in (*unshifted(sizes, rounds), *shifted(sizes, rounds))]
    for row in rows:
        print(json.dumps(row))
    told = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "rounds": rounds}
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    results = Path(__file__).parents[1] / "results" / "drift-simulation.json"
    results.write_text(f'{{"about": {json.dumps(told)}, "rows": [\n{lines}\n]}}\n')


def unshifted(sizes: tuple[int, int], rounds: int) -> list[dict[str, object]]:
    """False alarms, and how often p is below 0.05, of 34 columns of which none has moved."""
    rng = np.random.default_rng(list(sizes))
    alarms, any_alarm, small, columns = 0, 0, 0, 0
    naive = 0
    for _ in range(rounds):
        now, before = (_columns(rng, size) for size in sizes)
        found = drift(now, before)
        alarms += sum(one.alarm for one in found)
        any_alarm += any(one.alarm for one in found)
        columns += len(found)
        small += any(one.p is not None and one.p <= 0.05 for one in found)
        naive += _naive(rng, sizes)
    return [
        _row(sizes, "false alarms, share of columns", alarms / columns),
        _row(sizes, "reports with a false alarm", any_alarm / rounds),
        _row(sizes, "reports with a corrected p below 0.05", small / rounds),
        _row(sizes, "chi-squared against the reference as if exact, p below 0.05", naive / rounds),
    ]


def _naive(rng: np.random.Generator, sizes: tuple[int, int]) -> bool:
    """What others do: the reference's shares taken for the truth."""
    now, before = (np.bincount(rng.integers(0, 8, size), minlength=8) for size in sizes)
    if not before.all():
        return True
    expected = before / before.sum() * now.sum()
    return bool(special.chdtrc(7, float(((now - expected) ** 2 / expected).sum())) < 0.05)


def _columns(rng: np.random.Generator, size: int) -> dict[str, Profile]:
    found: dict[str, Profile] = {}
    for number in range(10):
        found[f"normal{number}"] = _numbers(rng.normal(size=size))
        found[f"skewed{number}"] = _numbers(rng.lognormal(0, 2, size))
    for number in range(4):
        found[f"heavy{number}"] = _numbers(rng.standard_t(2, size))
        found[f"counts{number}"] = _numbers(rng.poisson(3, size).astype(float))
        found[f"word{number}"] = _words(rng.choice(WORDS, size, p=TILTED))
    holes = rng.normal(size=size)
    holes[rng.random(size) < 0.1] = np.nan
    kept = holes[~np.isnan(holes)]
    found["holes"] = profile_of(Values(size, size - len(kept), kept))
    many = rng.integers(0, 2000, size)
    found["many"] = _words(np.char.add("m", many.astype(str)))
    return found


def _numbers(values: np.ndarray) -> Profile:
    return profile_of(Values(len(values), 0, values))


def _words(values: np.ndarray) -> Profile:
    words, counts = np.unique(values, return_counts=True)
    counted = dict(zip(words.tolist(), counts.tolist(), strict=True))
    return profile_of(Values(len(values), words=counted))


def shifted(sizes: tuple[int, int], rounds: int) -> list[dict[str, object]]:
    """How often the interval of each measure holds its true value, and how often it alarms."""
    rng = np.random.default_rng([*sizes, 1])
    truths = _truths()
    held = dict.fromkeys(truths, 0)
    alarmed = {"mean": 0, "words": 0}
    for _ in range(rounds):
        now = {
            "mean": _numbers(rng.normal(SHIFT, 1, sizes[0])),
            "words": _words(rng.choice(WORDS, sizes[0], p=TILTED[::-1])),
        }
        before = {
            "mean": _numbers(rng.normal(0, 1, sizes[1])),
            "words": _words(rng.choice(WORDS, sizes[1], p=TILTED)),
        }
        for one in drift(now, before):
            alarmed[one.column] += one.alarm
            for measured in one.measures:
                truth = truths.get((one.column, measured.measure))
                if truth is not None:
                    held[one.column, measured.measure] += measured.low <= truth <= measured.high
    return [
        *(
            _row(sizes, f"95 % interval of {measure} holds the truth ({column})", count / rounds)
            for (column, measure), count in held.items()
        ),
        *(_row(sizes, f"alarmed ({column})", count / rounds) for column, count in alarmed.items()),
    ]


def _truths() -> dict[tuple[str, str], float]:
    """The true distances, by the same bins."""
    edges = special.ndtri(np.arange(1, BINS) / BINS)
    normal = np.full(BINS, 1 / BINS)
    moved = np.diff(np.concatenate([[0], special.ndtr(edges - SHIFT), [1]]))
    found: dict[tuple[str, str], float] = {}
    for column, q, r in (("mean", moved, normal), ("words", TILTED[::-1], TILTED)):
        middle = (q + r) / 2
        js = float((q * np.log2(q / middle) + r * np.log2(r / middle)).sum()) / 2
        found[column, "psi"] = float(((q - r) * np.log(q / r)).sum())
        found[column, "js"] = js**0.5
        found[column, "chi2"] = float(((q - r) ** 2 / (q + r)).sum() / 2) ** 0.5
    found["mean", "ks"] = float(2 * special.ndtr(SHIFT / 2) - 1)
    found["mean", "wasserstein"] = SHIFT
    return found


def _row(sizes: tuple[int, int], what: str, value: float) -> dict[str, object]:
    return {"current": sizes[0], "reference": sizes[1], "what": what, "value": round(value, 4)}


if __name__ == "__main__":
    main(sys.argv[1:])
