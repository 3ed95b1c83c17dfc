"""The strict form of a schema."""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal

import jsonschema
import msgspec
import pytest

from splice.adapters.providers.schema import strict_schema
from splice.testing.openai_server import example_of


class Part(msgspec.Struct):
    weight: Annotated[float, msgspec.Meta(ge=0, le=1, description="a share")]
    next: Part | None = None


class Reply(msgspec.Struct):
    label: Literal["a", "b"]
    parts: list[Part]
    note: str | None = None
    count: int = 3


def every_object(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for item in schema for found in every_object(item)]
    if not isinstance(schema, dict):
        return []
    below = [found for value in schema.values() for found in every_object(value)]
    return below + ([schema] if schema.get("type") == "object" else [])


def test_every_object_is_closed_and_requires_all_it_has() -> None:
    schema, strict = strict_schema(msgspec.json.schema(Reply))

    objects = every_object(schema)
    assert strict
    assert len(objects) == 3  # Reply at the root and in $defs, Part
    assert all(o["additionalProperties"] is False for o in objects)
    assert all(o["required"] == list(o["properties"]) for o in objects)


def test_the_root_is_plain_and_definitions_are_kept() -> None:
    schema, _ = strict_schema(msgspec.json.schema(Reply))

    assert "$ref" not in schema
    assert schema["type"] == "object"
    assert set(schema["$defs"]) == {"Reply", "Part"}


def test_what_strict_servers_refuse_is_left_out_and_names_are_not_mistaken_for_it() -> None:
    class Odd(msgspec.Struct):
        default: int = 1
        properties: str = "x"

    schema, _ = strict_schema(msgspec.json.schema(Odd))

    assert schema["properties"] == {
        "default": {"type": "integer"},
        "properties": {"type": "string"},
    }


def test_nothing_stands_beside_a_reference() -> None:
    schema, _ = strict_schema(
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/A", "description": "x", "default": None}},
            "$defs": {"A": {"type": "string"}},
        }
    )

    assert schema["properties"]["a"] == {"$ref": "#/$defs/A"}


@pytest.mark.parametrize("kind", [Reply, Part])
def test_what_satisfies_the_strict_form_satisfies_the_original(kind: type) -> None:
    original = msgspec.json.schema(kind)
    schema, _ = strict_schema(original)

    example = example_of(schema)

    jsonschema.validate(example, schema)
    jsonschema.validate(example, original)
    msgspec.convert(example, kind)


@pytest.mark.parametrize(
    "kind", [dict[str, int], tuple[int, str], list[dict[str, int]], dict[str, Any]]
)
def test_open_maps_and_tuples_are_left_alone(kind: Any) -> None:
    original = msgspec.json.schema(msgspec.defstruct("Holder", [("inside", kind)]))

    assert strict_schema(original) == (original, False)


def test_the_schema_given_is_not_changed() -> None:
    original = msgspec.json.schema(Reply)
    before = copy.deepcopy(original)

    strict_schema(original)

    assert original == before
