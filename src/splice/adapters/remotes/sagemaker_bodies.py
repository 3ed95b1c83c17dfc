"""Rows and answers as containers on SageMaker have them: JSON, lines of JSON, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec
import numpy as np

from splice.adapters.remotes.oip import OipOptions
from splice.core.errors import BadAnswer


class SageMakerOptions(OipOptions, frozen=True, forbid_unknown_fields=True):
    """How the container at the endpoint is spoken to."""

    content: Literal["json", "csv", "oip"] = "json"
    """`json` as TensorFlow Serving and the built-in algorithms read it, `csv` as XGBoost does,
    `oip` for the containers of Triton and MLServer, with the options of that protocol."""

    instances: str = "instances"
    """JSON: the field with the rows; empty where the body is the list itself."""

    named: bool = False
    """JSON: a row is an object by the names of the inputs, instead of a list."""

    answer: str = "predictions"
    """JSON: where in the reply the answers are, with dots between names; empty for the whole."""

    score: str = "score"
    """JSON: the field with number or chances, where an answer is an object."""

    label: str = "predicted_label"
    """JSON: the field with the label, where an answer is an object."""

    accept: str = ""
    """Content type to ask for; that of the request if left out."""

    target_model: str = ""
    """Which model of a multi-model endpoint."""

    component: str = ""
    """Which inference component of the endpoint."""


_any: msgspec.json.Decoder[Any] = msgspec.json.Decoder()

TYPES = {"json": "application/json", "csv": "text/csv", "oip": "application/json"}


def rows_of(feed: Mapping[str, Any]) -> list[list[Any]]:
    """What is to be sent of each row: its values in the order of the inputs."""
    columns: list[list[Any]] = []
    for array in feed.values():
        flat = array.reshape(len(array), -1)
        columns += [cast("list[Any]", flat[:, at].tolist()) for at in range(flat.shape[1])]
    return [list(row) for row in zip(*columns, strict=True)]


def body_of(feed: Mapping[str, Any], options: SageMakerOptions) -> bytes:
    """The body of a request with these rows."""
    if options.content == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows_of(feed))
        return text.getvalue().encode()
    rows: list[Any] = rows_of(feed)
    if options.named:
        named = {name: array.tolist() for name, array in feed.items()}
        rows = [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
    return msgspec.json.encode({options.instances: rows} if options.instances else rows)


def outputs_of(
    body: bytes, content_type: str, rows: int, options: SageMakerOptions, where: str
) -> list[Any]:
    """The answers as arrays with one entry a row.

    Raises:
        BadAnswer: They cannot be read.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/csv":
        return _from_csv(body, rows, where)
    lines = kind in ("application/jsonlines", "application/x-jsonlines", "application/jsonl")
    try:
        reply: Any = _any.decode_lines(body) if lines else _any.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(where, got=f"{error}", promised=content_type or "JSON") from None
    answers: Any = reply if lines else _found(reply, options.answer, where)
    if not isinstance(answers, list):
        got = f"{type(answers).__name__} in {options.answer or 'the reply'}"
        raise BadAnswer(where, got=got, promised="a list with one answer a row")
    return _arrays(cast("list[Any]", answers), options, where)


def _found(reply: Any, path: str, where: str) -> Any:
    for name in path.split(".") if path else ():
        if not isinstance(reply, dict) or name not in reply:
            known = cast("dict[str, Any]", reply) if isinstance(reply, dict) else {}
            has = ", ".join(known)
            got = f"a reply of {has or 'no such fields'}"[:200]
            raise BadAnswer(
                where, got=got, promised=f"answers in {path}", mend="set the option answer"
            )
        reply = cast("dict[str, Any]", reply)[name]
    return reply


def _arrays(answers: list[Any], options: SageMakerOptions, where: str) -> list[Any]:
    if not all(isinstance(one, dict) for one in answers):
        return [_array(answers, where)]
    scores = [one.get(options.score) for one in answers]
    labels = [one.get(options.label) for one in answers]
    found: list[Any] = []
    if any(one is not None for one in scores):
        found.append(_array(scores, where, floats=True))
    if any(one is not None for one in labels):
        found.append(_array(labels, where))
    if not found:
        raise BadAnswer(
            where,
            got=f"objects of {', '.join(answers[0])}"[:200],
            promised=f"{options.score} or {options.label} in them",
            mend="set the options score and label",
        )
    return found


def _array(values: list[Any], where: str, *, floats: bool = False) -> Any:
    """Numbers, lists of numbers, texts or truths as one array; nothing is NaN, refused by row."""
    types: set[Any] = {type(one) for one in values}
    if types <= {str}:
        return np.array(values, dtype=object)
    if types <= {bool}:
        return np.array(values, dtype=np.bool_)
    if types <= {int} and not floats:
        return np.array(values, dtype=object)
    whole = list[Any]()
    for one in values:
        whole.append(float("nan") if one is None else one)
    try:
        with np.errstate(over="ignore"):
            array = np.array(whole, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        names = ", ".join(sorted(kind.__name__ for kind in types))
        raise BadAnswer(
            where, got=f"answers of {names}", promised="numbers, lists of one length, or texts"
        ) from None
    if str in types or not array.size:  # numpy would read numbers out of texts
        raise BadAnswer(where, got="answers of several kinds, or none", promised="one kind")
    return array


def _from_csv(body: bytes, rows: int, where: str) -> list[Any]:
    """One number a row, in one line or in as many as there are rows; or one line of chances a row.

    Texts are labels.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode())) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadAnswer(where, got=str(error), promised="CSV") from None
    cells = [cell.strip() for line in lines for cell in line]
    if len(cells) != rows and (len(lines) != rows or len({len(line) for line in lines}) != 1):
        got = f"{len(cells)} values in {len(lines)} lines"
        raise BadAnswer(where, got=got, promised=f"one value or one line for each of {rows} rows")
    numbers = [_number(cell) for cell in cells]
    if all(isinstance(one, float) for one in numbers):
        array: Any = np.array(numbers, dtype=np.float64)
    else:
        array = np.array(cells, dtype=object)
    return [array if len(cells) == rows else array.reshape(rows, -1)]


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell
