"""Forms: the fields of a request and of a reply as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, cast

import msgspec

from splice.core.release import Manifest
from splice.engine.line import Line

FieldKind: TypeAlias = Literal["number", "integer", "boolean", "text", "json"]

_DATATYPES: dict[FieldKind, str] = {
    "number": "FP64", "integer": "INT64", "boolean": "BOOL", "text": "BYTES", "json": "BYTES",
}  # fmt: skip
_INTEGERS = ("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
_ACCEPTED: dict[FieldKind, tuple[str, ...]] = {
    "number": ("FP64", "FP32", "FP16", "BF16", *_INTEGERS),
    "integer": _INTEGERS,
    "boolean": ("BOOL",),
    "text": ("BYTES",),
    "json": ("BYTES",),
}
_TYPES: dict[object, FieldKind] = {
    "number": "number", "integer": "integer", "boolean": "boolean", "string": "text",
}  # fmt: skip
_MOST_REFERENCES = 8
WHOLE_INPUT, WHOLE_OUTPUT = "input", "output"
"""The one tensor of a request or a reply that is no object."""


class Field(msgspec.Struct, frozen=True):
    """One field as a tensor.

    `vector` where it is an array of scalars: its tensor has a second dimension. `default` is what
    a reply that leaves the field out means by it.
    """

    name: str
    kind: FieldKind
    vector: bool = False
    default: Any = None

    @property
    def datatype(self) -> str:
        """Datatype that it is told as."""
        return _DATATYPES[self.kind]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape that it is told as: -1 is any size, rows are the first dimension."""
        return (-1, -1) if self.vector else (-1,)

    @property
    def accepted(self) -> tuple[str, ...]:
        """Datatypes that it may come as."""
        return _ACCEPTED[self.kind]


class Form(msgspec.Struct, frozen=True):
    """The tensors of one release. `whole_*` where there is one tensor for the whole value."""

    release: int
    inputs: dict[str, Field]
    outputs: dict[str, Field]
    whole_input: bool = False
    whole_output: bool = False


class Forms:
    """The forms of the lines that are live."""

    def __init__(self) -> None:
        self._forms: dict[str, Form] = {}

    def of(self, line: Line) -> Form:
        """The form of a line's release."""
        known = self._forms.get(line.name)
        if known is None or known.release != line.release.number:
            known = form_of(line.release.manifest, line.release.number)
            self._forms[line.name] = known
        return known


def form_of(manifest: Manifest, release: int) -> Form:
    """The form of a release."""
    inputs = _fields(manifest.request_schema, is_reply=False)
    outputs = _fields(manifest.reply_schema, is_reply=True)
    return Form(
        release,
        inputs if inputs is not None else {WHOLE_INPUT: Field(WHOLE_INPUT, "json")},
        outputs if outputs is not None else {WHOLE_OUTPUT: Field(WHOLE_OUTPUT, "json")},
        whole_input=inputs is None,
        whole_output=outputs is None,
    )


def _fields(schema: Mapping[str, Any], *, is_reply: bool) -> dict[str, Field] | None:
    """The fields of an object by name; None where it is no object with declared fields."""
    reader = _Reader(cast("dict[str, Any]", schema.get("$defs", {})))
    found = reader.followed(schema)
    properties = cast("dict[str, Any] | None", found.get("properties"))
    if found.get("type") != "object" or not properties:
        return None
    required = set(cast("list[str]", found.get("required", [])))
    fields: dict[str, Field] = {}
    for name, one in properties.items():
        kind, vector, nullable = reader.kind(one)
        # A tensor has no null. Of a request it is said by leaving the tensor out; where that is
        # not allowed, and in a reply, the value is JSON.
        left_out = name not in required
        if nullable and (is_reply or not left_out):
            kind, vector = "json", False
        if is_reply and (vector or (left_out and "default" not in one)):
            kind, vector = "json", False
        fields[name] = Field(name, kind, vector, one.get("default"))
    return fields


class _Reader:
    """Reads JSON Schema as far as tensors can say it; the rest is JSON."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions

    def followed(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a reference refers to."""
        for _ in range(_MOST_REFERENCES):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return schema
            schema = self._definitions.get(reference.removeprefix("#/$defs/"), {})
        return {}

    def kind(self, schema: Mapping[str, Any]) -> tuple[FieldKind, bool, bool]:
        """Kind of a value, whether it is an array of that kind, and whether it may be null."""
        schema = self.followed(schema)
        choices = cast("list[Mapping[str, Any]] | None", schema.get("anyOf"))
        if choices is not None:
            return self._one_of(choices)
        if schema.get("type") == "array":
            items = schema.get("items")
            if isinstance(items, Mapping) and "prefixItems" not in schema:
                kind, vector, nullable = self.kind(cast("Mapping[str, Any]", items))
                if kind != "json" and not vector and not nullable:
                    return kind, True, False
            return "json", False, False
        values = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if isinstance(values, list):
            given = cast("list[Any]", values)
            kinds: set[FieldKind] = {_kind_of(one) for one in given if one is not None}
            return kinds.pop() if len(kinds) == 1 else "json", False, None in given
        return _TYPES.get(schema.get("type"), "json"), False, False

    def _one_of(self, choices: list[Mapping[str, Any]]) -> tuple[FieldKind, bool, bool]:
        rest = [one for one in choices if one.get("type") != "null"]
        nullable = len(rest) < len(choices)
        found = {self.kind(one) for one in rest}
        if len(found) == 1:
            kind, vector, inner = found.pop()
            return kind, vector, nullable or inner
        if {one[0] for one in found} == {"number", "integer"} and not any(v for _, v, _ in found):
            return "number", False, nullable or any(inner for _, _, inner in found)
        return "json", False, nullable


def _kind_of(value: object) -> FieldKind:
    return _KIND_OF.get(type(value), "json")


_KIND_OF: dict[object, FieldKind] = {bool: "boolean", int: "integer", float: "number", str: "text"}
