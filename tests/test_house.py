"""The house rules that a tool can check."""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import splice
from splice.core import errors
from splice.core.errors import SpliceError

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src/splice").rglob("*.py"))


@functools.cache  # each worker collects these tests, and few of them run one
def trees() -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text("utf-8")) for file in SOURCES}


def test_no_file_has_more_than_400_lines() -> None:
    lengths = {str(f.relative_to(ROOT)): len(f.read_text("utf-8").splitlines()) for f in SOURCES}

    assert {file: length for file, length in lengths.items() if length > 400} == {}


def test_no_function_has_more_than_60_lines() -> None:
    long = {
        f"{file.relative_to(ROOT)}:{node.name}": length
        for file, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (length := (node.end_lineno or 0) - node.lineno + 1) > 60
    }

    assert long == {}


def test_every_file_says_its_purpose_in_one_line() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for file, tree in trees().items()
        if not (ast.get_docstring(tree) or "").partition("\n")[0].endswith(".")
        and not (ast.get_docstring(tree) or "").partition("\n")[0].endswith(":")
    ]

    assert silent == []


def test_only_the_settings_read_the_environment() -> None:
    # What starts a process for a test hands it an environment.
    product = {file: tree for file, tree in trees().items() if "testing" not in file.parts}
    readers = {
        str(file.relative_to(ROOT))
        for file, tree in product.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"))
        or (isinstance(node, ast.alias) and node.name in ("environ", "getenv"))
    }

    assert readers == {"src/splice/app/settings.py"}


def test_imports_only_go_down() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stdout + ran.stderr


def every_error(cls: type[SpliceError] = SpliceError) -> list[type[SpliceError]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in every_error(sub))]


def every_module() -> list[str]:
    optional = re.compile(r"\.(adapters|testing)\.")
    found = pkgutil.walk_packages(splice.__path__, "splice.")
    return [one.name for one in found if not optional.search(one.name)]


def test_every_error_has_a_code_of_its_own() -> None:
    for name in every_module():
        importlib.import_module(name)

    codes = Counter(one.code for one in every_error() if one.__module__.startswith("splice."))

    assert {code: count for code, count in codes.items() if count > 1} == {}
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_every_error_stands_in_the_drawing_of_the_tree() -> None:
    drawing = errors.__doc__ or ""

    missing = [
        one.__name__
        for one in every_error()
        if one.__module__ == errors.__name__ and one.__name__ not in drawing
    ]

    assert missing == []


@pytest.mark.parametrize("name", every_module())
def test_every_module_can_be_imported_first(name: str) -> None:
    importlib.import_module(name)


def test_an_error_prints_what_where_and_what_to_do() -> None:
    error = errors.InputMismatch("a.b", got="5", promised="a text", mend="quote it")

    assert str(error) == "a.b: got 5, expected a text. Quote it [input_mismatch]"
    assert str(errors.StoreError("ledger")) == "ledger [store_error]"
    placed = errors.DeclarationError("X.routes", got="none", file="a.py", line=3)
    assert str(placed) == "a.py:3: X.routes: got none [declaration_error]"


def test_no_two_files_of_tests_have_one_name() -> None:
    # pytest imports them by their bare names: the second of a name ends the collection.
    counted = Counter(file.name for file in (ROOT / "tests").rglob("*.py"))

    twice = {name for name, count in counted.items() if count > 1}
    assert twice == {"conftest.py"}
