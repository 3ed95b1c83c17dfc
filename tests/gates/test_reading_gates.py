"""Gates as they are declared, and data sets as they are: each mistake is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import splice
from splice.control import datasets
from splice.core.errors import SettingsError
from splice.declare.codec import codec
from splice.declare.gate_reading import read_gates
from splice.declare.gates import Gates, Labelled, gates_for, title

DATA = Labelled("a.csv", label="y")
AUC = splice.AtLeast("auc", 0.7)


def mistakes(gates: Any) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    read_gates(gates, high_risk=False, wrong=lambda *said: found.append(said))
    assert all(one[0] == "gates" for one in found)
    return found


def of(*must: Any, **more: Any) -> Gates:
    return Gates(data=more.pop("data", DATA), must=list(must), **more)


def nothing(labels: Any) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("gates", "says"),
    [
        ("none", "str"),
        ([of(AUC), 5], "int"),
        (of(), "no gate"),
        (of(AUC, AUC), "AtLeast auc twice"),
        (of(splice.AtLeast("acu", 0.7)), "AtLeast: metric 'acu'"),
        (of(splice.AtMost(nothing, 0.7)), "AtMost: metric <function nothing"),
        (of(splice.AtLeast("auc", float("nan"))), "AtLeast auc: bound=nan"),
        (of(splice.AtLeast("auc", "0.7")), "AtLeast auc: bound='0.7'"),  # type: ignore[arg-type]
        (of(splice.NotWorse("auc", margin=True)), "NotWorse auc: margin=True"),
        (of(splice.Slices("sex", "auc")), "Slices sex auc that bounds nothing"),
        (of(splice.Slices("", "auc", worst=0.5)), "Slices of ''"),
        (of(splice.Slices("age", "auc", worst=0.5, edges=(40, 26))), "edges=(40, 26)"),
        (of(splice.Slices("age", "auc", gap=-0.1)), "gap=-0.1"),
        (of(splice.Latency()), "a Latency that bounds nothing"),
        (of(splice.Latency(p99="2 parsecs")), "p99 '2 parsecs'"),
        (of(splice.Latency(p99="2 ms", rows=3)), "rows=3"),
        (of(splice.Size("20 apples")), "Size('20 apples')"),
        (of(splice.Size(0)), "Size(0)"),
        (of(splice.Robust(missing=None, unknown=None)), "a Robust that checks nothing"),
        (of(splice.Robust(missing=2.0)), "missing=2.0"),
        (of(splice.Robust(shift=-1)), "shift=-1"),
        (of(splice.Calibrated(0.1, bins=1)), "bins=1"),
        (of(AUC, valid_for="soon"), "valid_for 'soon'"),
        (of(AUC, data="a.csv"), "data='a.csv'"),
        (of(AUC, data=Labelled("a.xlsx", "y")), "'a.xlsx'"),
        (of(AUC, data=Labelled("a.csv", "")), "label ''"),
        ([of(AUC), of(AUC)], "two of the same model"),
        (of(AUC, model=5), "model=5"),
    ],
)
def test_a_mistake_in_gates_is_named(gates: Any, says: str) -> None:
    (said,) = mistakes(gates)

    assert says in said[1]
    assert all(said[1:])


def test_gates_are_read_in_seconds_and_bytes() -> None:
    must = [AUC, splice.Latency(p50="2 ms", p99=0.5), splice.Size("20 MB"), splice.Size("1 KiB")]
    (read,) = read_gates(of(*must[:3], valid_for="90 days"), high_risk=True, wrong=print)
    (other,) = read_gates(of(must[3], approver=False), high_risk=True, wrong=print)

    assert (read.valid_s, read.approver, other.approver) == (90 * 86_400, True, False)
    assert read.must[1:] == (splice.Latency(p50=0.002, p99=0.5), splice.Size(20_000_000))
    assert other.must == (splice.Size(1024),)


def test_the_digest_tells_other_gates_and_other_sources_apart() -> None:
    def digest(*must: Any, bundle: str = "a", **more: Any) -> str:
        (read,) = read_gates(of(*must, **more), high_risk=False, wrong=print)
        return read.digest(bundle)

    digests = {
        digest(AUC), digest(AUC, bundle="b"), digest(splice.AtLeast("auc", 0.71)),
        digest(splice.AtMost("auc", 0.7)), digest(AUC, approver=True), digest(AUC, valid_for="1 d"),
        digest(AUC, data=Labelled("b.csv", "y")), digest(AUC, model="m"),
    }  # fmt: skip

    assert len(digests) == 8
    assert digest(AUC) == digest(splice.AtLeast("auc", 0.7, sure=False))


def test_the_gates_of_a_model_come_before_those_of_all() -> None:
    gates = [of(AUC), of(splice.AtLeast("ks", 0.3), model="credit")]
    read = read_gates(gates, high_risk=False, wrong=print)

    assert gates_for(read, "credit") is read[1]
    assert gates_for(read, "churn") is read[0]
    assert gates_for(read[1:], "churn") is None
    assert [title(one.must[0]) for one in read] == ["AtLeast auc", "AtLeast ks"]


class Loan(msgspec.Struct):
    amount: float
    kind: str = "car"


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_data_set_reads_the_same_from_each_form(tmp_path: Path, form: str) -> None:
    rows = [{"amount": 1.5, "kind": "boat", "y": True, "age": 20},
            {"amount": 2.0, "kind": None, "y": False, "age": 30}]  # fmt: skip
    file = tmp_path / f"loans.{form}"
    if form == "csv":
        file.write_text("\ufeffamount,kind,y,age\n1.5,boat,true,20\n\n2,,false,30\n", "utf-8")
    elif form == "jsonl":
        file.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), file)

    data = datasets.read(tmp_path, Labelled(file.name, "y"))

    assert (data.labels, data.rows, data.sha256) == ([True, False], 2, datasets.hashed(file))
    assert [str(one) for one in data.columns["age"]] == ["20", "30"]
    bodies = data.requests(codec(Loan), ["amount", "kind"])
    assert [json.loads(one) for one in bodies] == [
        {"amount": 1.5, "kind": "boat"}, {"amount": 2.0, "kind": "car"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("y\n0\n1\n", [0.0, 1.0]),
        ("y\nTrue\nFalse\n", [True, False]),
        ("y\n3.5\n-2\n", [3.5, -2.0]),
        ("y\nbad\ngood\n", ["bad", "good"]),
    ],
)
def test_labels_are_truths_numbers_or_words(tmp_path: Path, text: str, labels: list[Any]) -> None:
    (tmp_path / "a.csv").write_text(text)

    assert datasets.read(tmp_path, DATA).labels == labels


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "x\n1\n", "no column y"),
        ("a.csv", "", "the header"),
        ("a.csv", "y,y\n1,2\n", "the header y,y"),
        ("a.csv", "y\n", "no rows"),
        ("a.csv", "y,x\n1\n", "1 cells"),
        ("a.csv", "y\n\xff\n".encode("latin-1"), "utf-8"),
        ("a.csv", "y,x\n,1\n", "got nothing, expected the truth"),
        ("a.csv", "y\nnan\n", "expected a finite number"),
        ("a.jsonl", '{"y": 1}\n[2]\n', "line 2: got list"),
        ("a.jsonl", '{"y": 1, "y": 0}\n', "the key 'y' twice"),
        ("a.jsonl", '{"y": NaN}\n', "line 1"),
        ("a.jsonl", '{"y": {"a": 1}}\n', "got dict"),
        ("a.parquet", "no parquet", "a Parquet file"),
        ("b.csv", None, "No such file"),
        ("../a.csv", None, "outside the project"),
    ],
)
def test_what_is_wrong_with_a_data_set_is_named(
    tmp_path: Path, name: str, text: str | bytes | None, says: str
) -> None:
    (tmp_path / "in").mkdir()
    if isinstance(text, bytes):
        (tmp_path / "in" / name).write_bytes(text)
    elif text is not None:
        (tmp_path / "in" / name).write_text(text)

    with pytest.raises(SettingsError) as wrong:
        datasets.read(tmp_path / "in", Labelled(name, "y"))

    assert says in str(wrong.value)


def test_a_row_that_is_no_request_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("amount,y\n1,1\nmuch,0\n")
    data = datasets.read(tmp_path, DATA)

    with pytest.raises(SettingsError, match=r"a\.csv row 2: got row\.amount"):
        data.requests(codec(Loan), ["amount", "kind"])
