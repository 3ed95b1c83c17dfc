"""What every SchemaSource must hold to.

Inherit `SchemaSourceContract` and give it the fixtures `schemas`: a source over a registry, and
`register`, which registers `(kind, text, references)` there, each of the references an id that it
gave before, and gives the id.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest

from splice.core.errors import UnknownSchema
from splice.ports.schemas import SchemaSource

Register: TypeAlias = "Callable[[str, str, Sequence[int]], int]"


def record(name: str, **fields: str) -> str:
    """An Avro record with those fields, name to type."""
    listed = [{"name": field, "type": kind} for field, kind in fields.items()]
    return json.dumps({"type": "record", "name": name, "fields": listed})


class SchemaSourceContract:
    """What was registered is found by its id, with what it refers to."""

    async def test_what_was_registered_is_found(
        self, schemas: SchemaSource, register: Register
    ) -> None:
        avro = record("Order", customer="string")
        number = register("AVRO", avro, ())

        found = await schemas.schema(number)

        assert (found.kind, json.loads(found.text), found.parts) == ("AVRO", json.loads(avro), ())

    async def test_the_kind_of_a_schema_is_told(
        self, schemas: SchemaSource, register: Register
    ) -> None:
        text = '{"type":"object","properties":{"customer":{"type":"string"}}}'

        found = await schemas.schema(register("JSON", text, ()))

        assert (found.kind, json.loads(found.text)) == ("JSON", json.loads(text))

    async def test_what_it_refers_to_comes_before_it(
        self, schemas: SchemaSource, register: Register
    ) -> None:
        texts = [record("A", x="int"), record("B", a="A"), record("C", a="A", b="B")]
        first = register("AVRO", texts[0], ())
        second = register("AVRO", texts[1], (first,))
        third = register("AVRO", texts[2], (first, second))

        found = await schemas.schema(third)

        assert [json.loads(part)["name"] for part in found.parts] == ["A", "B"]
        assert json.loads(found.text) == json.loads(texts[2])

    async def test_an_id_that_is_not_there_is_an_error_of_its_own(
        self, schemas: SchemaSource
    ) -> None:
        with pytest.raises(UnknownSchema) as refused:
            await schemas.schema(2_000_000_000)

        assert not refused.value.retryable

    async def test_many_may_ask_at_once(self, schemas: SchemaSource, register: Register) -> None:
        number = register("AVRO", record("Many", x="int"), ())

        found = await asyncio.gather(*(schemas.schema(number) for _ in range(20)))

        assert len({one.text for one in found}) == 1
