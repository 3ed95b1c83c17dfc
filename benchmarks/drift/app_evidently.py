"""Evidently's `DataDriftPreset` over two Parquet files, as its documentation begins."""

from __future__ import annotations

import json
import resource
import sys
import time

import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset


def main(current: str, reference: str) -> None:
    """Print what was found, how long it took and what it held."""
    began, worked = time.perf_counter(), time.process_time()
    frames = [pd.read_parquet(name) for name in (current, reference)]
    snapshot = Report([DataDriftPreset()]).run(frames[0], frames[1])
    found = snapshot.dict()
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    flagged: list[str] = []
    for metric in found["metrics"]:
        config = metric.get("config", {})
        if "column" not in config or not str(config.get("type", "")).endswith("ValueDrift"):
            continue
        value, threshold = float(metric["value"]), float(config["threshold"])
        # Its p-values flag below the threshold, its distances above.
        beyond = value < threshold if "p_value" in config["method"] else value >= threshold
        if beyond:
            flagged.append(config["column"])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"seconds": seconds, "cpu_s": cpu, "memory_mb": memory, "flagged": flagged}
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:3])
