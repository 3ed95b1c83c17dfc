"""What a pool and its worker processes say to each other: msgpack in frames, bounded and typed.

The parent trusts nothing that comes back: it may be the model that writes. Whatever is not of these
types, or larger than `MOST`, ends the process that sent it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import msgspec

from splice.adapters.child.frames import LENGTH, framed
from splice.core.call import Prediction
from splice.core.errors import (
    BadAnswer,
    ModelMismatch,
    ModelUnavailable,
    RouteCrashed,
    RouteError,
)
from splice.core.release import Signature

MOST = 128 * 1024 * 1024
"""Bytes of one frame, at most: 64 rows of half a million floats fit."""

_TEXT = 300  # characters of an error's parts that are taken over
_FAULTS = {
    one.code: one for one in (BadAnswer, ModelMismatch, ModelUnavailable, RouteCrashed)
}  # what a runtime may raise; anything else is a crash


class Load(msgspec.Struct, frozen=True):
    """The first frame to a process: the model, and how to behave."""

    parent: int
    file: str
    sha256: str
    form: str  # name of an entry point in `splice.runtimes`
    label: str
    features: tuple[str, ...]
    threads: int
    path: tuple[str, ...] = ()  # folders that it imports from, after Python's own
    memory_mb: int | None = None


class Fault(msgspec.Struct, array_like=True):
    """An error as it travels."""

    code: str
    where: str
    got: str = ""
    promised: str = ""
    mend: str = ""


class Loaded(msgspec.Struct):
    """The answer to it. `confined` names what is in force, `fault` says why there is no model."""

    signature: Signature | None = None
    row_seconds: float = 0.0
    confined: tuple[str, ...] = ()
    fault: Fault | None = None


class Row(msgspec.Struct, array_like=True):
    """What one row got: a prediction, or why there is none."""

    prediction: Prediction | None = None
    fault: Fault | None = None


def _no_extensions(code: int, _: memoryview) -> Any:
    raise ValueError(f"an extension of type {code}")


class _Scalar(Protocol):
    def tolist(self) -> Any: ...


def _plain(value: Any) -> Any:
    """Numpy's scalars and arrays, out of a feature store, as plain values."""
    if hasattr(value, "tolist"):
        return cast("_Scalar", value).tolist()
    raise TypeError(type(value).__name__)


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_rows = msgspec.msgpack.Decoder(list[dict[str, Any]], ext_hook=_no_extensions)
_answers = msgspec.msgpack.Decoder(list[Row], ext_hook=_no_extensions)
_loaded = msgspec.msgpack.Decoder(Loaded, ext_hook=_no_extensions)
load_decoder = msgspec.msgpack.Decoder(Load)


def frame_of(message: Any) -> bytes:
    """A message as it is sent.

    Raises:
        TypeError, OverflowError, ValueError, RecursionError: It holds what cannot be sent.
    """
    return framed(_encoder.encode(message))


def rows_of(body: bytes) -> list[dict[str, Any]]:
    """The rows of a run."""
    return _rows.decode(body)


def loaded_of(body: bytes | memoryview) -> Loaded:
    """What a process says of its model.

    Raises:
        msgspec.DecodeError: It is nothing of the kind.
    """
    return _loaded.decode(body)


def answers_of(body: bytes | memoryview, count: int, label: str) -> list[Prediction | RouteError]:
    """What a run gave, one result a row, each looked at again.

    Raises:
        msgspec.DecodeError, ValueError, RecursionError: It is no answer to so many rows.
    """
    rows = _answers.decode(body)
    if len(rows) != count:
        raise ValueError(f"{len(rows)} answers to {count} rows")
    return [_result(row, label) for row in rows]


def _result(row: Row, label: str) -> Prediction | RouteError:
    if row.fault is not None:
        return error_of(row.fault)
    prediction = row.prediction
    if prediction is None:
        return BadAnswer(label, got="nothing", promised="a prediction")
    # Runtimes refuse these themselves; what a process says is not taken on trust.
    if not (_finite(prediction.value) and _finite(prediction.score)):
        return BadAnswer(label, got="NaN or an infinity", promised="finite numbers")
    scores = prediction.scores
    if scores is not None and not all(map(math.isfinite, scores.values())):
        return BadAnswer(label, got="NaN or an infinity", promised="finite numbers")
    return prediction


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list):
        return all(map(_finite, cast("list[Any]", value)))
    return not isinstance(value, dict) or all(map(_finite, cast("dict[Any, Any]", value).values()))


def fault_of(error: BaseException, label: str) -> Fault:
    """An error of a runtime, or of the model's own code, to be sent.

    Of a stranger only its class is told: its text may quote a row.
    """
    if isinstance(error, RouteError):
        known = error.code if error.code in _FAULTS else RouteCrashed.code
        return Fault(known, error.where, error.got, error.promised, error.mend)
    return Fault(RouteCrashed.code, label, type(error).__name__)


def error_of(fault: Fault) -> RouteError:
    """The error that was sent."""
    kind = _FAULTS.get(fault.code, RouteCrashed)
    where, got, promised, mend = (
        text[:_TEXT] for text in (fault.where, fault.got, fault.promised, fault.mend)
    )
    return kind(where, got=got, promised=promised, mend=mend)


class Sent(msgspec.Struct):
    """A run ready to be sent: the frame, and what each row that cannot be sent gets instead."""

    frame: bytes
    count: int  # rows in the frame
    refused: dict[int, RouteError] = {}

    def whole(self, results: Sequence[Prediction | RouteError]) -> list[Prediction | RouteError]:
        """The results of what was sent, and between them what was not."""
        if not self.refused:
            return list(results)
        sent = iter(results)
        places = range(self.count + len(self.refused))
        return [self.refused[i] if i in self.refused else next(sent) for i in places]


def run_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str] | None, label: str) -> Sent:
    """Rows as a run. Only what the model reads is sent; `names` are None while that is unknown."""
    cut = [_cut(row, names) for row in rows]
    try:
        return Sent(frame_of(cut), len(cut))
    except (TypeError, OverflowError, ValueError, RecursionError):
        good: list[dict[str, Any]] = []
        refused: dict[int, RouteError] = {}
        for i, row in enumerate(cut):
            unfit = _unfit(row, label)
            if unfit is None:
                good.append(row)
            else:
                refused[i] = unfit
        return Sent(frame_of(good), len(good), refused)


def _cut(row: Mapping[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    return dict(row) if names is None else {name: row[name] for name in names if name in row}


def _unfit(row: dict[str, Any], label: str) -> ModelMismatch | None:
    for name, value in row.items():
        try:
            _encoder.encode(value)
        except (TypeError, OverflowError, ValueError, RecursionError):
            return ModelMismatch(
                f"{label}.{name}",
                got=f"{type(value).__name__} that no worker process can be sent",
                promised="numbers of 64 bits, texts, booleans, or lists of them",
            )
    return None


def body_in(buffer: bytearray) -> memoryview | None:
    """The body of the one frame that a process may have sent; None while it is not whole.

    Raises:
        ValueError: It is larger than any frame, or more follows it.
    """
    if len(buffer) < LENGTH:
        return None
    length = int.from_bytes(buffer[:LENGTH], "big")
    if length > MOST:
        raise ValueError(f"a frame of {length} bytes")
    whole = LENGTH + length
    if len(buffer) > whole:
        raise ValueError("more than one answer")
    return memoryview(buffer)[LENGTH:] if len(buffer) == whole else None
