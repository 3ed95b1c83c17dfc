"""How a release becomes a tool."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from splice.core.errors import MalformedBody
from splice.core.release import Manifest
from splice.serve.mcp.cards import body_of, card_of, object_schema

OBJECT = {"type": "object", "properties": {"a": {"type": "number"}}}


def manifest(request: dict[str, Any], reply: dict[str, Any]) -> Manifest:
    return Manifest("orders", "m:C", "b", "Purpose.", "low", 1.0, (), request, reply)


def test_a_reference_at_the_root_becomes_the_object_that_it_means() -> None:
    found = object_schema({"$ref": "#/$defs/A", "$defs": {"A": OBJECT}})

    assert found == OBJECT


def test_definitions_that_refer_to_each_other_stay() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}

    found = object_schema({"$ref": "#/$defs/Node", "$defs": {"Node": node}})

    assert found is not None
    assert found["type"] == "object"
    assert found["$defs"] == {"Node": node}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number"},
        {"anyOf": [OBJECT, {"type": "null"}]},
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "string"}}},
        {"$ref": "#/$defs/Missing", "$defs": {}},
        {},
    ],
)
def test_what_is_no_object_is_none(schema: dict[str, Any]) -> None:
    assert object_schema(schema) is None


def test_a_request_that_is_no_object_travels_in_one_argument() -> None:
    texts = {"type": "array", "items": {"$ref": "#/$defs/T"}, "$defs": {"T": {"type": "string"}}}

    card = card_of(manifest(texts, {"type": "number"}))

    assert card.input["required"] == ["input"]
    assert card.input["properties"]["input"] == {"type": "array", "items": {"$ref": "#/$defs/T"}}
    assert card.input["$defs"] == {"T": {"type": "string"}}
    assert card.output is None
    assert body_of(card, b'{"input": ["a", 1.50]}') == b'["a", 1.50]'


@pytest.mark.parametrize("arguments", [b"{}", b'{"a": 1}', b'{"input": 1, "a": 1}', b"[]", b"nope"])
def test_other_arguments_than_that_one_are_refused(arguments: bytes) -> None:
    card = card_of(manifest({"type": "array"}, OBJECT))

    with pytest.raises(MalformedBody):
        body_of(card, arguments)


def test_the_surface_is_imported_without_the_sdk() -> None:
    code = "import sys, splice.serve.mcp.surface; sys.exit('mcp_types' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
