"""A body as it came, once it is proved to be one object that every reader reads the same way."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta

from splice.core.errors import InputMismatch, MalformedBody, RequestError
from splice.declare.bodies import MAX_DEPTH, malformed, mismatch, refuse_duplicate_keys

T = TypeVar("T")
Whole = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""A whole number of 64 bits: meters, ledgers and most providers count in no more."""

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_anything = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_NOT_STRUCTURE = bytes(sorted(set(range(256)) - set(b'[]{}"')))
_ALL_SQUARE = bytes.maketrans(b"{}", b"[]")
_INVALID = re.compile(r"Invalid (?:enum )?value (.+)", re.DOTALL)
_NAMES = {
    "str": "a string", "int": "an integer", "float": "a number", "bool": "a boolean",
    "array": "an array", "object": "an object",
}  # fmt: skip


def fields_of(body: bytes) -> dict[str, Any]:
    """The top-level fields of a body as the caller's own bytes (`msgspec.Raw`).

    Raises:
        RequestError: It is no JSON object, not UTF-8, nests deeper than `MAX_DEPTH` levels, has a
            key twice in one object, half a character, or a number that is none.
    """
    try:
        if not body.isascii():
            body.decode()  # a decoder that skips a field does not look whether it is UTF-8
        fields = _raw_fields(body)
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(body):
            raise RecursionError
    except msgspec.ValidationError as error:
        raise wrong_type(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error, body) from None
    _refuse_twice(body)
    return fields


def typed(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The documented fields of a body that `fields_of` has passed.

    Raises:
        InputMismatch: A field is of another type; `where` is its path, as `messages[0].content`.
    """
    return _read_whole(decoder.decode, body)


def _read_whole(decode: Callable[[bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise wrong_type(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error, body) from None


def _unreadable(error: Exception, body: bytes) -> MalformedBody:
    """Our error for a body that is not JSON, or holds half a character, which is hard to see."""
    if isinstance(error, msgspec.DecodeError) and b"\\u" in body:
        with contextlib.suppress(ValueError, RecursionError):
            json.loads(body)  # which minds neither that nor NaN
            if b"NaN" not in body and b"Infinity" not in body:
                return MalformedBody(
                    "body", got="half a character (a lone surrogate)",
                    promised="texts of whole characters",
                )  # fmt: skip
    return malformed(error, "body")


def wrong_type(error: msgspec.ValidationError) -> InputMismatch:
    """Our error for one of msgspec's: the field, what came, what was expected."""
    plain = mismatch(error, "")
    where = plain.where.removeprefix(".") or "body"
    if invalid := _INVALID.fullmatch(plain.got):
        return InputMismatch(where, got=invalid[1], promised="one of the documented values")
    if plain.got == "another length" and ">= 1" in plain.promised:
        return InputMismatch(where, got="empty", promised="a value that is not empty")
    return InputMismatch(where, got=_said(plain.got), promised=_said(plain.promised))


def missing(where: str, promised: str = "a value") -> InputMismatch:
    """A field that must be there is not."""
    return InputMismatch(where, got="nothing", promised=promised)


def is_missing(error: RequestError) -> bool:
    """Whether an error says that a field is not there."""
    return error.got == "nothing"


def _said(types: str) -> str:
    """Types as a caller who writes JSON knows them."""
    alternatives = types.split(" | ")
    return " or ".join(_NAMES.get(one, one) for one in alternatives)


def _refuse_twice(body: bytes) -> None:
    r"""Refuses an object with a key twice, for two readers would each believe another value.

    A key that a decoder drops takes its quotation marks with it, so a body that was written anew
    has as many as before, or had a key twice. Only `\u0022` spoils the count. That is four times
    as fast as a look at every object.
    """
    plain = _read_whole(_anything, body)
    if b"\\u00" in body or _encode(plain).count(b'"') != body.count(b'"'):
        refuse_duplicate_keys(body, "body")


def _is_deep(body: bytes) -> bool:
    """Whether JSON nests deeper than `MAX_DEPTH`, without a loop over its characters.

    Left are the brackets outside texts; then the innermost pairs are taken away, level by level.
    """
    marks = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_STRUCTURE)
    brackets = b"".join(marks.replace(b'""', b"").split(b'"')[::2]).translate(_ALL_SQUARE)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def lenient(body: bytes) -> Any:
    """JSON of a provider, read with patience: half a character becomes a question mark.

    Raises:
        MalformedBody: It is not JSON at all.
    """
    try:
        return _anything(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _patched(body)


def as_object(value: Any) -> dict[str, Any]:
    """The value, or an empty object where it is none: answers are as providers make them."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The same of an array."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """The same of a string."""
    return value if isinstance(value, str) else ""


def _patched(body: bytes) -> Any:
    # A model that stops in the middle of an emoji leaves half of it, and some providers send it.
    try:
        plain = json.loads(body.decode("utf-8", "replace"))
        return _anything(json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise MalformedBody("reply", got="no JSON", promised="a JSON object") from error
