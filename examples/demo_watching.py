"""What the demo shows of watching: how right the model was, what moved, and who would be told."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

INTEGRATION = "credit-decision"


def run(project: Path, console: Console) -> None:
    """Accuracy with its intervals, drift from the training data, monitors, and a report."""
    console.print(
        "\nWatching: how right, how far from the training data, who is told", style="bold"
    )
    month = datetime.now(UTC).strftime("%Y-%m")
    report = project.parent / f"{INTEGRATION}-{month}.html"
    # The demo tells what became of each loan at once; whoever cannot wait two years says --early.
    _show(project, console, "accuracy", INTEGRATION, "--early", "--by", "release")
    _show(project, console, "drift", INTEGRATION, "--against", "training")
    _show(project, console, "monitors", "test", INTEGRATION)
    _show(project, console, "report", INTEGRATION, "--month", month, "--out", str(report))
    console.print(
        "All of it as pages: make demo KEEP=1, then http://127.0.0.1:8000/console", style="dim"
    )


def _show(project: Path, console: Console, *arguments: str) -> None:
    """A command and what it says; 1 is its answer where a monitor would fire."""
    command = [sys.executable, "-m", "splice.cli.main", "--project", str(project), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode > 1:
        raise SystemExit(f"splice {' '.join(arguments)} failed: {done.stderr}")
    asked = f"$ splice {' '.join(arguments)}".replace(f"{project.parent}/", "")
    console.print(asked, style="dim", soft_wrap=True)  # a command is copied whole
    for said in (done.stderr, done.stdout):
        if said.strip():
            console.print(said.rstrip(), markup=False, soft_wrap=True)
