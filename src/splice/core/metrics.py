"""The figures that a gate can measure: name, unit, direction and source."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["chance", "label", "number"]
"""What a figure compares: chances with what happened, labels with labels, numbers with numbers."""


class Metric(msgspec.Struct, frozen=True):
    """One figure of how good a model is."""

    name: str
    kind: Kind
    higher_is_better: bool
    unit: str
    meaning: str
    source: str


_ALL = (
    Metric(
        "auc", "chance", True, "share, 0.5 is a coin",
        "the chance that a row that happened is scored above one that did not; ties count half",
        "Hanley and McNeil, Radiology 143 (1982)",
    ),
    Metric(
        "average_precision", "chance", True, "share",
        "precision at each score, weighted by the recall that it adds",
        "Zhu, Recall, Precision and Average Precision (2004); as scikit-learn, not interpolated",
    ),
    Metric(
        "ks", "chance", True, "share",
        "the largest distance of the two distributions of scores",
        "Smirnov, Annals of Mathematical Statistics 19 (1948)",
    ),
    Metric(
        "brier", "chance", False, "squared share, 0 is perfect, 1 is worst",
        "mean squared gap between chance and what happened",
        "Brier, Monthly Weather Review 78 (1950); half of his sum over both classes",
    ),
    Metric(
        "log_loss", "chance", False, "nats",
        "mean negative logarithm of the chance of what happened; chances are cut at 2.2e-16",
        "Good, Journal of the Royal Statistical Society B 14 (1952)",
    ),
    Metric(
        "accuracy", "label", True, "share",
        "rows whose label is right", "",
    ),
    Metric(
        "f1", "label", True, "share",
        "harmonic mean of precision and recall of the second class; of more than two classes, "
        "the mean over them",
        "van Rijsbergen, Information Retrieval (1979)",
    ),
    Metric("mae", "number", False, "unit of the label", "mean absolute error", ""),
    Metric("rmse", "number", False, "unit of the label", "root of the mean squared error", ""),
    Metric(
        "r2", "number", True, "share, 0 is the mean of the labels, can be negative",
        "share of the labels' variance that is explained",
        "Wright, Journal of Agricultural Research 20 (1921)",
    ),
    Metric(
        "mape", "number", False, "share of the label",
        "mean absolute error as a share of the label; no label may be 0", "",
    ),
)  # fmt: skip

METRICS: dict[str, Metric] = {one.name: one for one in _ALL}
"""Every figure by name."""
