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
    began = time.perf_counter()
    report = drift_of_rows(read(Path(current)), read(Path(reference)))
    flagged = [one.column for one in report.alarms]
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "memory_mb": memory, "flagged": flagged}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
