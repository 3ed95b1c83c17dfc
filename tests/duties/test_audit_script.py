"""The audit of dependencies says what nobody could tell it, and fails for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "audit"
FINE = {"name": "a", "version": "1", "vulns": []}
UNKNOWN = {"name": "b", "skip_reason": "Dependency not found on PyPI"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("parts", "tell", "code", "said"),
    [
        ([FINE], [], 0, "1 of 1 audited, 0 vulnerable"),
        ([FINE, UNKNOWN], [], 2, "1 of 2 dependencies could not be audited"),
        ([FINE, UNKNOWN], ["--tell"], 0, "1 of 2 dependencies could not be audited"),
        ([FINE, BAD], ["--tell"], 1, "c 2: CVE-1, mended in 3"),
        ([UNKNOWN, BAD], ["--tell"], 1, "could not be audited"),
    ],
)
def test_what_is_vulnerable_or_unknown_is_told(
    parts: list[dict[str, Any]], tell: list[str], code: int, said: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"dependencies": parts}), "utf-8")

    ran = subprocess.run(
        [sys.executable, str(SCRIPT), "--report", str(report), *tell],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.returncode == code
    assert said in ran.stdout + ran.stderr
