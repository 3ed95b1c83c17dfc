"""Pickled estimators of scikit-learn's kind, in worker processes only.

Loading a pickle runs what stands in it: whoever can write the file can run code in the process that
loads it. So this runtime loads nothing anywhere but in a worker process of a pool.
"""

from __future__ import annotations

import importlib.util
import pickle
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from splice.adapters.tensors.answers import predictions
from splice.adapters.tensors.rows import way_in
from splice.adapters.tensors.timing import least_seconds
from splice.core.call import Prediction
from splice.core.errors import ModelMismatch, ModelUnavailable, RouteCrashed
from splice.core.release import Column, Signature

_WORKER = "splice.adapters.pools.worker"
_INPUT = "X"


class PickleRuntime:
    """A ModelRuntime for pickled estimators: what has `predict`, and perhaps `predict_proba`.

    Texts are not read: an estimator gets one matrix of numbers.
    """

    def inspect(self, file: Path) -> Signature:
        """What a file's estimator reads and gives. It is loaded for it."""
        return _signature(_estimator(file), (), file.name)

    def load(self, file: Path, features: Sequence[str] = (), *, threads: int = 1) -> PickledModel:
        """The estimator, warmed up. Its threads are those that the process was given."""
        estimator = _estimator(file)
        return PickledModel(estimator, _signature(estimator, features, file.name), file.name)


def _estimator(file: Path) -> Any:
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    if getattr(main, "name", "") != _WORKER:
        raise ModelUnavailable(
            file.name,
            got="a pickle, which runs code when it is loaded",
            promised="a worker process to load it in",
            mend="run it in a pool, or convert it to ONNX",
        )
    if not file.is_file():
        raise ModelUnavailable(file.name, got="no such file", mend="register the model again")
    try:
        estimator = _loaded(file)
    except Exception as error:  # noqa: BLE001 - a pickle runs whatever stands in it
        said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        raise ModelUnavailable(file.name, got=said, promised="a pickle that loads") from None
    if not callable(getattr(estimator, "predict", None)):
        raise ModelUnavailable(
            file.name,
            got=f"a pickled {type(estimator).__name__}",
            promised="one with predict()",
        )
    return estimator


def _loaded(file: Path) -> Any:
    with warnings.catch_warnings():
        # Of another version of its library: told as an error by what then fails, if anything does.
        warnings.simplefilter("ignore")
        if importlib.util.find_spec("joblib") is not None:  # it reads plain pickles too
            import joblib

            return cast("Any", joblib).load(file)
        with file.open("rb") as raw:
            return pickle.load(raw)  # noqa: S301 - in a worker process, by the operator's consent


def _signature(estimator: Any, features: Sequence[str], where: str) -> Signature:
    """What an estimator tells of itself; the features pinned come first."""
    own = tuple(str(one) for one in getattr(estimator, "feature_names_in_", ()))
    names = tuple(features) or own
    width = int(getattr(estimator, "n_features_in_", -1))
    if own and features and set(own) != set(features):
        told = f"those of its training: {', '.join(own)}"
        raise ModelMismatch(where, got=f"features {', '.join(features)}", promised=told)
    classes: Any = getattr(estimator, "classes_", ())
    known = isinstance(classes, np.ndarray) and cast("Any", classes).ndim == 1
    labels = tuple(str(one) for one in classes.tolist()) if known else ()
    chances = labels and hasattr(estimator, "predict_proba")
    outputs = [Column("label" if labels else "value", "BYTES" if labels else "FP64", (-1,))]
    if chances:
        outputs.append(Column("probabilities", "FP64", (-1, len(labels))))
    return Signature(
        inputs=(Column(_INPUT, "FP64", (-1, width)),),
        outputs=tuple(outputs),
        classes=labels,
        features=names,
    )


class PickledModel:
    """A LoadedModel: an estimator that was pickled."""

    def __init__(self, estimator: Any, signature: Signature, where: str) -> None:
        self._estimator = estimator
        self._signature = signature
        self._where = where
        self._way_in = way_in(signature, signature.features, where)
        # By the names of its training, whatever order the features were pinned in.
        own = [str(one) for one in getattr(estimator, "feature_names_in_", ())]
        self._order = [signature.features.index(one) for one in own] if own else None
        self._chances = bool(signature.classes) and hasattr(estimator, "predict_proba")
        self._row_seconds = self._warm_up()

    @property
    def signature(self) -> Signature:
        """What it reads and gives, as it tells itself."""
        return self._signature

    @property
    def row_seconds(self) -> float:
        """How long one row takes; the least of three runs after a first."""
        return self._row_seconds

    def _warm_up(self) -> float:
        width = self._signature.inputs[0].shape[1]
        row = np.zeros((1, max(width, 1)))
        return least_seconds(lambda: self._ask(row))

    def run(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """One prediction a row, in order, from one run of the estimator."""
        if not rows:
            return []
        matrix = self._way_in.feed(rows)[_INPUT]
        if self._order is not None:
            matrix = matrix[:, self._order]
        try:
            raw = self._ask(matrix)
        except Exception as error:  # noqa: BLE001 - an estimator is other people's code
            # Its text may quote a row: only the class is told.
            got = f"{type(error).__name__} of its {type(self._estimator).__name__}"
            raise RouteCrashed(self._where, got=got) from None
        return predictions(raw, len(rows), self._signature.classes, self._where)

    def _ask(self, matrix: Any) -> list[Any]:
        """What the estimator gives, as the outputs of a model: labels and chances, or values."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the matrix has no names: they stand in order
            told = np.asarray(self._estimator.predict(matrix))
            if not self._signature.classes:
                return [told]
            # As objects: classes that are floats are labels, not values.
            outputs: list[Any] = [told.astype(object)]
            if self._chances:
                chances = np.asarray(self._estimator.predict_proba(matrix), dtype=np.float64)
                outputs.append(chances)
            return outputs
