"""The demo's second version: it repeats calls in a shadow, and has to pass gates to answer any."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

HERE = Path(__file__).resolve().parent
THIN = 120
"""Loans that the second version learns from, of 700: too few, and the gates are to find out."""

_ROUTES = '    routes = [splice.Model("credit@champion"), splice.Rule(default_probability)]\n'
_GATES = """\
    gates = splice.Gates(
        data=splice.Labelled("validation.csv", label="defaulted"),
        must=[
            splice.AtLeast("auc", 0.7),
            splice.NotWorse("auc", margin=0.01),
            splice.NotWorse("brier", margin=0.005),
            splice.Slices("age_band", "auc", worst=0.55),
            splice.SameSchema(),
            splice.Size("1 MB"),
        ],
        valid_for="180 days",
    )
"""

Splice = Callable[..., str]
"""Runs a command of Splice in the project; gives what it printed."""


def train_thin(build: Path) -> None:
    """The second version, of the same code and fewer loans."""
    subprocess.run(
        [sys.executable, str(HERE / "credit/train.py"), "--out", str(build), "--rows", str(THIN)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def shadow(splice: Splice, build: Path) -> None:
    """Register the second version, and let it repeat every call."""
    splice("models", "add", "credit", str(build / "credit.onnx"), "--alias", "challenger",
           "--owner", "the demo", "--param", f"rows={THIN}")  # fmt: skip
    splice("rollout", "shadow", "credit-decision", "credit@2", "--why", "look before it answers")


def write_validation(project: Path, build: Path) -> None:
    """The held-out loans with what became of them, as the data set of the gates."""
    asked = [json.loads(line) for line in (build / "heldout.jsonl").read_text().splitlines()]
    told = [json.loads(line) for line in (build / "outcomes.jsonl").read_text().splitlines()]
    with (project / "validation.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*asked[0], "defaulted", "age_band"])
        writer.writeheader()
        for row, truth in zip(asked, told, strict=True):
            writer.writerow(row | {k: truth[k] for k in ("defaulted", "age_band")})


def gate(project: Path, build: Path, splice: Splice, console: Console) -> None:
    """Declare gates, get a second person's consent, and try to promote the second version."""
    console.print("\nGates: the outcomes are in, so versions are measured by them", style="bold")
    write_validation(project, build)
    file = project / "credit" / "integration.py"
    file.write_text(file.read_text().replace(_ROUTES, _ROUTES + _GATES))
    apply = ("release", "apply", "credit-decision", "--yes", "--why", "gates from now on")
    _said(splice("rollout", "shadow", "credit-decision", "credit@2", "--off"), console)
    _said(_refused(project, *apply), console)
    _said(_as("bob", splice, "models", "approve", "credit@1", "--why", "read the table"), console)
    _said(splice(*apply), console)
    _said(_refused(project, "models", "promote", "credit@2", "--yes"), console)
    _said(splice("audit", "verify"), console)


def _said(text: str, console: Console) -> None:
    for line in text.strip().splitlines():
        console.print(f"  {line}", style="dim", markup=False, soft_wrap=True)


def _as(user: str, splice: Splice, *arguments: str) -> str:
    before = os.environ.get("SPLICE_USER")  # noqa: TID251
    os.environ["SPLICE_USER"] = user  # noqa: TID251
    try:
        return splice(*arguments)
    finally:
        if before is None:
            del os.environ["SPLICE_USER"]  # noqa: TID251
        else:
            os.environ["SPLICE_USER"] = before  # noqa: TID251


def _refused(project: Path, *arguments: str) -> str:
    """What a command said that a gate must refuse."""
    command = [sys.executable, "-m", "splice.cli.main", "--project", str(project), *arguments]
    done: Any = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 1:
        raise SystemExit(f"splice {' '.join(arguments)} was not refused: {done.stdout}")
    return f"$ splice {' '.join(arguments)}\n{done.stderr}"
