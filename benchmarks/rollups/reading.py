"""`python -m benchmarks.rollups.reading`: how long totals, series and breakdowns take to read.

Rollups as 10 million calls of 60 days leave them: 20 integrations with two routes and five kinds of
call each, every hour and day filled, and every minute of the last 48 hours. They are written by the
store's own `add`, without the calls behind them, for reading looks at no call. SQLite, or with
`--postgres URL` there. Told are medians of 15 in milliseconds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from splice.adapters.ledgers.sql import open_ledger
from splice.adapters.ledgers.unrolled import Token
from splice.core.histograms import bucket_of
from splice.core.rollups import DAY_S, HOUR_S, MINUTE_S, CallerKey, Kind, SpentKey, Wanted, Window
from splice.monitor import traffic
from splice.ports.rollups import Batch, Rolled, RollupStore, TimedKey

CALLS, DAYS, INTEGRATIONS = 10_000_000, 60, 20
NOW_S = 1_793_880_000
KINDS = (
    ("answered", "first", "model:a"), ("answered", "fallback", "model:b"),
    ("answered", "cached", ""), ("failed", "exhausted", ""), ("refused", "over_budget", ""),
)  # fmt: skip


def fill(store: RollupStore) -> None:
    """Write the spans, some thousand in a transaction."""
    rng = random.Random(1)
    spans = [(DAY_S, NOW_S - DAYS * DAY_S, NOW_S), (HOUR_S, NOW_S - DAYS * DAY_S, NOW_S)]
    spans.append((MINUTE_S, NOW_S - 2 * DAY_S, NOW_S))
    for span, since, until in spans:
        each = max(1, CALLS * span // (DAYS * DAY_S) // INTEGRATIONS)
        rolled = Rolled()
        shapes = [shape(rng, max(1, each // 2)) for _ in range(20)]
        for number, start in enumerate(range(since // span * span, until, span), 1):
            for which in range(INTEGRATIONS):
                fill_one(rolled, rng.choice(shapes), (span, start), f"integration-{which:02}", each)
            if number % 40 == 0:
                store.add(Batch([], Token([])), rolled, bytes.__add__)
                rolled = Rolled()
        store.add(Batch([], Token([])), rolled, bytes.__add__)


def shape(rng: random.Random, calls: int) -> dict[int, int]:
    """A histogram of so many calls, 5,000 at the most: more fill no further bucket."""
    counts: dict[int, int] = {}
    for _ in range(min(calls, 5000)):
        bucket = bucket_of(int(rng.lognormvariate(9.4, 0.8)))
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts


def fill_one(
    rolled: Rolled, counts: dict[int, int], at: tuple[int, int], name: str, each: int
) -> None:
    """A span of an integration."""
    for status, reason, route in KINDS:
        calls = max(1, each * (8 if reason == "first" else 1) // 12)
        kind = Kind(name, 3, status, reason, "http", route, "", f"{route}@1")
        rolled.counted[(*at, kind)] = [calls, 12 * calls, calls, 9000 * calls]
        timed = TimedKey(name, 3, "", route)
        rolled.durations[(*at, timed)] = counts
        if route:
            spent = SpentKey(name, 3, "", route, f"{route}@1", "answered")
            rolled.spent[(*at, spent)] = [calls, calls, 12 * calls, calls, 900, 90, 9, 8000 * calls]
    if at[0] > MINUTE_S:
        for caller in range(10):
            key = CallerKey(name, 3, "", f"key:{caller}")
            rolled.callers[(*at, key)] = [each // 10, each // 10, 12, 1, 90, 9, 0]


def told(what: str, action: Callable[[], object]) -> None:
    """Print a row."""
    action()
    found: list[float] = []
    for _ in range(15):
        start = time.perf_counter()
        action()
        found.append((time.perf_counter() - start) * 1e3)
    print(f"{what:44}{statistics.median(found):8.1f} ms")


def main() -> None:
    """Fill, and read as pages do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", default="")
    url = parser.parse_args().postgres
    with tempfile.TemporaryDirectory() as folder:
        ledger = open_ledger(url or f"sqlite:///{folder}/ledger.db", Path(folder))
        store = ledger.rollups
        # The integrations are those of the kinds, which `add` learns.
        fill(store)
        for hours in (1, 24, 7 * 24, 59 * 24):
            window = Window((NOW_S - hours * HOUR_S - 90) * 1_000_000, (NOW_S - 90) * 1_000_000)
            one, every = Wanted(window, "integration-07"), Wanted(window)
            label = f"{hours} h" if hours < 48 else f"{hours // 24} d"
            told(f"totals of one, {label}", lambda one=one: traffic.totals(store, one))
            told(f"series of one, {label}", lambda one=one: traffic.series(store, one))
            told(f"routes of one, {label}", lambda one=one: traffic.breakdown(store, one, "route"))
            told(
                f"all by integration, {label}",
                lambda every=every: traffic.breakdown(store, every, "integration"),
            )
            told(f"callers of one, {label}", lambda one=one: traffic.callers(store, one))
        ledger.close()


if __name__ == "__main__":
    main()
