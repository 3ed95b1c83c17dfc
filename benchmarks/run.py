"""`python benchmarks/run.py JOB`: runs a benchmark and writes `benchmarks/results/JOB.json`.

The results are a plain list of rows `{subject, load, metric, value, unit}`; `JOB.meta.json` beside
them says when, on what machine and with which versions they were measured.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from console import job as console
from drift import job as drift
from events import job as events
from gateway import job as gateway
from masking import job as masking
from models import job as models
from serve import job as serve
from switch import job as switch

HERE = Path(__file__).parent
RESULTS = HERE / "results"
CACHE = HERE.parent / ".bench"
JOBS = {
    "serve": serve,
    "gateway": gateway,
    "models": models,
    "switch": switch,
    "events": events,
    "drift": drift,
    "console": console,
    "masking": masking,
}
SECONDS, ROUNDS = 8.0, 2
"""Of a job that names none of its own."""
VARIANTS = "-variants"


def main(argv: list[str]) -> None:
    """Run the job that the arguments name."""
    options = _options(argv)
    job = JOBS[options.job.removesuffix(VARIANTS)]
    names = options.subjects.split(",") if options.subjects else list(job.SUBJECTS)
    plan = job.planned(
        names,
        options.loads or job.LOADS,
        _amount(options, job),
        options.rounds or getattr(job, "ROUNDS", ROUNDS),
        every_variant=options.job.endswith(VARIANTS),
    )
    before = machine()
    rows, meta = job.run(plan, CACHE)
    options.results.mkdir(parents=True, exist_ok=True)
    # One row a line, so that a change reads well.
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    (options.results / f"{options.job}.json").write_text(f"[\n{lines}\n]\n")
    about = json.dumps(before | meta, indent=2)
    (options.results / f"{options.job}.meta.json").write_text(about + "\n")
    print(f"written: {options.job}.json and {options.job}.meta.json")


def machine() -> dict[str, object]:
    """When and on what this was measured."""
    cpu = subprocess.run(["lscpu"], capture_output=True, text=True, check=False).stdout
    models = [line.split(":", 1)[1].strip() for line in cpu.splitlines() if "Model name" in line]
    cores = subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": models[0] if models else platform.machine(),
        "cpus": int(cores),
        "load_average_before": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _amount(options: argparse.Namespace, job: ModuleType) -> float:
    """The seconds of each timed run; events, of a job that counts those."""
    if hasattr(job, "EVENTS"):
        return options.events or job.EVENTS
    return options.seconds or getattr(job, "SECONDS", SECONDS)


def _options(argv: list[str]) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("job", choices=[name + end for name in JOBS for end in ("", VARIANTS)])
    parser.add_argument("--seconds", type=float, help="of each timed run (8, or as the job says)")
    parser.add_argument("--events", type=int, help="of each run, in JOB=events (100,000)")
    parser.add_argument("--rounds", type=int, help="whose median is given (2)")
    parser.add_argument("--subjects", help="comma-separated, NAME or NAME:VARIANT (all)")
    parser.add_argument("--loads", help="comma-separated (those of the job)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder to write to (benchmarks/results)"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
