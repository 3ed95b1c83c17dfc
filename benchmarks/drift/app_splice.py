"""`splice drift --rows` as a function: two Parquet files, every row."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from splice.monitor.rows import drift_of_rows
from splice.monitor.tables import read


def main(current: str, reference: str) -> None:
    """Print what was found, how long it took and what it held."""
    began, worked = time.perf_counter(), time.process_time()
    report = drift_of_rows(read(Path(current)), read(Path(reference)))
    flagged = [one.column for one in report.alarms]
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"seconds": seconds, "cpu_s": cpu, "memory_mb": memory, "flagged": flagged}
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:3])
