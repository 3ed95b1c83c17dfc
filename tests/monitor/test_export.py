"""Calls exported as CSV, JSON lines and Parquet, from a real ledger."""

from __future__ import annotations

import csv
import io
import json
import random
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as parquet
import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.call import Attempt, Outcome, Record, Status, Usage
from splice.core.ids import uuid7
from splice.core.release import Manifest
from splice.monitor.export import Form, Source, export
from splice.monitor.export_columns import Columns, columns_of
from splice.ports.stores import CallFilter
from splice.testing.contracts.records import simple_record

NOON_US = 1_795_003_200_000_000
ANSWER = b'{"action": "review"}'

COLUMNS = Columns(
    request=(("amount", "number"), ("note", "text"), ("lines", "json")),
    reply=(("action", "text"),),
    outcomes=("defaulted",),
)


def call(number: int, **fields: Any) -> Record:
    made: dict[str, Any] = {
        "call_id": uuid7(NOON_US // 1000 + number, number),
        "asked_us": NOON_US + number * 1000,
        "integration": "credit",
        "input": b'{"amount": 12.5, "note": "n%d", "lines": [1, {"a": 2}]}' % number,
        "reply": ANSWER,
        "prediction": b'{"value": "bad", "score": 0.75, "scores": {"bad": 0.75, "good": 0.25}}',
        "attempts": (
            Attempt("llm:a/b", "answered", 100, 900, usage=Usage(10, 2), first_token_us=50),
        ),
        "cost_nano": 12,
        "entity": "e1",
        "key": None,
    }
    return msgspec.structs.replace(simple_record(random.Random(number)), **(made | fields))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "models")
    yield opened
    opened.close()


def exported(
    ledger: Ledger,
    form: Form,
    wanted: CallFilter | None = None,
    columns: Columns | None = COLUMNS,
    most: int | None = None,
) -> bytes:
    source = Source(ledger.records, ledger.outcomes, "EUR")
    wanted = wanted or CallFilter(integration="credit", limit=1000)
    return b"".join(export(source, wanted, form, columns, most=most))


def csv_rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def parquet_rows(content: bytes) -> list[dict[str, Any]]:
    return parquet.read_table(io.BytesIO(content)).to_pylist()


def test_a_call_is_a_row_with_its_request_reply_prediction_and_outcomes(ledger: Ledger) -> None:
    one = call(1)
    ledger.records.append([one])
    late = NOON_US + 10**9
    told = [
        Outcome("credit", "defaulted", False, late, one.call_id),
        Outcome("credit", "defaulted", True, late + 1, one.call_id),
        Outcome("credit", "paid", 3.5, late, None, "e1"),
    ]
    ledger.outcomes.append_outcomes(told, late)

    (row,) = csv_rows(exported(ledger, "csv"))

    assert row["call_id"] == one.call_id
    assert row["asked_at"] == "2026-11-18T12:00:00.001000Z"
    assert (row["request.amount"], row["request.note"]) == ("12.5", "n1")
    assert json.loads(row["request.lines"]) == [1, {"a": 2}]
    assert (row["reply.action"], row["prediction.value"]) == ("review", "bad")
    assert (row["prediction.score"], row["cost"], row["currency"]) == ("0.75", "0.000000012", "EUR")
    assert (row["attempts"], row["input_tokens"], row["output_tokens"]) == ("1", "10", "2")
    assert row["first_token_ms"] == "0.15"
    assert row["outcome.defaulted"] == "true"
    assert json.loads(row["outcomes"]) == {"defaulted": True, "paid": 3.5}


def test_the_three_forms_hold_the_same(ledger: Ledger) -> None:
    ledger.records.append([call(number) for number in range(5)])

    rows = csv_rows(exported(ledger, "csv"))
    table = parquet_rows(exported(ledger, "parquet"))
    lines = [json.loads(line) for line in exported(ledger, "jsonl").splitlines()]

    ids = [call(number).call_id for number in reversed(range(5))]
    assert [row["call_id"] for row in rows] == ids
    assert [row["call_id"] for row in table] == ids
    assert [line["call_id"] for line in lines] == ids
    assert table[0]["asked_at"] == datetime(2026, 11, 18, 12, 0, 0, 4000, UTC)
    assert (table[0]["request.amount"], lines[0]["request"]["amount"]) == (12.5, 12.5)
    assert lines[0]["attempts"][0]["usage"] == {"input_tokens": 10, "output_tokens": 2}
    assert list(table[0]) == list(rows[0])


FORMULAS = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "\uff1d1", "a;=1",
    "a\n=cmd|'x'!A0",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula_in_a_spreadsheet_and_elsewhere_it_is_as_it_was(
    ledger: Ledger, text: str
) -> None:
    body = msgspec.json.encode({"amount": -5, "note": text, "lines": None})
    ledger.records.append([call(1, input=body, entity=text)])

    content = exported(ledger, "csv")
    (row,) = csv_rows(content)
    (stored,) = parquet_rows(exported(ledger, "parquet"))

    for cell in (row["request.note"], row["entity"]):
        assert cell != text
        assert cell.replace("'", "") == text.replace("'", "")
        # Whichever separator a spreadsheet believes in, no cell begins with the sign.
        for separator in ";\t\r\n":
            for part in cell.split(separator):
                assert not part.lstrip(' "').startswith(("=", "+", "-", "@", "\uff1d"))
    assert row["request.amount"] == "-5"  # a number is one
    assert (stored["request.note"], stored["entity"]) == (text, text)


def test_the_filters_are_those_of_the_list(ledger: Ledger) -> None:
    some = [call(n, release=n % 2, entity=f"e{n % 3}") for n in range(12)]
    ledger.records.append([*some, call(50, integration="other")])

    wanted = CallFilter(
        integration="credit", release=1, entity="e1", since_us=some[2].asked_us,
        until_us=some[11].asked_us, limit=1,
    )  # fmt: skip

    found = [row["call_id"] for row in csv_rows(exported(ledger, "csv", wanted))]
    assert found == [some[7].call_id]


@pytest.mark.parametrize("most", [1, 3, 4, 9, 100])
def test_pages_add_up_to_as_many_as_were_asked_for(ledger: Ledger, most: int) -> None:
    some = [call(n) for n in range(10)]
    ledger.records.append(some)

    found = csv_rows(exported(ledger, "csv", CallFilter(integration="credit", limit=3), most=most))

    expected = [one.call_id for one in reversed(some)][:most]
    assert [row["call_id"] for row in found] == expected


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_no_calls_are_a_file_that_can_be_read(ledger: Ledger, form: Form) -> None:
    content = exported(ledger, form)

    if form == "parquet":
        assert parquet_rows(content) == []
    else:
        assert content.count(b"call_id") == (1 if form == "csv" else 0)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_odd_payloads_are_exported_all_the_same(ledger: Ledger, form: Form) -> None:
    odd = [b"", b"no json {", b"\xff\xfe", b"[1]", b'{"amount": "much", "note": 7}', b'"text"',
           b'{"amount": 123456789012345678901234567890, "note": "\\u0000\\ud83d"}']  # fmt: skip
    ledger.records.append(
        [
            call(number, input=body, reply=body or None, prediction=body or None,
                 status=Status.FAILED, attempts=())
            for number, body in enumerate(odd)
        ]
    )  # fmt: skip

    content = exported(ledger, form)

    if form == "parquet":
        assert len(parquet_rows(content)) == len(odd)
    elif form == "jsonl":
        assert len([json.loads(line) for line in content.splitlines()]) == len(odd)
    else:
        assert len(csv_rows(content)) == len(odd)
        assert "no json {" in exported(ledger, form, columns=None).decode()


def test_an_export_keeps_no_more_than_a_page_in_memory(ledger: Ledger) -> None:
    big = b'{"amount": 1, "note": "%s"}' % (b"x" * 20_000)
    for start in range(0, 1000, 100):
        ledger.records.append([call(start + n, input=big) for n in range(100)])
    source = Source(ledger.records, ledger.outcomes)
    pieces = export(source, CallFilter(integration="credit", limit=50), "csv", COLUMNS)
    size = 0

    tracemalloc.start()
    for piece in pieces:
        size += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size > 20_000_000
    assert peak < 12_000_000


SCHEMA = {
    "$ref": "#/$defs/Payment",
    "$defs": {
        "Payment": {
            "type": "object",
            "properties": {
                "amount": {"type": "number"},
                "count": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "colour": {"enum": ["red", "blue"]},
                "ok": {"type": "boolean"},
                "lines": {"type": "array"},
                "inner": {"$ref": "#/$defs/Inner"},
                "mixed": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            },
        },
        "Inner": {"type": "object", "properties": {}},
    },
}


def manifest(request: dict[str, Any]) -> Manifest:
    return Manifest(
        integration="credit", entry="a:B", bundle="", purpose="", risk="low", deadline_s=1.0,
        routes=(), request_schema=request, reply_schema={},
    )  # fmt: skip


def test_columns_have_the_declared_types_of_all_releases() -> None:
    older = {
        "type": "object",
        "properties": {"amount": {"type": "string"}, "old": {"type": "string"}},
    }

    found = columns_of([manifest(SCHEMA), manifest(older)], ["paid"])

    assert dict(found.request) == {
        "amount": "json", "count": "integer", "colour": "text", "ok": "truth", "lines": "json",
        "inner": "json", "mixed": "json", "old": "text",
    }  # fmt: skip
    assert found.reply == ()
    names = [name for name, _ in found.all]
    assert "reply" in names
    assert "outcome.paid" in names
    assert len(set(names)) == len(names)
