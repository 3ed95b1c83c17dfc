"""Train the document classifier: `python -m document_intake.train --out DIR` in `examples`.

Writes to DIR documents.onnx and report.json (every figure of the README). Everything that is chosen
is chosen on the training templates; the held-out templates are only measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, log_loss
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from document_intake import corpus, graph, rule

Floats = npt.NDArray[np.floating[Any]]
Strings = npt.NDArray[np.str_]

STRENGTHS: Final = (1.0, 3.0, 10.0, 30.0)
"""Inverse regularisation to choose from."""
WANTED_ACCURACY: Final = 0.98
"""Documents are accepted without a person only where this share is right, on training templates
that the model had not seen."""
LEAST_CHANCE: Final = 0.5
"""Below it the other classes together are likelier, however often it was right on made-up texts."""


def words(documents: Sequence[corpus.Document]) -> npt.NDArray[Any]:
    """The graph's input, shape (n,). Any: numpy has no narrower type for objects."""
    return np.array([one.text.lower() for one in documents], dtype=object)


def kinds(documents: Sequence[corpus.Document]) -> Strings:
    """The right classes, shape (n,)."""
    return np.array([one.kind for one in documents])


def vocabulary(documents: Sequence[corpus.Document]) -> list[str]:
    """The words that at least two templates have: others are names, or one template's own."""
    analyse = TfidfVectorizer(token_pattern=graph.WORD).build_analyzer()
    seen: dict[str, set[str]] = defaultdict(set)
    for one in documents:
        for word in set(analyse(one.text)):
            seen[word].add(one.template)
    return sorted(word for word, templates in seen.items() if len(templates) > 1)


# Any: scikit-learn ships no types.
def model(known: list[str], strength: float) -> Any:
    """The pipeline that is trained, and then written as a graph."""
    bag = TfidfVectorizer(token_pattern=graph.WORD, vocabulary=known)
    return make_pipeline(bag, LogisticRegression(C=strength, max_iter=2000))


def fit(documents: Sequence[corpus.Document]) -> tuple[Any, Floats]:
    """The pipeline with the best log loss on unseen templates, and its chances of those."""
    inputs, right, known = words(documents), kinds(documents), vocabulary(documents)
    groups = [one.template for one in documents]
    folds = StratifiedGroupKFold(5)
    tried: list[tuple[float, float, Floats]] = []
    for strength in STRENGTHS:
        unseen = np.asarray(
            cross_val_predict(
                model(known, strength), inputs, right,
                cv=folds, groups=groups, method="predict_proba",
            )
        )  # fmt: skip
        tried.append((float(log_loss(right, unseen)), strength, unseen))
    _, strength, unseen = min(tried, key=lambda found: found[0])
    return model(known, strength).fit(inputs, right), unseen


def sure_from(chances: Floats, right: Strings) -> float:
    """The lowest top chance, on a grid of 0.01, from which WANTED_ACCURACY of answers is right."""
    top, correct = chances.max(axis=1), np.array(corpus.CLASSES)[chances.argmax(axis=1)] == right
    for step in range(round(100 * LEAST_CHANCE), 100):
        chosen = top >= step / 100
        if chosen.any() and correct[chosen].mean() >= WANTED_ACCURACY:
            return step / 100
    return 1.0


def quality(
    chances: Floats, documents: Sequence[corpus.Document], threshold: float
) -> dict[str, object]:
    """How good chances over CLASSES are, by text and by template."""
    right = kinds(documents)
    correct = np.array(corpus.CLASSES)[chances.argmax(axis=1)] == right
    sure = chances.max(axis=1) >= threshold
    by_template: dict[str, list[bool]] = defaultdict(list)
    for one, good in zip(documents, correct, strict=True):
        by_template[one.template].append(bool(good))
    answers = np.array(corpus.CLASSES)[chances.argmax(axis=1)]
    return {
        "texts": len(right),
        "accuracy": round(float(correct.mean()), 4),
        "templates": len(by_template),
        "templates_mostly_right": sum(sum(good) * 2 > len(good) for good in by_template.values()),
        "log_loss": round(float(log_loss(right, chances)), 4),
        "sure": round(float(sure.mean()), 4),
        "accuracy_of_sure": round(float(correct[sure].mean()), 4) if sure.any() else None,
        "confusion_rows_are_right": confusion_matrix(
            right, answers, labels=list(corpus.CLASSES)
        ).tolist(),
    }


def rule_quality(documents: Sequence[corpus.Document]) -> dict[str, object]:
    """How many texts the rule answers, and how many of those answers are right."""
    answers = [(rule.kind_of(one.text.lower())[0], one.kind) for one in documents]
    answered = [found == right for found, right in answers if found is not None]
    return {
        "answered": round(len(answered) / len(answers), 4),
        "accuracy_of_answered": round(sum(answered) / len(answered), 4),
    }


def main(folder: Path) -> dict[str, object]:
    """Train, export, measure, write everything to `folder`; gives the report."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    known, unknown = corpus.split(corpus.templates())
    training, held_out = corpus.documents(known), corpus.documents(unknown)
    trained, unseen = fit(training)
    threshold = sure_from(unseen, kinds(training))

    bag, head = trained[0], trained[1]
    names = [str(name) for name in bag.get_feature_names_out()]
    path = folder / "documents.onnx"
    path.write_bytes(graph.build(graph.Trained(names, bag.idf_, head.coef_.T, head.intercept_)))
    session = ort.InferenceSession(str(path))

    def chances(texts: npt.NDArray[Any]) -> Floats:
        return np.asarray(session.run(None, {"words": texts})[0])

    of_file = chances(words(held_out))
    report: dict[str, object] = {
        "source": corpus.SOURCE,
        "licence": corpus.LICENCE,
        "classes": list(corpus.CLASSES),
        "words": len(names),
        "strength": head.C,
        "threshold": threshold,
        "training_cross_validated": quality(unseen, training, threshold),
        "held_out": quality(of_file, held_out, threshold),
        "held_out_rule": rule_quality(held_out),
        "export_bytes": path.stat().st_size,
        "export_parity": float(np.abs(of_file - trained.predict_proba(words(held_out))).max()),
        "seconds": round(time.perf_counter() - started, 2),
    }
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder to write to")
    print(json.dumps(main(parser.parse_args().out), indent=2))
