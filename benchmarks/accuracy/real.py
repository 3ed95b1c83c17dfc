"""Estimates before labels (CBPE) on real loans, beside what came true.

    python benchmarks/accuracy/real.py [--splits 200] [--json]

German credit (1,000 loans), split at random again and again: 300 loans train a logistic regression,
350 are the labelled past, and of the other 350 the figures are estimated from their chances alone.
Then the same with a past that was better than what came (concept drift): of the estimated loans,
half of those that were repaid are made to default.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from splice.core.tallies import Tally, count_call, count_label
from splice.core.truths import PinnedTruth, Task
from splice.monitor import cbpe
from splice.monitor.classes import binary_figures, bins_of

CREDIT = Path(__file__).parents[2] / "examples" / "credit"
TRUTH = PinnedTruth("defaulted", Task.CLASSIFICATION, 1.0, 1.0, positive=(True,))
TRAINED, PAST = 300, 350
DECLINE = 0.37  # as the example decides


def loans() -> tuple[Any, Any]:
    """Columns as numbers, one for each class; and whether the loan was not repaid."""
    sys.path.insert(0, str(CREDIT))
    try:
        read = importlib.import_module("data")
    finally:
        sys.path.remove(str(CREDIT))
        sys.modules.pop("data", None)
    rows = read.read()
    columns: list[Any] = []
    for column in read.COLUMNS:
        values = [row.fields[column.name] for row in rows]
        if hasattr(column, "values"):
            columns += [[float(one == name) for one in values] for name in column.values]
        else:
            numbers = np.array(values, dtype=float)
            columns.append(((numbers - numbers.mean()) / numbers.std()).tolist())
    return np.array(columns).T, np.array([row.defaulted for row in rows])


def split(features: Any, defaulted: Any, seed: int, worse: float = 0.0) -> list[dict[str, Any]]:
    """Of each figure: the estimate with its interval, and what came true."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(defaulted))
    train, past, now = order[:TRAINED], order[TRAINED : TRAINED + PAST], order[TRAINED + PAST :]
    model = LogisticRegression(C=0.1, max_iter=1000).fit(features[train], defaulted[train])
    chance = model.predict_proba(features)[:, 1]
    truth = defaulted.copy()
    truth[now] |= rng.random(len(now)) < worse
    labelled, asked, came = Tally(), Tally(), Tally()
    for i in past:
        s = float(chance[i])
        count_label(labelled, TRUTH, (s, s >= DECLINE), bool(truth[i]))
    for i in now:
        s = float(chance[i])
        count_call(asked, TRUTH, s, s >= DECLINE)
        count_label(came, TRUTH, (s, s >= DECLINE), bool(truth[i]))
    true = {one.name: one.value for one in binary_figures(came.cells)}
    found = cbpe.estimate(bins_of(labelled.cells), cbpe.unlabelled(asked.cells, {}))
    return [
        {"figure": one.name, "estimate": one.value, "low": one.low, "high": one.high,
         "came": true[one.name]}
        for one in found
        if one.value is not None and true[one.name] is not None
    ]  # fmt: skip


def summary(splits: int, worse: float = 0.0) -> list[dict[str, Any]]:
    """Of each figure over all splits: means, mean error, and how often the interval held it."""
    features, defaulted = loans()
    rows = [row for seed in range(splits) for row in split(features, defaulted, seed, worse)]
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(row["figure"] for row in rows):
        mine = [row for row in rows if row["figure"] == name]
        gaps = [row["estimate"] - row["came"] for row in mine]
        found.append({
            "figure": name,
            "estimate": float(np.mean([row["estimate"] for row in mine])),
            "came": float(np.mean([row["came"] for row in mine])),
            "error": float(np.mean(gaps)),
            "absolute": float(np.mean(np.abs(gaps))),
            "held": float(np.mean([row["low"] <= row["came"] <= row["high"] for row in mine])),
        })  # fmt: skip
    return found


def main() -> None:
    """Print a table, or a JSON row a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of the solver, which is good enough here
    for worse in (0.0, 0.5):
        for row in summary(given.splits, worse):
            if given.json:
                sys.stdout.write(json.dumps({"worse": worse, **row}) + "\n")
            else:
                sys.stdout.write(
                    f"{'concept drift' if worse else 'as before':14} {row['figure']:14} estimate "
                    f"{row['estimate']:.3f}  came {row['came']:.3f}  error {row['error']:+.3f} "
                    f"({row['absolute']:.3f})  held {row['held']:.3f}\n"
                )


if __name__ == "__main__":
    main()
