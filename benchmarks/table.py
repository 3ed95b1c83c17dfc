"""`python benchmarks/table.py [JOB] [--check]`: a job's results as the README's Markdown table.

With `--check`, also whether Splice keeps each floor; exit 1 if it keeps not all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
OURS = "splice"
FLOOR = "raw"
COMPARED = 32
"""The connections at which throughput and p99 are compared."""
TIMES_FASTER = {"fastapi": 3.0, "mlserver": 9.0, "bentoml": 25.0}
"""How many times each neighbour's throughput Splice must give."""
ABOVE_RAW_MS = 0.2
"""How far Splice's p50 at one connection may lie above the raw handler's."""

Table = Mapping[tuple[str, int, str], float]


def main(argv: list[str]) -> int:
    """Print the table, and with `--check` the floors; the exit code."""
    parser = argparse.ArgumentParser(description="A job's results as a Markdown table.")
    parser.add_argument("job", nargs="?", default="serve")
    parser.add_argument("--check", action="store_true", help="tell whether the floors are kept")
    options = parser.parse_args(argv)
    table = read(RESULTS / f"{options.job}.json")
    print(markdown(table))
    if not options.check:
        return 0
    kept = floors(table)
    print()
    for sentence, holds in kept.items():
        print(f"{'kept  ' if holds else 'broken'}  {sentence}")
    return 0 if all(kept.values()) else 1


def read(path: Path) -> Table:
    """The rows of a results file by subject, load and metric."""
    rows = json.loads(path.read_text())
    return {(row["subject"], row["load"], row["metric"]): row["value"] for row in rows}


def markdown(table: Table) -> str:
    """One line a subject: throughput and latencies at each load, and how it compares with Splice.

    The last column is Splice's throughput over the subject's, at 32 connections; it is left out
    where the results have no Splice.
    """
    subjects = list(dict.fromkeys(subject for subject, _, _ in table))
    loads = sorted({load for _, load, _ in table})
    compared = (OURS, COMPARED, "rps") in table
    heads = ["subject"]
    for load in loads:
        heads += [f"rps at {load}", f"p50 ms at {load}", f"p99 ms at {load}"]
    if compared:
        heads.append(f"Splice's rps is, at {COMPARED}")
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for subject in subjects:
        cells = [subject]
        for load in loads:
            cells.append(_shown(table, subject, load, "rps", ",.0f"))
            cells.append(_shown(table, subject, load, "p50_ms", ".2f"))
            cells.append(_shown(table, subject, load, "p99_ms", ".2f"))
        if compared:
            ratio = _ratio(table, subject)
            cells.append(f"{ratio:.1f} times" if ratio and subject != OURS else "")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def floors(table: Table) -> dict[str, bool]:
    """Each floor with its figures, and whether it is kept.

    Raises:
        KeyError: The results lack a subject or a load that a floor speaks of.
    """
    kept: dict[str, bool] = {}
    ours = table[OURS, COMPARED, "p99_ms"]
    for subject, least in TIMES_FASTER.items():
        ratio = table[OURS, COMPARED, "rps"] / table[subject, COMPARED, "rps"]
        kept[f"{ratio:.1f} times the throughput of {subject}, at least {least:g}"] = ratio >= least
        theirs = table[subject, COMPARED, "p99_ms"]
        kept[f"p99 {ours:.2f} ms, below the {theirs:.2f} of {subject}"] = ours < theirs
    above = table[OURS, 1, "p50_ms"] - table[FLOOR, 1, "p50_ms"]
    kept[f"p50 {above:.3f} ms above {FLOOR}, at most {ABOVE_RAW_MS}"] = above <= ABOVE_RAW_MS
    return kept


def _shown(table: Table, subject: str, load: int, metric: str, form: str) -> str:
    """One figure, or nothing where it was not measured."""
    value = table.get((subject, load, metric))
    return "" if value is None else format(value, form)


def _ratio(table: Table, subject: str) -> float | None:
    """Splice's throughput over the subject's at the compared load."""
    theirs = table.get((subject, COMPARED, "rps"))
    return table[OURS, COMPARED, "rps"] / theirs if theirs else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
