"""A project folder with the command line in it, run in this process: quick, and its own."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from splice.cli.main import main

ORDERS = '''
from typing import Literal

import splice


class Order(splice.Request):
    customer: splice.Entity
    amount_eur: float
    items: int = 1
    note: str | None = None


class Screening(splice.Reply):
    risk: float
    action: Literal["ship", "review"]


def scorecard(context):
    return 0.9 if context["amount_eur"] > 500 else 0.1


class OrderScreening(splice.Integration):
    """Find the orders that will not be paid."""

    deadline = "200 ms"
    routes = [splice.Rule(scorecard)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score, "review" if prediction.score > 0.5 else "ship")
'''


class Ran(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


class Command:
    """The command line in one project folder."""

    def __init__(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.folder = folder
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.settings('[project]\nmodules = ["integrations"]\n')

    def settings(self, text: str) -> None:
        """Write splice.toml."""
        self.write("splice.toml", text)

    def write(self, path: str, text: str) -> Path:
        """Write a file of the project."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), "utf-8")
        return file

    def __call__(self, *arguments: str | Path) -> Ran:
        """Run `splice …` in the folder."""
        self._monkeypatch.chdir(self.folder)
        self._monkeypatch.setattr(sys, "argv", ["splice", *map(str, arguments)])
        self._capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err, err
        return Ran(code, out, err)


@pytest.fixture
def command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """An empty project; `command("check")` runs `splice check` in it."""
    path, environment = list(sys.path), dict(os.environ)
    folder = tmp_path / "project"
    folder.mkdir()
    yield Command(folder, capsys, monkeypatch)
    sys.path[:] = path
    os.environ.clear()  # `splice serve` hands its options to its workers there
    os.environ.update(environment)


@pytest.fixture
def orders(command: Command) -> Command:
    """A project with one integration of one rule, nothing applied yet."""
    command.write("integrations.py", ORDERS)
    return command


@pytest.fixture
def applied(orders: Command) -> Callable[[str], Ran]:
    """Writes the integration's source with a change, applies it; gives what the command said."""

    def apply(change: str = "") -> Ran:
        old, _, new = change.partition("=>")
        orders.write("integrations.py", ORDERS.replace(old, new) if old else ORDERS)
        return orders("release", "apply", "--yes")

    return apply
