"""Bytes to request types and replies to bytes, for msgspec structs, dataclasses and pydantic."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import sys
import types
import uuid
from collections.abc import Callable, Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    Protocol,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from splice.core.errors import InputMismatch
from splice.declare.bodies import (
    has_keys,
    malformed,
    mismatch,
    not_finite,
    refuse_deep,
    refuse_duplicate_keys,
    refuse_not_finite,
)
from splice.declare.spec import MAX_ENTITY, EntityMark

_SCALARS = (
    str, int, float, bool, bytes, datetime.date, datetime.time, uuid.UUID, enum.Enum, type(None),
)  # fmt: skip


class Codec(Protocol):
    """Reads and writes one declared type. `where` of its errors is a path like `credit.input`."""

    def decode(self, body: bytes, where: str) -> Any:
        """An instance from JSON.

        Raises:
            MalformedBody: It is not JSON, holds NaN, a duplicate key, or nests too deep.
            InputMismatch: It is JSON, but not of the type; names the field.
        """
        ...

    def convert(self, value: Any, where: str) -> Any:
        """An instance from JSON-like Python values; the same errors as `decode`."""
        ...

    def lax(self, row: Mapping[str, Any], where: str) -> Any:
        """An instance from a row of texts (CSV): "1.5" may be a number. The same errors."""
        ...

    def encode(self, value: Any, /) -> bytes:
        """JSON of an instance."""
        ...

    def fields(self, value: Any) -> dict[str, Any]:
        """The fields of an instance by name."""
        ...

    def encode_checked(self, value: Any) -> bytes:
        """JSON of an instance, proved to be of the type.

        Raises:
            ValueError: It is not of the type, or holds NaN; says what is wrong.
        """
        ...

    def schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12."""
        ...


def codec(kind: Any) -> Codec:
    """The codec of a declared type.

    Raises:
        TypeError: It is neither of msgspec's types, a dataclass, nor a pydantic model.
    """
    if "pydantic" in sys.modules and hasattr(cast(object, kind), "model_validate_json"):
        return _PydanticCodec(kind)
    return _MsgspecCodec(kind)


def entity_field(kind: Any) -> str | None:
    """The name of the field that is marked as the entity, or None.

    Raises:
        TypeError: More than one field is marked.
    """
    hints = get_type_hints(kind, include_extras=True) if isinstance(kind, type) else {}
    marked = [n for n, hint in hints.items() if any(isinstance(a, EntityMark) for a in _args(hint))]
    if len(marked) > 1:
        raise TypeError(f"more than one entity: {', '.join(marked)}")
    return marked[0] if marked else None


def _args(hint: Any) -> list[Any]:
    found: list[Any] = []
    for argument in getattr(hint, "__metadata__", ()):
        found.append(argument)
    for inner in get_args(hint):
        found.extend(_args(inner))
    return found


def checked_entity(value: Any, where: str) -> str | None:
    """The entity key of a request, or None where the field is empty by its type.

    Raises:
        InputMismatch: It is not a text of 1 to 256 characters.
    """
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ENTITY:
        got = f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
        raise InputMismatch(
            where,
            got=got,
            promised=f"an entity key of 1 to {MAX_ENTITY} characters",
            mend="send the key of the entity, not its contents",
        )
    return value


def _fixed_keys(kind: Any) -> int:
    """How many keys each JSON text of a type has; 0 where they may be more or fewer."""
    count = 0
    for inner in _required(kind):
        nested = 0
        if not _has_no_keys(inner):
            nested = _fixed_keys(inner)
            if not nested:
                return 0
        count += 1 + nested
    return count


def _fixed_texts(kind: Any) -> int | None:
    """How many texts, keys left out, each JSON text of a type of fixed keys has; None if any."""
    count = 0
    for inner in _required(kind):
        texts = _fixed_texts(inner) if not _has_no_keys(inner) else _texts(inner)
        if texts is None:
            return None
        count += texts
    return count


def _texts(kind: Any) -> int | None:
    """How many texts each JSON text of a type without keys has; None if now more, now fewer."""
    kind = _bare(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        kinds: set[type] = {type(one) for one in inner}
        return 1 if kinds == {str} else 0 if str not in kinds else None
    if origin in (list, tuple, set, frozenset, Union, types.UnionType):
        each = {_texts(one) for one in inner if one is not ...}
        return 0 if each == {0} else None
    if issubclass(kind, enum.Enum):
        return _texts(Literal[tuple(one.value for one in kind)])
    return 0 if issubclass(kind, (int, float, type(None))) else 1


def _required(kind: Any) -> list[Any]:
    """Types of the fields of a struct all of whose fields are required; of any other, none."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return []
    fields = msgspec.structs.fields(kind)
    if cast("Any", kind).__struct_config__.array_like or not all(f.required for f in fields):
        return []
    return [_bare(field.type) for field in fields]


def _bare(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def _has_no_keys(kind: Any) -> bool:
    """Whether no JSON text of a type has an object in it."""
    kind = _bare(kind)
    if get_origin(kind) is Literal:
        return True
    if get_origin(kind) in (list, tuple, set, frozenset, Union, types.UnionType):
        return all(one is ... or _has_no_keys(one) for one in get_args(kind))
    return isinstance(kind, type) and issubclass(kind, _SCALARS)


class _MsgspecCodec:
    """For structs, dataclasses, typed dicts and whatever else msgspec reads."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        self._encoder = msgspec.json.Encoder(order=None)
        self.encode: Callable[[Any], bytes] = self._encoder.encode
        self._is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        self._names: tuple[str, ...] = ()
        self._closed = True
        # A type whose fields are all required has exactly this many keys in its JSON: no need to
        # look for duplicates unless there are more. 0 means: always look.
        self._keys = _fixed_keys(kind)
        # If its texts are as many each time, so are the quotation marks: the quickest look.
        texts = _fixed_texts(kind) if self._keys else None
        self._quotes = -1 if texts is None else 2 * (self._keys + texts)
        if self._is_struct:
            fields = msgspec.structs.fields(cast("type[msgspec.Struct]", kind))
            self._names = tuple(f.encode_name for f in fields)
        elif dataclasses.is_dataclass(cast("object", kind)):
            self._names = tuple(f.name for f in dataclasses.fields(cast("Any", kind)))
            self._closed = False
        try:
            self._decimals = b'"decimal"' in msgspec.json.encode(msgspec.json.schema(kind))
        except TypeError:  # no JSON type: schema() says so to whoever declares it
            self._decimals = False

    def decode(self, body: bytes, where: str) -> Any:
        try:
            value = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            refuse_duplicate_keys(body, where)
            raise mismatch(error, where, self._names) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(error, where) from None
        # So many quotation marks are one pair for each key and text that must be there: nothing is
        # there twice, nothing was passed over unread, and it nests as deep as its type.
        if body.count(b'"') != self._quotes:
            refuse_deep(body, where)
            if not has_keys(body, self._keys):
                refuse_duplicate_keys(body, where)
        if not self._closed:
            self._refuse_extra(msgspec.json.decode(body), where)
        if self._decimals:  # a Decimal is a text in JSON, and "NaN" is one of them
            refuse_not_finite(value, where)
        return value

    def convert(self, value: Any, where: str) -> Any:
        try:
            refuse_not_finite(value, where)
            plain = msgspec.to_builtins(value)
            result = msgspec.convert(plain, self._kind)
        except msgspec.ValidationError as error:
            raise mismatch(error, where, self._names) from None
        except (TypeError, RecursionError) as error:
            raise InputMismatch(where, got=str(error), promised="JSON values") from None
        if not self._closed and isinstance(plain, dict):
            self._refuse_extra(cast("dict[str, Any]", plain), where)
        if self._decimals:
            refuse_not_finite(result, where)
        return result

    def lax(self, row: Mapping[str, Any], where: str) -> Any:
        try:
            value = msgspec.convert(dict(row), self._kind, strict=False)
        except msgspec.ValidationError as error:
            raise mismatch(error, where, self._names) from None
        refuse_not_finite(value, where)
        if not self._closed:
            self._refuse_extra(dict(row), where)
        return value

    def fields(self, value: Any) -> dict[str, Any]:
        if self._is_struct:
            return msgspec.structs.asdict(value)
        return cast("dict[str, Any]", msgspec.to_builtins(value))

    def encode_checked(self, value: Any) -> bytes:
        if self._is_struct and not isinstance(value, self._kind):
            raise ValueError(f"{type(value).__name__}, not {self._kind.__name__}")
        try:
            body = self._encoder.encode(value)
            # msgspec writes NaN as null, which an optional field would take for "nothing".
            if (self._decimals or b"null" in body) and (bad := not_finite(value)):
                raise ValueError(f"NaN or an infinity at {bad}")
            self._decoder.decode(body)
            if not self._closed:
                self._refuse_extra(msgspec.json.decode(body), "reply")
        except InputMismatch as error:
            raise ValueError(f"{error.where}: {error.detail}") from None
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise ValueError(str(error).replace("`", "")) from None
        except (TypeError, RecursionError, UnicodeEncodeError) as error:
            raise ValueError(str(error)) from None
        return body

    def schema(self) -> dict[str, Any]:
        return msgspec.json.schema(self._kind)

    def _refuse_extra(self, plain: Any, where: str) -> None:
        extra = [name for name in plain if name not in self._names]
        if extra and self._names:
            unknown = msgspec.ValidationError(f"Object contains unknown field `{extra[0]}`")
            raise mismatch(unknown, where, self._names)


class _PydanticCodec:
    """For pydantic models; pydantic is imported by whoever declared one, never by us."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._names = tuple(_pydantic_names(kind))

    def decode(self, body: bytes, where: str) -> Any:
        try:
            plain = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(error, where) from None
        refuse_deep(body, where)
        refuse_duplicate_keys(body, where)
        return self._validate(plain, where, self._kind.model_validate_json, body)

    def convert(self, value: Any, where: str) -> Any:
        if hasattr(value, "model_dump"):
            refuse_not_finite(value, where)  # in its JSON form it is a null
            value = value.model_dump(mode="json", by_alias=True)
        return self._validate(value, where, self._kind.model_validate, value)

    def lax(self, row: Mapping[str, Any], where: str) -> Any:
        return self.convert(dict(row), where)

    def _validate(self, plain: Any, where: str, validate: Callable[[Any], Any], given: Any) -> Any:
        if isinstance(plain, dict):
            extra = [name for name in cast("dict[str, Any]", plain) if name not in self._names]
            if extra:
                unknown = msgspec.ValidationError(f"Object contains unknown field `{extra[0]}`")
                raise mismatch(unknown, where, self._names)
        try:
            value = validate(given)
        except ValueError as error:  # pydantic.ValidationError is one
            first: Any = cast("Any", error).errors()[0] if hasattr(error, "errors") else {}
            path = "".join(f".{part}" for part in first.get("loc", ()))
            got = type(first.get("input")).__name__
            raise InputMismatch(
                where + path,
                got="nothing" if first.get("type") == "missing" else got,
                promised=str(first.get("msg", error)),
            ) from None
        refuse_not_finite(value, where)  # pydantic reads the text "nan" as a number
        return value

    def encode(self, value: Any) -> bytes:
        return cast("str", value.model_dump_json(by_alias=True)).encode()

    def fields(self, value: Any) -> dict[str, Any]:
        return cast("dict[str, Any]", value.model_dump())

    def encode_checked(self, value: Any) -> bytes:
        if not isinstance(value, self._kind):
            raise ValueError(f"{type(value).__name__}, not {self._kind.__name__}")
        if bad := not_finite(value):
            raise ValueError(f"NaN or an infinity at {bad}")
        body = self.encode(value)
        self._kind.model_validate_json(body)
        return body

    def schema(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._kind.model_json_schema())


def field_names(kind: Any) -> list[str]:
    """Names of the fields of a request type, as `context()` and the routes see them."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return list(kind.__struct_fields__)
    if dataclasses.is_dataclass(cast("object", kind)):
        return [field.name for field in dataclasses.fields(cast("Any", kind))]
    return list(cast("dict[str, Any]", getattr(cast("object", kind), "model_fields", {})))


def _pydantic_names(kind: Any) -> list[str]:
    """The keys that a model reads: of each field its aliases, or its name."""
    config = cast("dict[str, Any]", kind.model_config)
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    names: list[str] = []
    for name, field in cast("dict[str, Any]", kind.model_fields).items():
        alias = field.validation_alias or field.alias
        for one in getattr(alias, "choices", [alias]):  # AliasChoices, AliasPath or a text
            key = getattr(one, "path", [one])[0]
            names += [key] if isinstance(key, str) else []
        if alias is None or by_name:
            names.append(name)
    return names
