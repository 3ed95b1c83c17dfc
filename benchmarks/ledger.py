"""`python benchmarks/ledger.py`: how fast the ledger stores calls and finds one among a million.

SQLite in a temporary folder, and PostgreSQL where `scripts/services start postgres` has started it.
Calls have a request of 300 bytes and are spread over ten days. Rows go to `results/ledger.json`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.call import Attempt, Reason, Record, Status
from splice.core.ids import uuid7
from splice.ports.stores import CallFilter

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
BATCH = 500
START_MS = 1_793_880_000_000
DAYS = 10


class Calls:
    """Records that are alike but not the same, in the order of time."""

    def __init__(self, total: int) -> None:
        self._rng = random.Random()
        self._step_ms = DAYS * 86_400_000 / total
        self._made = 0

    def batch(self, size: int) -> list[Record]:
        """The next ones."""
        return [self._next() for _ in range(size)]

    def _next(self) -> Record:
        rng, n = self._rng, self._made
        self._made += 1
        unix_ms = START_MS + int(n * self._step_ms)
        body = b'{"age":%d,"amount":%d,"purpose":"car","history":"critical","note":"%s"}' % (
            rng.randrange(18, 90), rng.randrange(500, 20_000), rng.randbytes(40).hex().encode()
        )  # fmt: skip
        score = rng.random()
        return Record(
            call_id=uuid7(unix_ms, rng.getrandbits(74)), integration="credit", release=3,
            asked_us=unix_ms * 1000, duration_us=rng.randrange(500, 5000),
            status=Status.FAILED if n % 10_000 == 0 else Status.ANSWERED, reason=Reason.FIRST,
            surface="http", caller="key:shop", entity=f"customer-{rng.randrange(200_000):06d}",
            route="model:credit", version="credit@3 9f8a7b6c", cost_nano=12,
            input=body.ljust(300),
            attempts=(Attempt("model:credit", "answered", 10, 800, "credit@3 9f8a7b6c"),),
            prediction=b'{"value":1,"score":%.6f}' % score,
            reply=b'{"default_probability":%.6f,"action":"approve"}' % score,
        )  # fmt: skip


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def timed(action: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


def gil_us(url: str, folder: Path) -> float:
    """Microseconds of the interpreter that a record takes from other threads, at batch 500.

    The main thread counts beside a thread that appends, and beside a process that appends the same:
    that takes cores, caches and the disk as well, but not the interpreter. What is counted less
    beside the thread is what appending held. The median of the turns.
    """
    ledger, calls, found = open_ledger(url, folder), Calls(1_000_000), list[float]()
    for _ in range(12):
        batches = [calls.batch(BATCH) for _ in range(40)]
        ended = threading.Event()
        thread = threading.Thread(target=append_all, args=(ledger, batches, ended))
        thread.start()
        beside, beside_s = count_until(ended.is_set)
        thread.join()
        argv = [sys.executable, __file__, "--append-to", url]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError("the process that appends did not start")
            end = time.perf_counter() + 0.3
            apart, apart_s = count_until(lambda end=end: time.perf_counter() > end)
            process.kill()
        found.append((beside_s - beside / (apart / apart_s)) / (40 * BATCH) * 1e6)
    ledger.close()
    return statistics.median(found)


def append_all(ledger: Ledger, batches: list[list[Record]], ended: threading.Event) -> None:
    """Append, and say that it is done."""
    for batch in batches:
        ledger.records.append(batch)
    ended.set()


def append_until_killed(url: str) -> None:
    """The process of `gil_us`: its batches are ready before it says so."""
    calls = Calls(1_000_000)
    batches = [calls.batch(BATCH) for _ in range(400)]
    ledger = open_ledger(url, Path(tempfile.gettempdir()))
    ledger.records.append(batches[0])
    print("appending", flush=True)
    append_all(ledger, batches, threading.Event())


def count_until(ended: Callable[[], bool]) -> tuple[int, float]:
    """How far this thread counts, and for how many seconds."""
    counted, start = 0, time.perf_counter()
    while not ended():
        for _ in range(1000):
            pass
        counted += 1
    return counted, time.perf_counter() - start


def measure(ledger: Ledger, total: int) -> dict[str, tuple[float, str]]:
    """Figures of one ledger that is empty at first."""
    calls = Calls(total)
    ids: list[str] = []
    took: list[float] = []
    cpu = 0.0
    for _ in range(total // BATCH):
        batch = calls.batch(BATCH)
        ids.append(batch[random.randrange(BATCH)].call_id)
        before = time.thread_time()
        took.append(timed(lambda batch=batch: ledger.records.append(batch)))
        cpu += time.thread_time() - before
    random.shuffle(ids)
    got = [timed(lambda i=i: ledger.records.get(i)) for i in ids[:1000]]
    failed = CallFilter(integration="credit", status=Status.FAILED)
    found = [timed(lambda: ledger.records.find(failed)) for _ in range(50)]
    of_one = [
        timed(lambda n=n: ledger.records.find(CallFilter(entity=f"customer-{n:06d}")))
        for n in random.sample(range(200_000), 200)
    ]
    single = [timed(lambda: ledger.records.append(calls.batch(1))) for _ in range(500)]
    return {
        "append_rate": (total / sum(took) * 1e3, "calls/s"),
        "append_500_p50_ms": (percentile(took, 0.5), "ms"),
        "append_500_p99_ms": (percentile(took, 0.99), "ms"),
        "append_500_max_ms": (max(took), "ms"),
        "append_cpu_us": (cpu / total * 1e6, "us/call"),
        "append_1_p50_ms": (percentile(single, 0.5), "ms"),
        "append_1_p99_ms": (percentile(single, 0.99), "ms"),
        "get_p50_ms": (percentile(got, 0.5), "ms"),
        "get_p99_ms": (percentile(got, 0.99), "ms"),
        "find_failed_p50_ms": (percentile(found, 0.5), "ms"),
        "find_entity_p50_ms": (percentile(of_one, 0.5), "ms"),
        "live_p50_ms": (percentile([timed(ledger.releases.live) for _ in range(200)], 0.5), "ms"),
    }


def postgres_urls() -> tuple[str, str] | None:
    """URLs of the test server and of a new database in it; None where no server runs."""
    services = ROOT / "scripts" / "services"
    if subprocess.run(
        [services, "status", "postgres"], capture_output=True, check=False
    ).returncode:
        return None
    said = subprocess.run([services, "env", "postgres"], capture_output=True, check=True, text=True)
    server = said.stdout.strip().partition("=")[2]
    return server, server.replace("/splice_test?", "/splice_benchmark?")


def on_postgres(total: int, folder: Path) -> dict[str, tuple[float, str]]:
    """Figures of a database that is made for them and dropped."""
    import psycopg

    urls = postgres_urls()
    if urls is None:
        print("postgresql: not measured, scripts/services start postgres", file=sys.stderr)
        return {}
    server, url = urls

    def run(sql: bytes) -> None:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql)

    run(b"DROP DATABASE IF EXISTS splice_benchmark WITH (FORCE)")
    run(b"CREATE DATABASE splice_benchmark")
    ledger = open_ledger(url, folder)
    try:
        figures = measure(ledger, total)
        with psycopg.connect(url) as connection:
            size = connection.execute(b"SELECT pg_database_size('splice_benchmark')").fetchone()
        figures["append_gil_us"] = (gil_us(url, folder), "us/call")
        figures["bytes_per_call"] = (size[0] / total if size else 0.0, "bytes")
    finally:
        ledger.close()
        run(b"DROP DATABASE splice_benchmark WITH (FORCE)")
    return figures


def on_sqlite(total: int, folder: Path) -> dict[str, tuple[float, str]]:
    """Figures of a file."""
    file = folder / "ledger.db"
    ledger = open_ledger(f"sqlite:///{file}", folder / "blobs")
    figures = measure(ledger, total)
    ledger.close()
    small = f"sqlite:///{folder}/small.db"
    figures["append_gil_us"] = (gil_us(small, folder), "us/call")
    figures["bytes_per_call"] = (file.stat().st_size / total, "bytes")
    return figures


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="How fast the ledger stores and finds calls.")
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--dry", action="store_true", help="print, and store nothing")
    parser.add_argument("--append-to", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.append_to:
        append_until_killed(options.append_to)
        return
    load_before = os.getloadavg()[0]
    rows: list[dict[str, object]] = []
    for subject, measured in (("sqlite", on_sqlite), ("postgresql", on_postgres)):
        if options.only not in (None, subject):
            continue
        with tempfile.TemporaryDirectory(dir=ROOT / ".bench") as folder:
            for metric, (value, unit) in measured(options.calls, Path(folder)).items():
                print(f"{subject:12}{metric:22}{value:12.3f} {unit}", flush=True)
                rows.append({"subject": subject, "load": options.calls, "metric": metric,
                             "value": round(value, 3), "unit": unit})  # fmt: skip
    if options.dry:
        return
    RESULTS.mkdir(exist_ok=True)
    body = ",\n".join("  " + json.dumps(row) for row in rows)
    (RESULTS / "ledger.json").write_text(f"[\n{body}\n]\n")
    meta = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load_average_before": round(load_before, 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "calls": options.calls,
        "batch": BATCH,
        "record": "a request of 300 bytes, one attempt, prediction and reply",
    }
    (RESULTS / "ledger.meta.json").write_text(json.dumps(meta, indent=2) + "\n")


if __name__ == "__main__":
    main()
