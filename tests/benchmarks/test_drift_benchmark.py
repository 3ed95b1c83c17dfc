"""The benchmark of drift: what is planted, what is told of it, and that Splice finds it."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from drift.data import SHIFTED, UNSHIFTED  # noqa: E402
from drift.data import table as drawn  # noqa: E402
from drift.job import planned, rows_of_load, verdicts  # noqa: E402
from splice.monitor.rows import drift_of_rows  # noqa: E402
from splice.monitor.tables import read  # noqa: E402
from table_drift import drift_floors, drift_markdown, planted_markdown  # noqa: E402


def test_thirty_columns_are_drawn_twenty_of_numbers_and_ten_of_words() -> None:
    types = [str(field.type) for field in drawn(100, 0, moved=True).schema]

    assert (types.count("double"), types.count("string")) == (20, 10)


def test_splice_finds_what_was_planted_and_nothing_else(tmp_path: Path) -> None:
    for name, seed, moved in (("now", 1, True), ("before", 2, False)):
        parquet.write_table(drawn(20_000, seed, moved=moved), tmp_path / f"{name}.parquet")

    report = drift_of_rows(read(tmp_path / "now.parquet"), read(tmp_path / "before.parquet"))

    assert {one.column for one in report.alarms} == set(SHIFTED)


def test_a_load_is_so_many_rows_of_the_columns_that_there_are() -> None:
    assert rows_of_load("1Mx30") == 1_000_000
    assert rows_of_load("100kx30") == 100_000
    for wrong in ("1Mx31", "1x30", "Mx30x"):
        with pytest.raises((SystemExit, ValueError)):
            rows_of_load(wrong)
    with pytest.raises(SystemExit, match="there is no whylogs"):
        planned(["whylogs"], "1Mx30", 1.0, 1, every_variant=False)


def test_floors_and_tables_tell_what_the_rows_say() -> None:
    rows = [
        *verdicts("1Mx30", {"evidently": ["mean +0.5 sd", "normal"], "splice": list(SHIFTED)}),
        *verdicts("1Mx30", {"splice profiles": list(SHIFTED)}),
        *(
            {"subject": name, "load": "1Mx30", "metric": metric, "value": value}
            for name, metric, value in (
                ("evidently", "seconds", 80.0), ("evidently", "memory_mb", 2400.0),
                ("evidently", "cpu_s", 90.0), ("splice", "cpu_s", 3.0),
                ("splice profiles", "cpu_s", 0.05),
                ("splice", "seconds", 2.5), ("splice", "memory_mb", 400.0),
                ("splice profiles", "seconds", 0.06), ("splice profiles", "memory_mb", 200.0),
            )
        ),
    ]  # fmt: skip
    table = {
        (str(r["subject"]), str(r["load"]), str(r["metric"])): float(str(r["value"])) for r in rows
    }
    meta = {
        "flagged": {"1Mx30": {"evidently": ["normal"]}},
        "planted": {"shifted": list(SHIFTED), "unshifted": list(UNSHIFTED)},
    }

    kept = drift_floors(table)
    quicker = drift_floors(table | {("splice", "1Mx30", "seconds"): 1.9})

    assert list(kept.values()) == [False, True, True]
    assert "32 times faster than Evidently" in next(iter(kept))
    assert list(quicker.values()) == [True, True, True]
    assert "| evidently | 1Mx30 | 80 | 32 times faster | 90 | 2,400 | 1 | 1 |" in drift_markdown(
        table
    )
    assert "| normal | not moved | flagged |" in planted_markdown(meta, "1Mx30")
