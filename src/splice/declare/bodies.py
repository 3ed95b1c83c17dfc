"""What can be wrong with a body, said as errors of ours: which field, what came, what was due."""

from __future__ import annotations

import dataclasses
import decimal
import json
import math
import re
from difflib import get_close_matches
from typing import Any, cast

import msgspec

from splice.core.errors import InputMismatch, MalformedBody

_AT = re.compile(r" - at `(\$[^`]*)`$")
_EXPECTED = re.compile(r"^Expected (.+?)(?:, got (.+))?$")
_FIELD = re.compile(r"^Object (missing required|contains unknown) field `([^`]*)`$")
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKET = re.compile(rb"[\[\]{}]")
_OPEN = frozenset(b"[{")
_NESTED = frozenset({dict, list})

_NAME = 64
"""Characters of a field's name: what is longer is nobody's slip."""

MAX_DEPTH = 100
"""Levels of JSON in one body. Readers and writers give up at about 900, each at another level: what
one of them has read, the others must be able to write, read again and show."""


def mismatch(error: Exception, where: str, names: tuple[str, ...] = ()) -> InputMismatch:
    """Our error for a message of msgspec: which field, what came, what was promised."""
    text = str(error)
    at = _AT.search(text)
    path = at[1].removeprefix("$") if at else ""
    text = _AT.sub("", text)
    if field := _FIELD.match(text):
        place = f"{where}{path}.{field[2]}"
        if field[1] == "missing required":
            return InputMismatch(
                place, got="nothing", promised="a value", mend=f"add the field {field[2]}"
            )
        known = f" ({', '.join(names)})" if names and not path else ""
        # The time that it takes grows with the square of the length.
        near = get_close_matches(field[2], names, 1) if known and len(field[2]) <= _NAME else []
        meant = f"did you mean {near[0]}? Otherwise " if near else ""
        return InputMismatch(
            place,
            got="an unknown field",
            promised=f"only declared fields{known}",
            mend=f"{meant}leave out {field[2]}, or declare it",
        )
    if expected := _EXPECTED.match(text):
        return InputMismatch(
            where + path,
            got=(expected[2] or _unsaid(expected[1])).replace("`", ""),
            promised=expected[1].replace("`", ""),
        )
    return InputMismatch(where + path, got=text.replace("`", ""), promised="the declared type")


def _unsaid(promised: str) -> str:
    """What came, where msgspec tells only what was due."""
    return "another length" if " of length " in promised else "a value out of these bounds"


def malformed(error: Exception, where: str) -> MalformedBody:
    """Our error for a body that is not JSON."""
    if isinstance(error, RecursionError):
        return MalformedBody(
            where, got="JSON nested too deep", promised=f"at most {MAX_DEPTH} levels"
        )
    if isinstance(error, UnicodeDecodeError):
        return MalformedBody(where, got="bytes that are not UTF-8", promised="JSON in UTF-8")
    got = str(error).removeprefix("JSON is malformed: ")
    return MalformedBody(
        where, got=f"malformed JSON: {got}", promised="one JSON value (NaN and Infinity are not)"
    )


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise KeyError(name)
            seen.add(name)
    return unique


def refuse_duplicate_keys(body: bytes, where: str) -> None:
    """Duplicate keys are refused: two readers of one body would each believe another value.

    What this reader cannot follow is refused too: the typed decoder skips some of what it does not
    need unread (bytes that are not UTF-8, one level deeper), and a second key would hide there.

    Raises:
        MalformedBody: An object has a key twice; names the key. Or it is not JSON.
    """
    try:
        if keys_written(body) == _keys_held(msgspec.json.decode(body)):
            return
    except (msgspec.DecodeError, ValueError, RecursionError):  # said below, as it always was
        pass
    try:
        # Whole numbers as floats: int() refuses more than 4,300 digits.
        json.loads(body, object_pairs_hook=_no_duplicates, parse_int=float)
    except KeyError as error:
        raise MalformedBody(
            where, got=f"the key {error.args[0]!r} twice in one object", promised="each key once"
        ) from None
    except (ValueError, RecursionError) as error:
        raise malformed(error, where) from None


def has_keys(body: bytes, count: int) -> bool:
    """Whether the objects of a JSON text surely have so many keys in all, and no more."""
    if body.count(b":") == count:
        return True
    # Each key is followed by `":`, unless there is space before its colon.
    # A text of one line has no other spaces than these: single bytes are found at once.
    one_line = b"\n" not in body and b"\t" not in body and b"\r" not in body
    if one_line and body.count(b'":') == count and b" :" not in body:
        return True
    return keys_written(body) == count


def keys_written(body: bytes) -> int:
    """How many keys the objects of a JSON text have in all, doubles included."""
    if b"\\" in body:
        return _TEXT.sub(b"", body).count(b":")
    return b"".join(body.split(b'"')[::2]).count(b":")  # what is outside of texts


def _keys_held(value: Any) -> int:
    """How many keys are left of them in dicts, where one that comes twice is held once."""
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value)
        return len(inner) + sum(_keys_held(one) for one in inner.values() if type(one) in _NESTED)
    if not isinstance(value, list):
        return 0
    return sum(_keys_held(one) for one in cast("list[Any]", value) if type(one) in _NESTED)


def refuse_deep(body: bytes, where: str) -> None:
    """Passes JSON that nests no deeper than `MAX_DEPTH`.

    Raises:
        MalformedBody: It does.
    """
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.finditer(_TEXT.sub(b"", body)):
        depth += 1 if bracket[0][0] in _OPEN else -1
        if depth > MAX_DEPTH:
            raise malformed(RecursionError(), where)


def refuse_not_finite(value: Any, where: str) -> None:
    """Passes a value that holds no NaN and no infinity.

    Raises:
        InputMismatch: It holds one; names the place.
    """
    if bad := not_finite(value):
        raise InputMismatch(where + bad, got="NaN or an infinity", promised="a finite number")


def not_finite(value: Any, path: str = "") -> str:
    """The path of the first NaN or infinity; empty where there is none."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else path or "."
    if isinstance(value, decimal.Decimal):
        return "" if value.is_finite() else path or "."
    if isinstance(value, msgspec.Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
    elif hasattr(value, "model_dump"):
        value = vars(value)
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return next((p for k, v in items if (p := not_finite(v, f"{path}.{k}"))), "")
    if isinstance(value, (list, tuple, set, frozenset)):
        rows = enumerate(cast("list[Any]", value))
        return next((p for i, v in rows if (p := not_finite(v, f"{path}[{i}]"))), "")
    return ""
