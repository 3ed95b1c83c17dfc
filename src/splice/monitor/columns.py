"""Columns of recorded calls: what the context held, what was predicted, what was replied."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, cast

import msgspec

from splice.core.call import Record

Column = Sequence[Any]
"""A value for each row, in order: JSON values, None where there is none."""

BASE, PREDICTION, REPLY = "*", "prediction.*", "reply.*"
"""Columns without values: how many calls had a context, a prediction, a reply at all."""

MOST_COLUMNS = 200
MOST_KEYS = 60
"""An object with more different keys than that is a dictionary by somebody's data, not a record."""
_KEY = re.compile(r"\w[\w .:/-]{0,59}")
"""What a key looks like that a programmer wrote; others are somebody's data: a mail address."""
MOST_DEPTH = 4
MOST_NAME = 120
MOST_CLASSES = 50

_decode = msgspec.json.Decoder().decode


class Seen(msgspec.Struct):
    """A record's payloads, decoded; None where they were not kept, or cannot be read."""

    context: dict[str, Any] | None
    prediction: dict[str, Any] | None
    reply: Any  # whatever the reply type is


def seen(records: Sequence[Record]) -> list[Seen]:
    """The payloads of records."""
    contexts = decoded([one.input if one.context is None else one.context for one in records])
    predictions = decoded([one.prediction for one in records])
    replies = decoded([one.reply for one in records])
    return [
        Seen(
            cast("dict[str, Any]", context) if isinstance(context, dict) else None,
            cast("dict[str, Any]", prediction) if isinstance(prediction, dict) else None,
            reply,
        )
        for context, prediction, reply in zip(contexts, predictions, replies, strict=True)
    ]


def decoded(bodies: Sequence[bytes | None]) -> list[Any]:
    """The values of JSON texts, None where there is none or it cannot be read."""
    filled = [body or b"null" for body in bodies]
    try:
        # One text for all: half the time of many. A text with a bracket too many would shift rows.
        values = cast("list[Any]", _decode(b"[" + b",".join(filled) + b"]"))
        if len(values) == len(filled):
            return values
    except (msgspec.DecodeError, RecursionError):
        pass
    return [_decoded(body) for body in filled]


def _decoded(body: bytes) -> Any:
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def columns_of(rows: Sequence[Seen]) -> dict[str, Column]:
    """Every column of these calls; those of calls without a context, say, have no row for it."""
    found: dict[str, Column] = {}
    contexts = [one.context for one in rows if one.context is not None]
    if contexts:
        found[BASE] = [None] * len(contexts)
        _take(found, "", contexts, 0)
    predictions = [one.prediction for one in rows if one.prediction is not None]
    if predictions:
        found[PREDICTION] = [None] * len(predictions)
        _predicted(found, predictions)
    replies = [one.reply for one in rows if one.reply is not None]
    if replies:
        found[REPLY] = [None] * len(replies)
        plain = set(map(type, replies)) == {dict} and not _is_chat(replies[0])
        _take(found, "reply.", replies if plain else [_said(one) for one in replies], 1)
    return found


def _predicted(found: dict[str, Column], rows: Sequence[dict[str, Any]]) -> None:
    """What was predicted, without what it cost. Two classes have one probability."""
    told: dict[str, Column] = {}
    _take(told, "prediction.", rows, 1, ("value", "score", "scores"))
    classes = [name for name in told if name.startswith("prediction.scores.")]
    if not 2 < len(classes) <= MOST_CLASSES:
        for name in classes:
            del told[name]
    if told.get("prediction.value") == told.get("prediction.score"):
        told.pop("prediction.value", None)
    found.update(told)


def _take(
    found: dict[str, Column],
    prefix: str,
    rows: Sequence[dict[str, Any]],
    depth: int,
    only: Container[str] | None = None,
) -> None:
    for name, values in _transposed(rows).items():
        if len(found) >= MOST_COLUMNS:
            return
        if only is not None and name not in only:
            continue
        full = prefix + name
        if not prefix and name.split(".", 1)[0] in ("prediction", "reply", "*"):
            full = f"context.{name}"
        if len(full) > MOST_NAME or not _KEY.fullmatch(name):
            continue
        if name == "messages" and not prefix and (texts := _spoken(values)) is not None:
            found["messages.user"] = texts
        if dict in set(map(type, values)):
            _nested(found, full, values, depth)
        else:
            found[full] = values


def _nested(found: dict[str, Column], name: str, values: Column, depth: int) -> None:
    """The columns of objects in a column; of a dictionary by data only how large it is."""
    empty: dict[str, Any] = {}
    objects = [cast("dict[str, Any]", v) if type(v) is dict else empty for v in values]
    keys = set(chain.from_iterable(objects))
    if any(value is not None and type(value) is not dict for value in values):
        found[name] = [None if type(value) is dict else value for value in values]
    if len(keys) > MOST_KEYS or depth >= MOST_DEPTH or not all(map(_KEY.fullmatch, keys)):
        found[name] = [[*v] if type(v) is dict else v for v in values]
        return
    _take(found, f"{name}.", objects, depth + 1)


def _transposed(rows: Sequence[dict[str, Any]]) -> Mapping[str, Column]:
    """Rows to columns. Rows with the same keys, as nearly all are, take a third of the time."""
    first = rows[0]
    names = list(first)
    if len(names) > 1 and sum(map(len, rows)) == len(rows) * len(names):
        try:
            turned = zip(*map(itemgetter(*names), rows), strict=True)
            return dict(zip(names, turned, strict=True))
        except KeyError:
            pass
    keys = dict.fromkeys(chain.from_iterable(rows))
    if len(keys) > MOST_COLUMNS:  # hostile, or a dictionary by data
        keys = dict.fromkeys(sorted(keys)[:MOST_COLUMNS])
    return {key: [row.get(key) for row in rows] for key in keys}


def _is_chat(reply: dict[str, Any]) -> bool:
    return "choices" in reply or reply.get("role") == "assistant"


def _said(reply: Any) -> dict[str, Any]:
    """The fields of a reply; of a chat, only the text and how it ended."""
    if not isinstance(reply, dict):
        return {"value": reply}
    fields = cast("dict[str, Any]", reply)
    choices: Any = fields.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        first = cast("dict[str, Any]", choices[0])
        message: Any = first.get("message")
        if isinstance(message, dict):
            content: Any = cast("dict[str, Any]", message).get("content")
            return {"text": text_of(content), "finish_reason": first.get("finish_reason")}
    if fields.get("role") == "assistant" and isinstance(fields.get("content"), list):
        return {"text": text_of(fields["content"]), "finish_reason": fields.get("stop_reason")}
    return fields


def _spoken(values: Column) -> Column | None:
    """What the user said last in each list of messages; None where they are no messages."""
    texts: Column = []
    for value in values:
        text = None
        for message in reversed(cast("list[Any]", value) if isinstance(value, list) else []):
            if not isinstance(message, dict):
                return None
            turn = cast("dict[str, Any]", message)
            if turn.get("role") == "user":
                text = text_of(turn.get("content"))
                break
        texts.append(text)
    return texts if any(text is not None for text in texts) else None


def text_of(content: Any) -> str | None:
    """The text of a message, whose content may be a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    parts = [
        str(cast("dict[str, Any]", part).get("text", ""))
        for part in cast("list[Any]", content)
        if isinstance(part, dict)
    ]
    return "\n".join(part for part in parts if part) or None
