"""The columns of an export: those that every call has, and those of declared fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, cast

import msgspec

from splice.core.call import Outcome, Record
from splice.core.release import Manifest
from splice.core.units import NANO

Type = Literal["text", "number", "integer", "truth", "time", "json"]
Field = tuple[str, Type]

FIXED: tuple[Field, ...] = (
    ("call_id", "text"), ("asked_at", "time"), ("integration", "text"), ("release", "integer"),
    ("status", "text"), ("reason", "text"), ("surface", "text"), ("route", "text"),
    ("variant", "text"), ("version", "text"), ("caller", "text"), ("entity", "text"),
    ("duration_ms", "number"), ("first_token_ms", "number"), ("cost", "number"),
    ("currency", "text"), ("attempts", "integer"), ("input_tokens", "integer"),
    ("output_tokens", "integer"), ("cached_tokens", "integer"), ("problem", "text"),
    ("problem_detail", "text"), ("notes", "text"), ("shadow_of", "text"), ("trace_id", "text"),
    ("prediction.value", "json"), ("prediction.score", "number"), ("prediction.scores", "json"),
)  # fmt: skip

_TYPES: dict[str, Type] = {
    "string": "text",
    "number": "number",
    "integer": "integer",
    "boolean": "truth",
}


class Columns(msgspec.Struct, frozen=True):
    """Which columns an export has beside those that every call has.

    `request` and `reply` are the declared fields, which become `request.amount`, `reply.action`;
    where there are none, one column `request` or `reply` holds the whole JSON. `outcomes` become
    `outcome.defaulted`; the column `outcomes` has all of them, by name.
    """

    request: tuple[Field, ...] = ()
    reply: tuple[Field, ...] = ()
    outcomes: tuple[str, ...] = ()

    @property
    def all(self) -> list[Field]:
        """Every column with its type, in order."""
        return [
            *FIXED,
            *([(f"request.{n}", t) for n, t in self.request] or [("request", "json")]),
            *([(f"reply.{n}", t) for n, t in self.reply] or [("reply", "json")]),
            *((f"outcome.{name}", "json") for name in self.outcomes),
            ("outcomes", "json"),
        ]


def columns_of(manifests: Iterable[Manifest], outcomes: Sequence[str] = ()) -> Columns:
    """The declared fields of all releases of an integration; give the newest first.

    A field that had several types is `json`.
    """
    request: dict[str, Type] = {}
    reply: dict[str, Type] = {}
    for manifest in manifests:
        for fields, schema in ((request, manifest.request_schema), (reply, manifest.reply_schema)):
            for name, kind in _fields(schema):
                fields[name] = kind if fields.get(name, kind) == kind else "json"
    return Columns(tuple(request.items()), tuple(reply.items()), tuple(dict.fromkeys(outcomes)))


def _fields(schema: Mapping[str, Any]) -> list[Field]:
    found = _followed(schema, schema)
    properties: Mapping[str, Any] = found.get("properties", {})
    return [(name, _type(one, schema)) for name, one in properties.items()]


def _type(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Type:
    found = _followed(schema, whole)
    choices = [_followed(one, whole) for one in found.get("anyOf", ())]
    kinds = {str(one.get("type")) for one in choices or [found]} - {"null"}
    if not choices and "enum" in found:  # msgspec leaves the type of an enum unsaid
        kinds = {"string" if all(isinstance(one, str) for one in found["enum"]) else ""}
    return _TYPES.get(kinds.pop(), "json") if len(kinds) == 1 else "json"


def _followed(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref", "")
    if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
        return schema
    return whole.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})


def row_of(
    record: Record, outcomes: Sequence[Outcome], columns: Columns, currency: str
) -> list[Any]:
    """The cells of a call, in the order of the columns; a JSON cell is the value itself."""
    attempts = record.attempts
    prediction = _plain(record.prediction)
    said = _object(prediction) or {}
    first = [one.started_us + one.first_token_us for one in attempts if one.first_token_us]
    latest = {one.name: one.value for one in outcomes}
    problem = record.problem
    return [
        record.call_id, moment(record.asked_us), record.integration, record.release,
        record.status.value, record.reason.value, record.surface, record.route, record.variant,
        record.version, record.caller, record.entity, record.duration_us / 1000,
        first[-1] / 1000 if first else None,
        None if record.cost_nano is None else record.cost_nano / NANO, currency, len(attempts),
        _sum(one.usage.input_tokens for one in attempts if one.usage),
        _sum(one.usage.output_tokens for one in attempts if one.usage),
        _sum(one.usage.cached_tokens for one in attempts if one.usage),
        problem.code if problem else None, problem.detail if problem else None,
        "; ".join(record.notes) or None, record.shadow_of,
        record.trace.trace_id if record.trace else None,
        said.get("value"), said.get("score"), said.get("scores"),
        *_parts(record.input, columns.request),
        *_parts(record.reply, columns.reply),
        *(latest.get(name) for name in columns.outcomes),
        latest or None,
    ]  # fmt: skip


def jsonl_line(record: Record, outcomes: Sequence[Outcome], currency: str) -> dict[str, Any]:
    """A call as one object: what every call has, and request, context and reply as they were."""
    columns = Columns()
    fixed = row_of(record, outcomes, columns, currency)
    line = dict(zip((name for name, _ in FIXED), fixed, strict=False))
    for name in ("prediction.value", "prediction.score", "prediction.scores"):
        del line[name]
    return line | {
        "attempts": record.attempts,
        "gathered": record.gathered,
        "request": _plain(record.input),
        "context": _plain(record.context),
        "prediction": _plain(record.prediction),
        "reply": _plain(record.reply),
        "notes": record.notes,
        "outcomes": [
            {"name": one.name, "value": one.value, "at": moment(one.at_us), "source": one.source}
            for one in outcomes
        ],
    }


def moment(unix_us: int) -> datetime:
    """A time as Python has it, in UTC."""
    seconds, micros = divmod(unix_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)


def _parts(raw: bytes | None, fields: Sequence[Field]) -> list[Any]:
    plain = _plain(raw)
    if not fields:
        return [plain]
    held = _object(plain)
    return [None if held is None else held.get(name) for name, _ in fields]


def _object(plain: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", plain) if isinstance(plain, dict) else None


def _plain(raw: bytes | None) -> Any:
    """What the JSON says; text that is none is given as text, for nothing may be left out."""
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return raw.decode("utf-8", "replace")


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
