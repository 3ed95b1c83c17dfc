"""The reference is what the code says, both ways: nothing is missing, and nothing is made up."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import typer
from docs_pages import ROOT

import splice
import splice.core
from splice.app import settings
from splice.cli.tree import tree
from splice.core import errors
from splice.engine.observe import METRICS

REFERENCE = ROOT / "docs" / "reference"


def headings(page: str, level: int) -> set[str]:
    """The headings of one level, outside of blocks."""
    text = re.sub(r"^```.*?^```", "", (REFERENCE / page).read_text("utf-8"), flags=re.M | re.S)
    return set(re.findall(rf"^{'#' * level} (.+)$", text, re.MULTILINE))


def setting_names(kind: Any, prefix: str = "") -> Iterator[str]:
    """Every setting as it stands in splice.toml, names that a user gives in capitals."""
    for field in msgspec.structs.fields(kind):
        places = {dict: 1, tuple: 0}
        place = places.get(get_origin(field.type))
        inner = field.type if place is None else get_args(field.type)[place]
        name = prefix + field.name
        is_section = isinstance(inner, type) and issubclass(inner, settings.Section)
        if prefix:
            yield name
        if is_section:
            many = (
                "providers", "pools", "consume", "webhooks", "relay", "alerts", "issuers",
                "services",
            )  # fmt: skip
            key = {dict: ".NAME" if name in many else ".MODEL"}.get(get_origin(field.type), "")
            yield from setting_names(inner, f"{name}{key}.")


def command_names(command: Any, name: str) -> Iterator[str]:
    """Every command with the words before it."""
    yield name
    for inner, below in getattr(command, "commands", {}).items():
        yield from command_names(below, f"{name} {inner}")


def error_kinds(kind: type[errors.SpliceError]) -> Iterator[type[errors.SpliceError]]:
    """The tree of errors that Splice itself declares."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__.startswith("splice.core."):
            yield from error_kinds(below)


def http_codes() -> set[str]:
    """Codes of problems that are written out in the HTTP surface."""
    folder = Path(splice.__file__).parent / "serve" / "http"
    texts = [text for file in folder.glob("*.py") for text in _texts(file)]
    whole = {text.removeprefix("urn:splice:error:") for text in texts if "urn:splice" in text}
    named = {"not_found", "method_not_allowed", "http_error"}
    assert named <= set(texts)
    return {one for one in whole if one} | named


def _texts(file: Path) -> list[str]:
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def test_the_reference_and_the_table_of_figures_are_what_the_code_makes() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "docs", "--check"], capture_output=True, text=True
    )

    assert done.returncode == 0, f"run make docs: {done.stdout}{done.stderr}"


def test_every_setting_is_in_the_reference_and_nothing_else() -> None:
    assert headings("settings.md", 3) == set(setting_names(settings.Settings))


def test_every_variable_of_the_environment_is_in_the_reference() -> None:
    page = (REFERENCE / "settings.md").read_text("utf-8")
    read = {
        text
        for text in _texts(Path(settings.__file__))
        if re.fullmatch(r"[A-Z]+(_[A-Z]+)+|USER|LOGNAME", text)
    }

    assert read
    assert not [name for name in read if f"`{name}`" not in page]


def test_every_metric_and_its_labels_are_in_the_reference_and_nothing_else() -> None:
    page = (REFERENCE / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(splice_\w+)` \| \w+ \| (.*?) \|", page, re.MULTILINE)

    told = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}

    assert told == {metric.name: metric.labels for metric in METRICS}


def test_every_error_has_a_heading_and_nothing_else_has() -> None:
    for module in pkgutil.iter_modules(splice.core.__path__, "splice.core."):
        importlib.import_module(module.name)  # whatever other tests have imported
    codes = {kind.code for kind in error_kinds(errors.SpliceError)}

    assert headings("errors.md", 2) == codes | http_codes()


def test_every_command_has_a_heading_and_nothing_else_has() -> None:
    names = set(command_names(typer.main.get_command(tree()), "splice"))

    assert headings("commands.md", 2) == names


def test_every_extra_that_a_message_or_a_page_names_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pages = [
        *(ROOT / "src/splice").rglob("*.py"),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "README.md",
    ]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    named = {
        extra for found in re.findall(r"splice-ai\[([^]]*)\]", text) for extra in found.split(",")
    }

    assert len(named) > 20
    assert named - set(project["optional-dependencies"]) == set()


def test_every_public_name_has_a_heading_and_nothing_else_has() -> None:
    assert headings("python.md", 2) == {f"splice.{name}" for name in splice.__all__}


def test_no_section_of_the_reference_is_empty() -> None:
    for page in REFERENCE.glob("*.md"):
        text = page.read_text("utf-8")
        empty = re.findall(r"^(#{2,3} .+)\n+(?=#{1,2} |\Z)", text, re.MULTILINE)

        assert [one for one in empty if one.startswith("###") or page.name == "python.md"] == []
