"""A reply as the fields of a form, and back again: a decision is corrected without writing JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec

from splice.core.errors import InputMismatch

PREFIX = "reply."
WHOLE = "reply"
_MOST = 40

Kind = Literal["choice", "yes or no", "number", "whole number", "text", "long text", "json"]


class Input(msgspec.Struct, frozen=True):
    """One field of a form: `name` is empty where the reply is one value, or too deep for fields."""

    name: str
    kind: Kind
    text: str  # as it stands now
    options: tuple[str, ...] = ()
    needed: bool = True

    @property
    def field(self) -> str:
        """What the form calls it."""
        return PREFIX + self.name if self.name else WHOLE


def inputs_of(schema: Mapping[str, Any], reply: Any, form: Mapping[str, str] | None) -> list[Input]:
    """The fields of a reply type, filled with the reply that was given, or with what was typed."""
    fields = _fields(schema)
    typed = form or {}
    if not fields:
        text = "" if reply is None else msgspec.json.format(msgspec.json.encode(reply)).decode()
        return [Input("", "json", typed.get(WHOLE, text))]
    given = cast("dict[str, Any]", reply) if isinstance(reply, dict) else {}
    found: list[Input] = []
    for name, (field, needed) in fields.items():
        kind, options = _kind(field)
        text = _text(given.get(name), kind)
        text = typed.get(PREFIX + name, text)
        if kind == "text" and ("\n" in text or len(text) > 80):
            kind = "long text"
        found.append(Input(name, kind, text, options, needed))
    return found


def reply_of(schema: Mapping[str, Any], form: Mapping[str, str], where: str) -> Any:  # JSON
    """The reply that a form holds; whether it is of the type, its codec says.

    Raises:
        InputMismatch: A number is none, or what must be JSON is not.
    """
    fields = _fields(schema)
    if not fields:
        return _json(form.get(WHOLE, ""), where)
    made: dict[str, Any] = {}
    for name, (field, needed) in fields.items():
        text = form.get(PREFIX + name)
        kind, _ = _kind(field)
        if text is None or (not text and not needed and kind not in ("text", "long text")):
            continue
        made[name] = _value(text, kind, field, f"{where}.{name}")
    return made


def _value(text: str, kind: Kind, field: Mapping[str, Any], where: str) -> Any:
    if kind == "yes or no":
        return text == "true"
    if kind == "choice":
        known: list[Any] = _options(field)
        return next((one for one in known if _word(one) == text), text)
    if kind == "json":
        return _json(text, where)
    if kind in ("number", "whole number"):
        try:
            return int(text) if kind == "whole number" else float(text)
        except ValueError:
            raise InputMismatch(where, got=repr(text[:40]), promised=f"a {kind}") from None
    return text.replace("\r\n", "\n")  # as every browser sends the end of a line


def _json(text: str, where: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InputMismatch(where, got=f"what is not JSON ({error})", promised="JSON") from None


def _fields(schema: Mapping[str, Any]) -> dict[str, tuple[dict[str, Any], bool]]:
    """Field to its schema, and whether it must come; none where the reply is no plain record."""
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    top = _plain(schema, definitions)
    fields: dict[str, Any] = top.get("properties", {})
    if not fields or len(fields) > _MOST:
        return {}
    required = set(top.get("required", ()))
    return {name: (_plain(one, definitions), name in required) for name, one in fields.items()}


def _kind(field: Mapping[str, Any]) -> tuple[Kind, tuple[str, ...]]:
    if options := _options(field):
        return "choice", tuple(map(_word, options))
    found: dict[Any, Kind] = {
        "boolean": "yes or no", "number": "number", "integer": "whole number", "string": "text",
    }  # fmt: skip
    return found.get(field.get("type"), "json"), ()


def _options(field: Mapping[str, Any]) -> list[Any]:
    if "const" in field:
        return [field["const"]]
    return list(field.get("enum", ()))


def _plain(schema: Any, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Through references."""
    for _ in range(20):
        if not isinstance(schema, Mapping):
            return {}
        found = cast("dict[str, Any]", schema)
        if "$ref" not in found:
            return found
        schema = definitions.get(str(found["$ref"]).rpartition("/")[2], {})
    return {}


def _text(value: Any, kind: Kind) -> str:
    if value is None:
        return "null" if kind == "json" else ""
    return value if isinstance(value, str) and kind != "json" else _word(value)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
