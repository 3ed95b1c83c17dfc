"""Every test that docs/reliability.md names is there, in the file that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from docs_pages import ROOT

PAGE = ROOT / "docs" / "reliability.md"
_FILE = re.compile(r"\]\(\.\./(tests/[\w/.]+\.py)\)")
_NAMED = re.compile(r"\]\(\.\./(tests/[\w/.]+\.py)\)((?:[ ,]*`test_\w+`)+)")


def defined_in(file: Path) -> set[str]:
    """The tests that a file defines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {one.name for one in ast.walk(ast.parse(file.read_text())) if isinstance(one, kinds)}


def test_every_test_that_is_named_is_in_its_file() -> None:
    text = PAGE.read_text("utf-8")
    lacking: list[str] = []
    named = 0
    for file, names in _NAMED.findall(text):
        there = defined_in(ROOT / file)
        for name in re.findall(r"`(test_\w+)`", names):
            named += 1
            lacking += [] if name in there else [f"{file}: {name}"]

    assert not lacking
    assert named == len(re.findall(r"`test_\w+`", text))  # none stands without its file


def test_every_promise_names_at_least_one_test() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| **")]

    assert len(rows) == 13
    for number, row in enumerate(rows, 1):
        assert row.startswith(f"| **{number}. ")
        assert _FILE.search(row)
