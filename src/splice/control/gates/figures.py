"""Metrics with weights: each row counts as often as a resample drew it, all resamples at once.

Every function takes `weights` of shape (resamples, n), the truth and what was said of shape (n,),
and gives one figure a resample; NaN where a resample cannot tell it (one class only).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from splice.control.gates.sample import CannotTell

Floats = npt.NDArray[np.float64]
Weighted = Callable[[Floats, Any, Any], Floats]

_EPSILON = float(np.finfo(np.float64).eps)


def _steps(weights: Floats, happened: Floats, chance: Floats) -> tuple[Floats, Floats]:
    """Weight of what happened and of what did not at each score, from the lowest to the highest."""
    order = np.argsort(chance, kind="stable")
    ordered = chance[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    yes = weights[:, order] * happened[order]
    no = weights[:, order] * (1 - happened[order])
    return np.add.reduceat(yes, starts, axis=1), np.add.reduceat(no, starts, axis=1)


def _auc(weights: Floats, happened: Floats, chance: Floats) -> Floats:
    yes, no = _steps(weights, happened, chance)
    below = np.cumsum(no, axis=1) - no
    return np.sum(yes * (below + no / 2), axis=1) / (yes.sum(axis=1) * no.sum(axis=1))


def _average_precision(weights: Floats, happened: Floats, chance: Floats) -> Floats:
    yes, no = (side[:, ::-1] for side in _steps(weights, happened, chance))
    found = np.cumsum(yes, axis=1)
    precision = found / np.maximum(found + np.cumsum(no, axis=1), _EPSILON)
    return np.sum(yes * precision, axis=1) / yes.sum(axis=1)


def _ks(weights: Floats, happened: Floats, chance: Floats) -> Floats:
    yes, no = (np.cumsum(side, axis=1) for side in _steps(weights, happened, chance))
    return np.max(np.abs(yes / yes[:, -1:] - no / no[:, -1:]), axis=1)


def _mean(weights: Floats, of: Floats) -> Floats:
    return weights @ of / weights.sum(axis=1)


def _brier(weights: Floats, happened: Floats, chance: Floats) -> Floats:
    return _mean(weights, (chance - happened) ** 2)


def _log_loss(weights: Floats, happened: Floats, chance: Floats) -> Floats:
    cut = np.clip(chance, _EPSILON, 1 - _EPSILON)
    return _mean(weights, -(happened * np.log(cut) + (1 - happened) * np.log(1 - cut)))


def _accuracy(weights: Floats, truth: Any, said: Any) -> Floats:
    return _mean(weights, np.asarray(truth == said, dtype=np.float64))


def _f1_of(weights: Floats, truth: Any, said: Any, name: Any) -> Floats:
    hit = weights @ np.asarray((truth == name) & (said == name), dtype=np.float64)
    both = weights @ (np.asarray(truth == name, float) + np.asarray(said == name, float))
    return np.divide(2 * hit, both, out=np.zeros_like(hit), where=both > 0)


def _f1(weights: Floats, truth: Any, said: Any) -> Floats:
    if truth.dtype.kind == "f":
        return _f1_of(weights, truth, said, 1.0)
    names = np.unique(np.concatenate([truth, said]))
    return np.mean([_f1_of(weights, truth, said, name) for name in names], axis=0)


def _mae(weights: Floats, truth: Floats, said: Floats) -> Floats:
    return _mean(weights, np.abs(truth - said))


def _rmse(weights: Floats, truth: Floats, said: Floats) -> Floats:
    return np.sqrt(_mean(weights, (truth - said) ** 2))


def _r2(weights: Floats, truth: Floats, said: Floats) -> Floats:
    left = weights @ (truth - said) ** 2
    spread = weights @ truth**2 - (weights @ truth) ** 2 / weights.sum(axis=1)
    return 1 - left / np.where(spread > _EPSILON, spread, np.nan)


def _mape(weights: Floats, truth: Floats, said: Floats) -> Floats:
    if np.any(truth == 0):
        raise CannotTell("a label is 0, of which no error is a share")
    return _mean(weights, np.abs((truth - said) / truth))


WEIGHTED: dict[str, Weighted] = {
    "auc": _auc,
    "average_precision": _average_precision,
    "ks": _ks,
    "brier": _brier,
    "log_loss": _log_loss,
    "accuracy": _accuracy,
    "f1": _f1,
    "mae": _mae,
    "rmse": _rmse,
    "r2": _r2,
    "mape": _mape,
}
"""By the names of `splice.core.metrics`."""
