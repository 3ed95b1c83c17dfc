"""Rows in files: every type of column is read, by pyarrow and without it."""

from __future__ import annotations

import datetime
import json
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from splice.core.errors import SettingsError
from splice.core.profiles import Kind
from splice.monitor.rows import drift_of_rows, training
from splice.monitor.shapes import shape_of
from splice.monitor.tables import profile_of, read


def kinds(file: Path, **rest: tuple[str, ...]) -> dict[str, Kind]:
    table = read(file, **rest)
    return {name: shape_of(profile_of(column())).kind for name, column in table.columns.items()}


def test_every_type_of_a_parquet_column_is_a_number_a_word_a_truth_or_a_list(
    tmp_path: Path,
) -> None:
    day = datetime.date(2026, 11, 28)
    columns = {
        "whole": pa.array([1, 2, None]),
        "single": pa.array([1.5, float("nan"), float("inf")], pa.float32()),
        "exact": pa.array([Decimal("1.50"), None, Decimal("2.25")]),
        "truth": pa.array([True, False, None]),
        "word": pa.array(["a", "b", None]),
        "coded": pa.array(["a", "a", None]).dictionary_encode(),
        "coded number": pa.array([1, 1, 2]).dictionary_encode(),
        "day": pa.array([day, day, None]),
        "moment": pa.array([datetime.datetime(2026, 11, 28), None, None]),
        "list": pa.array([[1, 2], [], None]),
        "nothing": pa.nulls(3),
        "struct": pa.array([{"a": 1}, None, {"a": 2}]),
    }
    file = tmp_path / "rows.parquet"
    parquet.write_table(pa.table(columns), file)

    found = kinds(file)

    assert found == {
        "whole": Kind.NUMBER, "single": Kind.NUMBER, "exact": Kind.NUMBER, "truth": Kind.TRUTH,
        "word": Kind.WORD, "coded": Kind.WORD, "coded number": Kind.NUMBER, "day": Kind.NUMBER,
        "moment": Kind.NUMBER, "list": Kind.LIST, "nothing": Kind.NOTHING,
    }  # fmt: skip
    table = read(file)
    assert table.skipped == ("struct",)
    single = table.columns["single"]()
    assert (single.rows, single.missing, single.not_finite) == (3, 1, 1)
    assert all(column().rows == 3 for column in table.columns.values())
    report = drift_of_rows(table, table)
    assert next(one for one in report.columns if one.column == "struct").why
    assert not report.alarms


CSV = "amount,zip,new,note,gone\n1.5,01234,true,hello,\n2,04567,false,,\n,01234,true,x,\n"


@pytest.mark.parametrize("installed", [True, False])
def test_a_csv_reads_alike_with_pyarrow_and_without(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "pyarrow.csv", None)
    file = tmp_path / "rows.csv"
    file.write_text(CSV)

    found = training(read(file, ("zip",)))

    assert {name: (one.calls, one.missing, shape_of(one).kind) for name, one in found.items()} == {
        "amount": (3, 1, Kind.NUMBER), "zip": (3, 0, Kind.WORD), "new": (3, 0, Kind.TRUTH),
        "note": (3, 1, Kind.WORD), "gone": (3, 3, Kind.NOTHING),
    }  # fmt: skip


def test_json_lines_are_read_as_contexts_are(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"x": 1, "card": {"country": "DE"}}, {"x": "many"}, {"y": [1, 2]}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    table = read(file)

    assert table.columns.keys() == {"x", "card.country", "y"}
    x = table.columns["x"]()
    assert (x.rows, x.missing, x.words) == (3, 1, {"many": 1})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("twice.csv", b"a,a\n1,2\n"), ("broken.csv", b"a,b\n1\n"), ("odd.parquet", b"no Parquet"),
        ("list.jsonl", b"[1]\n"), ("text.jsonl", b"{\n"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_read_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(SettingsError, match=name):
        read(tmp_path / name)


def test_a_file_without_rows_says_that_there_are_too_few(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n")

    report = drift_of_rows(read(file), read(file))

    assert not report.alarms
    assert all(one.value is None for one in report.columns)
