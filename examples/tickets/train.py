"""Train the ticket model: `python examples/tickets/train.py --out DIR`, about ten seconds.

Writes to DIR: tickets.onnx, heldout.jsonl (requests without the answer), outcomes.jsonl (the
answers), schema.json (what each field may hold) and report.json (every figure of the README).
Everything that is chosen is chosen on the training part; the held-out part is only measured.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import data
import graph
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import rule
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

Floats = npt.NDArray[np.floating[Any]]
Strings = npt.NDArray[np.str_]

STRENGTHS: Final = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Inverse regularisation of the head to choose from; vectors of length 1 need large ones.

The largest wins, and 1000 would by a little more; we stop here because a head that is ever surer on
180 made-up texts is too sure on real ones.
"""
WANTED_ACCURACY: Final = 0.95
"""Tickets are routed without a person only where this share is right, on the training part."""


def texts(tickets: Sequence[data.Ticket]) -> npt.NDArray[Any]:
    """The graph's input `text`, shape (n,). Any: numpy has no narrower type for objects."""
    return np.array([ticket.text for ticket in tickets], dtype=object)


def queues(tickets: Sequence[data.Ticket]) -> Strings:
    """The right queues, shape (n,)."""
    return np.array([ticket.queue for ticket in tickets])


# Any: scikit-learn ships no types.
def unseen_chances(model: Any, inputs: npt.NDArray[Any], right: Strings) -> Floats:
    """Chances of the training rows from folds that had not seen them, shape (n, 4)."""
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return np.asarray(cross_val_predict(model, inputs, right, cv=folds, method="predict_proba"))


# Any: as above.
def fit(vectors: Floats, right: Strings) -> tuple[Any, Floats]:
    """The fitted head with the best cross-validated log loss, and its unseen chances."""
    tried: list[tuple[float, float, Floats]] = []
    for strength in STRENGTHS:
        chances = unseen_chances(LogisticRegression(C=strength, max_iter=2000), vectors, right)
        tried.append((float(log_loss(right, chances)), strength, chances))
    _, strength, chances = min(tried, key=lambda found: found[0])
    return LogisticRegression(C=strength, max_iter=2000).fit(vectors, right), chances


def confidence_threshold(chances: Floats, right: Strings) -> float:
    """The lowest top chance, on a grid of 0.01, from which WANTED_ACCURACY of answers is right."""
    top, correct = chances.max(axis=1), np.array(data.QUEUES)[chances.argmax(axis=1)] == right
    for step in range(25, 100):
        chosen = top >= step / 100
        if chosen.any() and correct[chosen].mean() >= WANTED_ACCURACY:
            return step / 100
    return 1.0


def wilson(right: int, total: int) -> list[float]:
    """95 % score interval of a share, two numbers.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
    Journal of the American Statistical Association 22 (1927).
    """
    z, share = 1.959964, right / total
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return [round((middle - half) / scale, 4), round((middle + half) / scale, 4)]


def quality(chances: Floats, right: Strings, threshold: float) -> dict[str, object]:
    """How good chances over QUEUES are, and what sending the sure ones straight on gives."""
    answers = np.array(data.QUEUES)[chances.argmax(axis=1)]
    correct, sure = answers == right, chances.max(axis=1) >= threshold
    return {
        "rows": len(right),
        "accuracy": round(float(correct.mean()), 4),
        "accuracy_95": wilson(int(correct.sum()), len(right)),
        "log_loss": round(float(log_loss(right, chances)), 4),
        "routed_without_a_person": round(float(sure.mean()), 4),
        "accuracy_of_routed": round(float(correct[sure].mean()), 4) if sure.any() else None,
        "confusion_rows_are_right": confusion_matrix(
            right, answers, labels=list(data.QUEUES)
        ).tolist(),
    }


def rule_quality(tickets: Sequence[data.Ticket]) -> dict[str, object]:
    """How many tickets the rule answers, and how many of those answers are right."""
    answers = [(rule.queue_of(ticket.text), ticket.queue) for ticket in tickets]
    answered = [(found, right) for found, right in answers if found is not None]
    correct = sum(found == right for found, right in answered)
    return {
        "routed_without_a_person": round(len(answered) / len(answers), 4),
        "accuracy_of_routed": round(correct / len(answered), 4),
        "accuracy_of_routed_95": wilson(correct, len(answered)),
    }


def milliseconds(work: Callable[[], object], repeats: int = 15) -> float:
    """Median time of one call in milliseconds, after five calls to warm up."""
    times: list[float] = []
    for _ in range(repeats + 5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(1000 * sorted(times[5:])[repeats // 2], 2)


def measure_export(path: Path, inputs: npt.NDArray[Any], reference: Floats) -> dict[str, object]:
    """Gap to the original model, gap between batch and single, size and times."""
    start = time.perf_counter()
    session = graph.open_session(str(path))
    load = time.perf_counter() - start
    all_cores = graph.open_session(str(path), threads=0)

    def chances(rows: npt.NDArray[Any], used: ort.InferenceSession = session) -> Floats:
        return np.asarray(used.run(["probabilities"], {"text": rows})[0])

    together = chances(inputs)
    alone = np.vstack([chances(inputs[i : i + 1]) for i in range(len(inputs))])
    return {
        "bytes": path.stat().st_size,
        "load_seconds": round(load, 2),
        "parity_max_abs_difference": float(np.abs(together - reference).max()),
        "batch_minus_single_max_abs": float(np.abs(together - alone).max()),
        "milliseconds_batch_1": milliseconds(lambda: chances(inputs[:1])),
        "milliseconds_batch_32": milliseconds(lambda: chances(inputs[:32])),
        "milliseconds_batch_1_all_cores": milliseconds(lambda: chances(inputs[:1], all_cores)),
        "milliseconds_batch_32_all_cores": milliseconds(lambda: chances(inputs[:32], all_cores)),
    }


def write_rows(folder: Path, held_out: Sequence[data.Ticket]) -> None:
    """Write heldout.jsonl, outcomes.jsonl and schema.json."""
    with (folder / "heldout.jsonl").open("w", encoding="utf-8") as file:
        for t in held_out:
            file.write(json.dumps({"ticket": t.id, "text": t.text}, ensure_ascii=False) + "\n")
    with (folder / "outcomes.jsonl").open("w", encoding="utf-8") as file:
        for t in held_out:
            file.write(json.dumps({"ticket": t.id, "queue": t.queue}) + "\n")
    (folder / "schema.json").write_text(json.dumps(data.validation(), indent=2) + "\n")


def main(folder: Path) -> dict[str, object]:
    """Train, export, measure, write everything to `folder`; gives the report."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    training, held_out = data.split(data.read())
    right = queues(training)
    encoder = graph.open_session(graph.build().SerializeToString())
    vectors = np.asarray(encoder.run(["vector"], {"text": texts(training)})[0])
    classifier, unseen = fit(vectors, right)
    threshold = confidence_threshold(unseen, right)

    path = folder / "tickets.onnx"
    head = graph.Head(classifier.coef_.T, classifier.intercept_)
    path.write_bytes(graph.build(head).SerializeToString(deterministic=True))
    write_rows(folder, held_out)

    held_out_vectors = np.asarray(encoder.run(["vector"], {"text": texts(held_out)})[0])
    reference = classifier.predict_proba(held_out_vectors)
    words = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=30.0)
    ).fit(texts(training), right)
    report: dict[str, object] = {
        "source": data.SOURCE,
        "licence": data.LICENCE,
        "classes": list(data.QUEUES),
        "head_strength": classifier.C,
        "threshold": threshold,
        "training_cross_validated": quality(unseen, right, threshold),
        "held_out": quality(reference, queues(held_out), threshold),
        "held_out_by_words_alone": quality(
            words.predict_proba(texts(held_out)), queues(held_out), threshold
        ),
        "held_out_rule": rule_quality(held_out),
        "export": measure_export(path, texts(held_out), reference),
        "seconds": round(time.perf_counter() - started, 2),
    }
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder to write to")
    print(json.dumps(main(parser.parse_args().out), indent=2))
