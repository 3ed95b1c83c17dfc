"""Slips: where in splice.toml an unknown field stands, and which one was probably meant."""

from __future__ import annotations

import difflib
import re
from typing import Any, cast

import msgspec

_STEP = re.compile(r"(\w+)|\[([^\]]*)\]")
_UNKNOWN = re.compile(r"Object contains unknown field (\S+)")


class Slip(msgspec.Struct, frozen=True):
    """A field that nobody knows: where, and the mend; the path names what msgspec leaves out."""

    field: str
    path: str
    mend: str


def slip_of(said: str, path: str, kind: type[msgspec.Struct], plain: dict[str, Any]) -> Slip | None:
    """What a message of msgspec says of an unknown field; None where it says another thing.

    Args:
        said: The message, without backticks and without its path.
        path: As msgspec writes it, without `$.`: `providers[...].deployments[0]`.
        kind: What the file was read as.
        plain: What stands in the file.
    """
    unknown = _UNKNOWN.fullmatch(said)
    if unknown is None:
        return None
    field = unknown[1]
    at: Any = plain
    type_: Any = msgspec.inspect.type_info(kind)
    place = ""
    for name, index in _STEP.findall(path):
        if name:
            type_ = next(one.type for one in type_.fields if one.encode_name == name)
            at = at[name]
            place = f"{place}.{name}" if place else name
        elif index == "...":  # msgspec does not say which
            key = next(key for key, value in at.items() if _holds(value, field))
            type_, at, place = type_.value_type, at[key], f"{place}.{key}"
        else:
            type_, at, place = type_.item_type, at[int(index)], f"{place}[{index}]"
    known = [one.encode_name for one in type_.fields]
    near = difflib.get_close_matches(field, known, n=1)
    return Slip(field, place, f"did you mean {near[0]}?" if near else "")


def _holds(value: Any, field: str) -> bool:
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return field in fields or any(_holds(one, field) for one in fields.values())
    return isinstance(value, list) and any(_holds(one, field) for one in cast("list[Any]", value))
