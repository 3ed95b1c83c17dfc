"""Attributions: which feature of one call added how much to its answer, as Shapley values.

Needs splice-ai[explain], which takes seconds to import and some 300 MB: it runs in a process of its
own, never in one that answers calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from splice.core.call import Prediction
from splice.core.explanations import Attribution, Attributions
from splice.core.units import plural

MOST_FEATURES = 200
_SAMPLES, _EXACT_UP_TO = 2048, 11
_LONGEST = 120

Row = Mapping[str, Any]  # features are of whatever types the model reads
Run = Callable[[Sequence[Row]], Sequence[Prediction]]


def attributions(
    run: Run, features: Sequence[str], row: Row, background: Sequence[Row]
) -> Attributions:
    """What each feature adds to the answer to a row.

    A feature is taken away by putting in what other calls had. Where there are few, all of their
    combinations are asked; else 2,048 of them and twice as many as there are features, always the
    same ones (KernelSHAP; Lundberg and Lee, "A unified approach to interpreting model predictions",
    2017).

    Args:
        run: The model.
        features: What it reads.
        row: What it was asked.
        background: What it was asked by other calls.
    """
    import numpy as np
    import shap  # pyright: ignore[reportMissingTypeStubs]

    began = time.monotonic()
    answer = run([row])[0]
    number, of = _number_of(answer)
    if number is None:
        return Attributions(why="its answer is no number, and it gives no probability")
    if not features or len(features) > MOST_FEATURES:
        return Attributions(why=f"it reads {plural(len(features), 'feature')}")
    known = [[one.get(name) for one in (row, *background)] for name in features]

    def ask(codes: Any) -> Any:  # a matrix: of each feature, whose value it has
        rows = [
            {name: known[at][int(line[at])] for at, name in enumerate(features)} for line in codes
        ]
        return np.array([number(one) for one in run(rows)], dtype=np.float64)

    # Equal values have equal codes, for what does not differ adds nothing and need not be asked.
    codes = np.array([[_first(values, at) for values in known] for at in range(len(known[0]))])
    np.random.seed(7)
    module = cast("Any", shap)
    explainer = module.KernelExplainer(ask, codes[1:].astype(float))
    count = len(features)
    samples = 2**count if count <= _EXACT_UP_TO else 2 * count + _SAMPLES
    adds = explainer.shap_values(
        codes[:1].astype(float), nsamples=samples, silent=True, l1_reg=False
    )
    parts = [
        Attribution(name, _word(row.get(name)), float(value))
        for name, value in zip(features, np.asarray(adds).reshape(-1), strict=True)
    ]
    parts.sort(key=lambda one: (-abs(one.adds), one.feature))
    return Attributions(
        of=of, base=float(np.asarray(explainer.expected_value).reshape(-1)[0]),
        answer=number(answer), parts=tuple(parts), background=len(background),
        by=f"shap {module.__version__}", took_s=time.monotonic() - began,
    )  # fmt: skip


def _number_of(answer: Prediction) -> tuple[Callable[[Prediction], float] | None, str]:
    """What of an answer is explained, and what that is called."""
    if answer.scores and len(answer.scores) > 2 and str(answer.value) in answer.scores:
        label = str(answer.value)
        return lambda one: (one.scores or {}).get(label, 0.0), f"score of {label}"
    if answer.score is not None:
        return lambda one: one.score or 0.0, "score"
    if isinstance(answer.value, (int, float)) and not isinstance(answer.value, bool):
        return lambda one: float(one.value), "value"
    return None, ""


def recorded_number(answer: Any, of: str) -> float | None:  # JSON of a prediction
    """The same of a recorded prediction; None where it is not there."""
    try:
        found = msgspec.convert(answer, Prediction)
    except msgspec.ValidationError:
        return None
    number, called = _number_of(found)
    return None if number is None or called != of else number(found)


def _first(values: Sequence[Any], at: int) -> int:
    mine = values[at]
    return next(
        place
        for place, one in enumerate(values)
        if (type(one) is type(mine) and one == mine) or place == at
    )


def _word(value: Any) -> str:
    if value is None:
        return "missing"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
