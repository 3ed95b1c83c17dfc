"""Rows in and rows out: what a file says, in order, with every bad row in its place."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from splice.core.errors import SettingsError
from splice.declare.codec import codec
from splice.serve.batch import files
from splice.serve.batch.files import rows, write_table


class Order(msgspec.Struct, forbid_unknown_fields=True):
    customer: str
    amount: float
    items: int = 1
    gift: bool | None = None
    note: str | None = None


REQUEST = codec(Order)


def read(file: Path, **options: bool) -> list[Any]:
    """The rows: the decoded body of a good one, the error of a bad one."""
    found = list(rows(file, REQUEST, "order.input", **options))
    assert [row.number for row in found] == list(range(len(found)))
    return [row.wrong or json.loads(row.body) for row in found]


def written(tmp_path: Path, name: str, raw: bytes | str) -> Path:
    file = tmp_path / name
    file.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    return file


def test_cells_become_numbers_truths_and_texts(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", "customer,amount,items,gift,note\nä,1.5,2,TRUE,5\nb,2,,,\n")

    assert read(file) == [
        {"customer": "ä", "amount": 1.5, "items": 2, "gift": True, "note": "5"},
        {"customer": "b", "amount": 2.0, "items": 1, "gift": None, "note": None},
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffcustomer,amount\na,1\n",
        "customer,amount\r\na,1\r\n",
        "customer,amount\n\na,1\n\n",
        "amount,customer\n1,a",
        '"customer","amount"\n"a","1"\n',
    ],
)
def test_csv_of_every_tool_is_read(tmp_path: Path, text: str) -> None:
    assert [(one["customer"], one["amount"]) for one in read(written(tmp_path, "a.CSV", text))] == [
        ("a", 1.0)
    ]


def test_a_quoted_cell_may_hold_lines_and_quotes(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", 'customer,amount,note\na,1,"x\r\ny ""z"""\nb,2,n\n')

    assert [one["note"] for one in read(file)] == ['x\r\ny "z"', "n"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"x,abc", "got str, expected float"),
        (b"x,nan", "NaN"),
        (b"x,inf", "NaN"),
        (b",1", "customer"),
        (b"x,1,2", "3 cells, expected 2"),
        (b"x", "1 cells, expected 2"),
        (b"\xff,1", "not UTF-8"),
        (b'"x"y,1', "',' expected after"),
    ],
)
def test_a_bad_row_is_told_in_its_place_and_the_next_is_read(
    tmp_path: Path, line: bytes, said: str
) -> None:
    file = written(tmp_path, "a.csv", b"customer,amount\na,1\n" + line + b"\nb,2\n")

    first, bad, last = read(file)

    assert (first["customer"], last["customer"]) == ("a", "b")
    assert bad.where.startswith("order.input[1]")
    assert said in str(bad)


def test_a_quote_that_is_never_closed_does_not_swallow_rows_in_silence(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", 'customer,amount\na,1\n"b,2\nc,3\nd,4\n')

    with pytest.raises(SettingsError, match="a quote in line 3 that is never closed"):
        read(file)


def test_a_cell_that_is_too_long_is_one_bad_row(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "_MAX_LINE", 100)
    file = written(tmp_path, "a.csv", f"customer,amount\na,1\n{'x' * 101},1\nb,2\n")

    first, bad, last = read(file)

    assert (first["customer"], last["customer"]) == ("a", "b")
    assert "field larger" in str(bad)


def test_a_line_that_is_too_long_is_one_bad_row(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "_MAX_LINE", 64)
    good = '{"customer":"a","amount":1}\n'
    file = written(tmp_path, "a.jsonl", good + "x" * 200 + "\n" + good + "y" * 63 + "\n" + good)

    first, bad, second, wrong, last = read(file)

    assert first == second == last
    assert "a line of 201 bytes" in str(bad)
    assert "malformed" in str(wrong)


@pytest.mark.parametrize("text", ["", "\n\n", "customer,customer\n1,2\n", "\ufeff"])
def test_a_csv_without_a_header_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="one name for each column"):
        read(written(tmp_path, "a.csv", text))


def test_a_header_alone_is_no_row(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a.csv", "customer,amount\n")) == []


def test_extra_columns_are_one_mistake_of_the_file(tmp_path: Path) -> None:
    csv = written(tmp_path, "a.csv", "customer,amount,b,c\na,1,2,3\n")
    parquet = tmp_path / "a.parquet"
    pq.write_table(pa.table({"customer": ["a"], "amount": [1.0], "b": [2], "c": [3]}), parquet)

    for file in (csv, parquet):
        with pytest.raises(SettingsError, match="the request has not: b, c") as raised:
            read(file)
        assert "--ignore-extra" in raised.value.mend
        assert [one["customer"] for one in read(file, ignore_extra=True)] == ["a"]


def test_a_column_that_every_row_needs_is_missed_before_the_first_row(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", "customer,items\na,1\n")

    with pytest.raises(SettingsError, match="no column amount"):
        read(file)


def test_json_lines_keep_their_order_and_their_faults(tmp_path: Path) -> None:
    lines = [
        '\ufeff{"customer":"a","amount":1}',
        "",
        '{"customer":"b","amount":"1"}',
        '{"customer":"c","amount":1,"amount":2}',
        '{"customer":"d","amount":1,"more":2}',
        "{",
        "[]",
        '{"customer":"e","amount":1}',
    ]
    found = read(written(tmp_path, "a.jsonl", "\n".join(lines)))

    assert [type(one).__name__ for one in found] == [
        "dict", "InputMismatch", "MalformedBody", "InputMismatch", "MalformedBody",
        "InputMismatch", "dict",
    ]  # fmt: skip
    assert "more" not in found[0]


def test_json_lines_leave_out_what_is_extra_but_not_a_second_key(tmp_path: Path) -> None:
    text = '{"customer":"a","amount":1,"x":2}\n{"customer":"a","amount":1,"x":2,"x":3}\n'

    good, bad = read(written(tmp_path, "a.jsonl", text), ignore_extra=True)

    assert good == {"customer": "a", "amount": 1}
    assert "'x' twice" in str(bad)


def test_parquet_nulls_are_missing_values_and_nan_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    table = pa.table({"customer": ["a", "b", None], "amount": [1.5, float("nan"), 2.0],
                      "items": pa.array([2, None, 1], pa.int32())})  # fmt: skip
    pq.write_table(table, file)

    good, nan, missing = read(file)

    assert (good["amount"], good["items"]) == (1.5, 2)
    assert "NaN" in str(nan)
    assert "customer" in missing.where


@pytest.mark.parametrize("raw", [b"", b"PAR1", b"not parquet at all"])
def test_a_file_that_is_not_parquet_is_one_message(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(SettingsError, match="expected a Parquet file"):
        read(written(tmp_path, "a.parquet", raw))


def test_a_damaged_parquet_page_is_one_message(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"customer": ["a" * 50] * 999, "amount": [1.0] * 999}), file)
    raw = bytearray(file.read_bytes())
    raw[4:80] = b"\xff" * 76
    file.write_bytes(raw)

    with pytest.raises(SettingsError):
        read(file)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.json", "a.xlsx"])
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"one of \.csv, \.jsonl, \.parquet"):
        read(tmp_path / name)


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_file_that_is_not_there_is_one_message(tmp_path: Path, ending: str) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read(tmp_path / f"a{ending}")


@pytest.mark.parametrize(
    ("first", "second"), [*product([1, 0.5, "a", None, [1], {"a": 1}, {}, True, 2**70], repeat=2)]
)
def test_parquet_is_written_whatever_a_column_holds(
    tmp_path: Path, first: object, second: object
) -> None:
    file = tmp_path / "a.parquet"

    write_table(iter([{"x": first}, {"x": second}]), file, ["x"])

    assert pq.read_table(file).num_rows == 2


def test_a_table_of_no_rows_keeps_its_columns(tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet"):
        write_table(iter([]), tmp_path / name, ["row", "status"])

    assert (tmp_path / "a.csv").read_bytes() == b"row,status\r\n"
    assert pq.read_table(tmp_path / "a.parquet").column_names == ["row", "status"]
