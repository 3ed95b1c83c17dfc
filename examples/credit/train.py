"""Train the credit model: `python examples/credit/train.py --out DIR`, about five seconds.

Writes to DIR: credit.onnx, heldout.jsonl (requests without the answer), outcomes.jsonl (the
answers), schema.json (what each field may hold) and report.json (every figure of the README).
Everything that is chosen is chosen on the training part; the held-out part is only measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import data
import graph
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import policy
import rule
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

REPEATS: Final = 5
FOLDS: Final = 5
AGE_BANDS: Final = ((19, 25), (26, 39), (40, 59), (60, 75))


# Any: scikit-learn ships no types.
def new_trees() -> Any:
    """Unfitted boosted trees.

    Chosen from eight settings by five-fold cross-validation on the training part: best Brier
    score (0.166; the others 0.167 to 0.169, so the choice matters little).
    """
    return GradientBoostingClassifier(
        n_estimators=200,
        learning_rate=0.03,
        max_depth=3,
        min_samples_leaf=10,
        subsample=0.6,
        max_features=4,
        random_state=0,
    )


def sigmoid(log_odds: Floats) -> Floats:
    """Chances in (0, 1) for log-odds, shape kept."""
    return 1 / (1 + np.exp(-log_odds))


@dataclass(frozen=True, slots=True)
class CreditModel:
    """Trees over `graph.codes` with a calibration in two numbers."""

    trees: Any
    slope: float
    intercept: float
    unseen: Floats
    """Calibrated chances of the training rows from trees that had not seen them, shape (n,)."""

    def chances(self, applications: Sequence[data.Application]) -> Floats:
        """Calibrated chance of default in [0, 1], shape (n,), in double precision."""
        log_odds = self.trees.decision_function(graph.codes(applications))
        return sigmoid(self.slope * log_odds + self.intercept)


def outcomes(applications: Sequence[data.Application]) -> Bools:
    """Whether each applicant defaulted, shape (n,)."""
    return np.array([application.defaulted for application in applications])


def fit(applications: Sequence[data.Application]) -> CreditModel:
    """The model, fitted and calibrated (Platt scaling on cross-validated log-odds)."""
    codes, defaulted = graph.codes(applications), outcomes(applications)
    unseen = np.zeros(len(applications))
    for seed in range(REPEATS):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        for inside, outside in folds.split(codes, defaulted):
            trees = new_trees().fit(codes[inside], defaulted[inside])
            unseen[outside] += trees.decision_function(codes[outside]) / REPEATS
    platt = LogisticRegression(C=1e6).fit(unseen[:, None], defaulted)
    slope, intercept = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    return CreditModel(
        trees=new_trees().fit(codes, defaulted),
        slope=slope,
        intercept=intercept,
        unseen=sigmoid(slope * unseen + intercept),
    )


def open_session(path: Path) -> ort.InferenceSession:
    """The exported model, on one thread: the graph is too small to gain from more."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def microseconds(work: Callable[[], object], repeats: int = 300) -> float:
    """Median time of one call in microseconds, after ten calls to warm up."""
    times: list[float] = []
    for _ in range(repeats + 10):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(1e6 * sorted(times[10:])[repeats // 2], 1)


def auc_interval(chances: Floats, defaulted: Bools, draws: int = 1000) -> list[float]:
    """95 % interval of the AUC by bootstrap over rows, two numbers."""
    draw = np.random.default_rng(0)
    found: list[float] = []
    while len(found) < draws:
        rows = draw.integers(0, len(defaulted), len(defaulted))
        if 0 < defaulted[rows].sum() < len(rows):
            found.append(float(roc_auc_score(defaulted[rows], chances[rows])))
    return [round(float(x), 4) for x in np.quantile(found, [0.025, 0.975])]


def quality(chances: Floats, defaulted: Bools, thresholds: policy.Thresholds) -> dict[str, object]:
    """How good chances of default are, and what deciding by them costs."""
    actions: list[policy.Action] = [thresholds.action(float(p)) for p in chances]
    two_way = [policy.Thresholds(1 / 6, 1 / 6).action(float(p)) for p in chances]
    wrong = [5 * d if a == "approve" else 1 - d for a, d in zip(two_way, defaulted, strict=True)]
    return {
        "auc": round(float(roc_auc_score(defaulted, chances)), 4),
        "auc_95": auc_interval(chances, defaulted),
        "brier": round(float(brier_score_loss(defaulted, chances)), 4),
        "log_loss": round(float(log_loss(defaulted, chances)), 4),
        "mean_probability": round(float(chances.mean()), 4),
        "accuracy_at_half": round(float(((chances >= 0.5) == defaulted).mean()), 4),
        "decisions": policy.summary(actions, list(defaulted)),
        "statlog_cost_5_to_1_without_review": round(float(np.mean(wrong)), 4),
    }


def by_age(
    applications: Sequence[data.Application], chances: Floats, thresholds: policy.Thresholds
) -> dict[str, dict[str, float]]:
    """Per age band: rows, share that defaulted, mean chance and share approved."""
    groups: dict[str, dict[str, float]] = {}
    for low, high in AGE_BANDS:
        rows = [i for i, a in enumerate(applications) if low <= a.age <= high]
        actions = [thresholds.action(chances[i]) for i in rows]
        groups[f"{low} to {high}"] = {
            "rows": len(rows),
            "defaulted": round(float(outcomes([applications[i] for i in rows]).mean()), 3),
            "mean_probability": round(float(chances[rows].mean()), 3),
            "approved": round(actions.count("approve") / len(rows), 3),
            "declined": round(actions.count("decline") / len(rows), 3),
        }
    return groups


def export(model: CreditModel, thresholds: policy.Thresholds, folder: Path) -> Path:
    """Write credit.onnx and schema.json; give the path of the first."""
    path = folder / "credit.onnx"
    proto = graph.build(
        model.trees, model.slope, model.intercept, {"thresholds": asdict(thresholds)}
    )
    path.write_bytes(proto.SerializeToString(deterministic=True))
    (folder / "schema.json").write_text(json.dumps(data.validation(), indent=2) + "\n")
    return path


def measure_export(
    session: ort.InferenceSession, held_out: Sequence[data.Application], chances: Floats
) -> dict[str, float]:
    """Largest gap to the original model on held-out, and median times of the exported one."""
    feeds = graph.feeds([a.fields for a in held_out])
    exported = np.asarray(session.run(["probabilities"], feeds)[0])[:, 1]
    one = {name: column[:1] for name, column in feeds.items()}
    many = {name: column[:32] for name, column in feeds.items()}
    return {
        "parity_max_abs_difference": float(np.abs(exported - chances).max()),
        "microseconds_batch_1": microseconds(lambda: session.run(None, one)),
        "microseconds_batch_32": microseconds(lambda: session.run(None, many)),
    }


def write_rows(folder: Path, held_out: Sequence[data.Application]) -> None:
    """Write heldout.jsonl and outcomes.jsonl, one object a line, in the same order."""
    with (folder / "heldout.jsonl").open("w") as file:
        for a in held_out:
            file.write(json.dumps({"applicant": a.applicant, **a.fields}) + "\n")
    with (folder / "outcomes.jsonl").open("w") as file:
        for a in held_out:
            told = {"applicant": a.applicant, "defaulted": a.defaulted, "age_band": age_band(a.age)}
            file.write(json.dumps(told) + "\n")


def age_band(age: int) -> str:
    """The band of an age, for figures by group."""
    return next(f"{low} to {high}" for low, high in AGE_BANDS if low <= age <= high)


def main(folder: Path, rows: int | None = None) -> dict[str, object]:
    """Train (on the first `rows`, or all), export, measure, write to `folder`; the report."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    training, held_out = data.split(data.read())
    training = training[:rows]
    model = fit(training)
    thresholds = policy.choose(list(model.unseen), [a.defaulted for a in training])
    path = export(model, thresholds, folder)
    write_rows(folder, held_out)

    chances, happened = model.chances(held_out), outcomes(held_out)
    ruled = np.array([rule.default_probability(a.fields) for a in held_out])
    always = {action: policy.constant_cost(action, list(happened)) for action in policy.ACTIONS}
    report: dict[str, object] = {
        "source": data.SOURCE,
        "licence": data.LICENCE,
        "rows": {"training": len(training), "held_out": len(held_out)},
        "defaulted": {"training": outcomes(training).mean(), "held_out": happened.mean()},
        "thresholds": asdict(thresholds),
        "calibration": {"slope": model.slope, "intercept": model.intercept},
        "costs_eur": policy.stated(),
        "training_cross_validated": quality(model.unseen, outcomes(training), thresholds),
        "held_out_model": quality(chances, happened, thresholds),
        "held_out_rule": quality(ruled, happened, thresholds),
        "held_out_cost_eur_of_always": always,
        "held_out_by_age": by_age(held_out, chances, thresholds),
        "export": {
            "bytes": path.stat().st_size,
            **measure_export(open_session(path), held_out, chances),
        },
        "seconds": round(time.perf_counter() - started, 2),
    }
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder to write to")
    parser.add_argument("--rows", type=int, help="train on the first of them only")
    options = parser.parse_args()
    print(json.dumps(main(options.out, options.rows), indent=2))
