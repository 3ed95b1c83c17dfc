"""A converter turns a trained estimator into an ONNX file, and says what the original answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import msgspec

from splice.core.call import Prediction


class Converted(msgspec.Struct, frozen=True):
    """An ONNX file, with questions and what the original answers to them.

    `questions` are rows as `context()` would give them; `answers` has one prediction each. Whoever
    registers the file puts the same questions to it.
    """

    model: bytes
    original: str  # `sklearn.linear_model.LogisticRegression 1.9.0`
    questions: tuple[dict[str, Any], ...]
    answers: tuple[Prediction, ...]
    precision: str = "FP32"  # what the file calculates with


class Converter(Protocol):
    """Converts the estimators of one library."""

    def can(self, estimator: Any) -> bool:
        """Whether it is an estimator of this library. Cheap, and never imports the library."""
        ...

    def convert(self, estimator: Any, example: Any) -> list[Converted]:
        """The file, in each precision that it can be written in; the cheapest first.

        Args:
            estimator: Fitted.
            example: Rows that it answers: a data frame, a matrix [N, F], or a list of dicts. None
                only where the estimator itself knows enough of its inputs.

        Raises:
            DeclarationError: It is not fitted, it has a part that no ONNX operator can do, or the
                example does not suit it.
        """
        ...


class FileConverter(Converter, Protocol):
    """A converter that also reads the library's own model files, where those run no code."""

    def convert_file(self, file: Path, example: Any) -> list[Converted]:
        """What `convert` makes of the estimator in a file.

        It is read in a process of its own: a damaged file may end that one, and never this.

        Raises:
            ModelUnavailable: It is damaged, or of another library.
            DeclarationError: As in `convert`.
        """
        ...
