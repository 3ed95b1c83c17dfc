"""NannyML's univariate drift over two Parquet files, with its own defaults, ten chunks."""

from __future__ import annotations

import json
import resource
import sys
import time

import nannyml as nml
import pandas as pd

MOST = 0.5
"""A column counts as flagged where more than half of the chunks are."""


def main(current: str, reference: str) -> None:
    """Print what was found, how long it took and what it held."""
    began, worked = time.perf_counter(), time.process_time()
    now, before = (pd.read_parquet(name) for name in (current, reference))
    columns = list(now.columns)
    calculator = nml.UnivariateDriftCalculator(column_names=columns)
    calculator.fit(before)
    found = calculator.calculate(now).filter(period="analysis").to_df()
    flagged = [
        name for name in columns if float(found[name]["jensen_shannon"]["alert"].mean()) > MOST
    ]
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"seconds": seconds, "cpu_s": cpu, "memory_mb": memory, "flagged": flagged}
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:3])
