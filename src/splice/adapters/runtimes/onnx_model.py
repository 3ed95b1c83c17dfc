"""A model in ONNX, by onnxruntime."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime

from splice.adapters.tensors.answers import predictions
from splice.adapters.tensors.rows import DATATYPES, NUMPY, way_in
from splice.adapters.tensors.timing import least_seconds
from splice.core.call import Prediction
from splice.core.errors import ModelUnavailable, RouteCrashed
from splice.core.release import Column, Signature

# Its stubs leave most types out; everything that comes from it is checked where it is read.
ort: Any = onnxruntime
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def inspect(file: Path) -> Signature:
    """What a file's model reads and gives."""
    return _signature(_session(file, threads=1), file)


def load(file: Path, features: Sequence[str], threads: int) -> OnnxModel:
    """The model, warmed up. `features` names the columns of a single matrix input."""
    session = _session(file, threads)
    return OnnxModel(session, _signature(session, file), tuple(features), file.name)


def _session(file: Path, threads: int) -> Any:
    if not file.is_file():
        raise ModelUnavailable(file.name, got="no such file", mend="register the model again")
    try:
        return _open(file, threads, text_operators=False)
    except Exception as error:  # noqa: BLE001 - onnxruntime has a dozen unrelated error classes
        if "model_path must not be empty" in str(error) or "External data" in str(error):
            raise ModelUnavailable(
                file.name,
                got="a model whose weights are in files beside it",
                promised="one file",
                mend="save it with save_as_external_data=False",
            ) from None
        if "ai.onnx.contrib" not in str(error):
            raise ModelUnavailable(
                file.name,
                got=_first_line(error),
                promised="an ONNX model that onnxruntime can load",
                mend="export it again; a download may have been cut short",
            ) from None
    if importlib.util.find_spec("onnxruntime_extensions") is None:
        raise ModelUnavailable(
            file.name,
            got="text operators that onnxruntime alone does not have",
            mend="install splice-ai[text]",
        )
    try:
        return _open(file, threads, text_operators=True)
    except Exception as error:  # noqa: BLE001 - as above
        raise ModelUnavailable(file.name, got=_first_line(error)) from None


def _open(file: Path, threads: int, *, text_operators: bool) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # What is registered is one file. Weights in others would load today and not from the store;
    # left to itself, onnxruntime looks for them in the working folder.
    options.add_session_config_entry(_WEIGHTS_FOLDER, str(file.parent / "no such folder"))
    # A spinning thread pool takes a core from the event loop for nothing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if text_operators:
        from onnxruntime_extensions import get_library_path  # an optional dependency

        options.register_custom_ops_library(get_library_path())
    return ort.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def _signature(session: Any, file: Path) -> Signature:
    def column(node: Any) -> Column:
        datatype = DATATYPES.get(node.type, (node.type, None))[0]
        shape = tuple(d if isinstance(d, int) else -1 for d in (node.shape or ()))
        return Column(node.name, datatype, shape)

    inputs = tuple(column(node) for node in session.get_inputs())
    unread = [c for c in inputs if c.datatype not in NUMPY]
    if unread:
        raise ModelUnavailable(
            file.name,
            got=f"input {unread[0].name} of type {unread[0].datatype}",
            promised=f"tensors of {', '.join(NUMPY)}",
        )
    notes = cast("dict[str, str]", session.get_modelmeta().custom_metadata_map)

    def names(key: str) -> tuple[str, ...]:
        try:
            listed = json.loads(notes.get(key, "[]"))
        except ValueError:
            return ()
        if not isinstance(listed, list):
            return ()
        return tuple(str(one) for one in cast("list[Any]", listed))

    return Signature(
        inputs=inputs,
        outputs=tuple(column(node) for node in session.get_outputs()),
        classes=names("splice.classes"),
        features=names("splice.features"),
    )


class OnnxModel:
    """A LoadedModel: one onnxruntime session with its way in and its way out."""

    def __init__(
        self,
        session: Any,
        signature: Signature,
        features: tuple[str, ...],
        where: str,
    ) -> None:
        self._session = session
        self._signature = signature
        self._where = where
        self._way_in = way_in(signature, features or signature.features, where)
        # Exported for one row, as many networks are: concurrent calls cannot share a run.
        self._one_by_one = any(len(c.shape) > 1 and c.shape[0] == 1 for c in signature.inputs)
        self._classes = signature.classes
        self._row_seconds = self._warm_up()

    @property
    def signature(self) -> Signature:
        """What it reads and gives, as read from the file."""
        return self._signature

    @property
    def row_seconds(self) -> float:
        """How long one row takes; the least of three runs after a first."""
        return self._row_seconds

    def _warm_up(self) -> float:
        feed = {
            c.name: np.full(
                [1 if d < 0 else d for d in c.shape],
                "" if c.datatype == "BYTES" else 0,
                dtype=NUMPY[c.datatype],
            )
            for c in self._signature.inputs
        }
        return least_seconds(lambda: self._session.run(None, feed))

    def run(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """One prediction a row, in order, from one run of the model."""
        if not rows:
            return []
        if self._one_by_one and len(rows) > 1:
            return [self.run([row])[0] for row in rows]
        feed = self._way_in.feed(rows)
        try:
            raw = cast("list[Any]", self._session.run(None, feed))
        except Exception as error:  # noqa: BLE001 - onnxruntime has a dozen unrelated error classes
            raise RouteCrashed(self._where, got=_first_line(error)) from None
        return predictions(raw, len(rows), self._classes, self._where)
