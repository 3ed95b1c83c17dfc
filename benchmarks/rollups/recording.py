"""`python -m benchmarks.rollups.recording`: what recording costs with the rollups, and without.

Calls of `benchmarks/ledger.py` (300 bytes) are appended 500 and 20 at a time, in turns with and
without the row of `unrolled`, to ledgers of their own; then they are folded. Told are microseconds
a call: of this process's CPU and by the clock, the medians of the turns, and how much more it is.
`--postgres URL` does the same there.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.ledger import Calls

from splice.adapters.ledgers import postgres, sqlite
from splice.adapters.ledgers.database import Into
from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.call import Record
from splice.monitor.rolling import Roller

TURNS, EACH = 9, 10_000


def main() -> None:
    """Print a row for each size of batch, and the folding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", default="")
    url = parser.parse_args().postgres
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ledgers = [
            open_ledger(url or f"sqlite:///{place}/{name}.db", place) for name in ("with", "out")
        ]
        for size in (500, 20):
            told(size, ledgers)
        folded(ledgers[0])
        for ledger in ledgers:
            ledger.close()


def told(size: int, ledgers: list[Ledger]) -> None:
    """Append in turns."""
    calls = Calls(4 * TURNS * EACH)
    found: list[list[tuple[float, float]]] = [[], []]
    for _ in range(TURNS):
        batches = [calls.batch(size) for _ in range(EACH // size)]
        found[0].append(timed(lambda some=batches: append(ledgers[0], some)))
        batches = [calls.batch(size) for _ in range(EACH // size)]
        found[1].append(timed(lambda some=batches: without(ledgers[1], some)))
    for place, what in enumerate(("CPU", "clock")):
        one, other = (statistics.median(each[place] for each in way) for way in found)
        print(
            f"{size:4} a batch, {what:5}: {one:6.2f} us a call with, {other:6.2f} without: "
            f"{(one / other - 1) * 100:+.1f} %"
        )


def append(ledger: Ledger, batches: list[list[Record]]) -> None:
    """As it is."""
    for batch in batches:
        ledger.records.append(batch)


def without(ledger: Ledger, batches: list[list[Record]]) -> None:
    """As it was: no row, no ids."""
    plain: Callable[..., int] = sqlite._insert

    def insert(cursor: sqlite3.Cursor, into: Into, values: Sequence[Any]) -> int:
        return 0 if into is sqlite._UNROLLED else plain(cursor, into, values)

    head, _, tail = postgres._APPEND.partition("), waiting AS (")
    statement = head + ")" + tail.partition("\n)\n")[2]
    with (
        mock.patch.object(sqlite, "_insert", insert),
        mock.patch.object(postgres, "_APPEND", statement),
        mock.patch("splice.adapters.ledgers.payloads._ids", return_value=b""),
    ):
        append(ledger, batches)


def timed(action: Callable[[], None]) -> tuple[float, float]:
    """Microseconds a call, of CPU and of the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    action()
    return (
        (time.process_time() - cpu) / EACH * 1e6,
        (time.perf_counter() - clock) / EACH * 1e6,
    )


def folded(ledger: Ledger) -> None:
    """Fold what was appended."""
    count = ledger.records.count()
    roller, cpu, clock = Roller(ledger.rollups), time.process_time(), time.perf_counter()
    while roller.step(1):
        pass
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    print(
        f"folding {count} calls: {cpu / count * 1e6:.1f} us of CPU a call, "
        f"{count / cpu:.0f} a second of a core, {count / clock:.0f} by the clock"
    )


if __name__ == "__main__":
    main()
