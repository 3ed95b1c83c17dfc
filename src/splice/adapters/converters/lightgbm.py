"""LightGBM's estimators, boosters and text files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from splice.adapters.converters import boosters
from splice.adapters.converters.apart import converted_apart
from splice.adapters.converters.graphs import tools
from splice.adapters.converters.originals import label_of, library_of, names_of
from splice.adapters.converters.sklearn import converted, splits_of
from splice.adapters.converters.tables import Table, numbers_only, table_of
from splice.core.errors import DeclarationError, ModelUnavailable
from splice.ports.converters import Converted

_RANGE = re.compile(r"\[([^:\]]+):([^:\]]+)\]")


class LightGBMConverter:
    """A FileConverter for LightGBM."""

    def can(self, estimator: Any) -> bool:
        """Whether it is an estimator or a booster of LightGBM."""
        return library_of(estimator) == "lightgbm"

    def read(self, file: Path) -> Any:
        """The booster in a text file, a format that runs no code."""
        lightgbm = tools("lightgbm")
        try:
            return lightgbm.Booster(model_str=file.read_text("utf-8"))
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError, ValueError) as error:
            raise ModelUnavailable(
                file.name, got=str(error)[:300], promised="a LightGBM model as text",
                mend="save it again with save_model()",
            ) from None  # fmt: skip

    def convert_file(self, file: Path, example: Any) -> list[Converted]:
        """What `convert` makes of a file, which is read in a process of its own."""
        return converted_apart("lightgbm", file, example)

    def convert(self, estimator: Any, example: Any) -> list[Converted]:
        """The file in single precision, and with its splits in double."""
        native = type(estimator).__name__ == "Booster"
        if not native and not estimator.__sklearn_is_fitted__():
            raise DeclarationError(
                label_of(estimator), got="an estimator that is not fitted",
                promised="a trained one", mend="call fit() first",
            )  # fmt: skip
        names = names_of(estimator)
        if example is None:
            table = _from_ranges(estimator if native else estimator.booster_, names)
        else:
            table = table_of(example, names)
        numbers_only(table, label_of(estimator))
        return (
            boosters.converted(_described(estimator), table)
            if native
            else converted(estimator, table)
        )


def _described(booster: Any) -> boosters.Booster:
    objective = str(booster.dump_model(num_iteration=1).get("objective", "")).split(" ")[0]
    classes = booster.num_model_per_iteration()
    convert = tools("onnxmltools").convert_lightgbm

    def to_onnx(original: Any, **keywords: Any) -> Any:
        return convert(original, zipmap=False, **keywords)

    return boosters.Booster(
        booster,
        classes if classes > 1 else 2 if objective in ("binary", "cross_entropy") else 0,
        booster.predict,
        to_onnx,
        splits_of(booster),
    )


def _from_ranges(booster: Any, names: tuple[str, ...]) -> Table:
    """Rows within the ranges that the booster itself knows from its training."""
    text = booster.model_to_string(num_iteration=1)
    line = next((one for one in text.splitlines() if one.startswith("feature_infos=")), "")
    draw = np.random.default_rng(20_260_702)
    columns: list[Any] = []
    for told in line.removeprefix("feature_infos=").split():
        if found := _RANGE.fullmatch(told):
            columns.append(draw.uniform(float(found[1]), float(found[2]), boosters.QUESTIONS))
        elif told == "none":
            columns.append(np.zeros(boosters.QUESTIONS))
        else:
            known = [float(one) for one in told.split(":")]
            columns.append(draw.choice(known, boosters.QUESTIONS))
    return table_of(np.column_stack(columns), names)
