"""The command line as a whole: help, projects, exit codes, and what is loaded when."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import typer

from splice.app.init import FILES
from splice.cli.tree import tree

CALL_ID = "01890000-0000-7000-8000-000000000000"


def paths(group, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and every group of commands."""
    found = [before]
    for name, one in group.commands.items():
        found += paths(one, (*before, name)) if hasattr(one, "commands") else [(*before, name)]
    return found


COMMANDS = paths(typer.main.get_command(tree()))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_helps_without_a_project(command, path: tuple[str, ...]) -> None:
    (command.folder / "splice.toml").unlink()

    ran = command(*path, "--help")

    assert ran.code == 0
    assert "Usage: splice" in ran.out
    assert ran.err == ""


def test_exit_codes_are_in_the_help(command) -> None:
    assert "0 done · 1 refused by a rule" in " ".join(command("--help").out.split())


def test_the_version_is_told(command) -> None:
    import splice

    assert command("--version").out == f"splice {splice.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("serve", "--port", "0"),
        ("release", "list"),
        ("release", "apply", "-y"),
        ("calls", "list"),
        ("models", "list"),
        ("batch", "x", "in.csv", "-o", "out.csv"),
    ],
)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "run splice init"),
        ("[server", "splice.toml"),
        ("[server]\nprot = 1", "prot"),
        ('[ledger]\nurl = "oracle://x"', "ledgers.oracle"),
    ],
)
def test_a_project_that_cannot_be_read_is_one_message(
    command, arguments: tuple[str, ...], text: str | None, said: str
) -> None:
    file = command.folder / "splice.toml"
    file.unlink() if text is None else file.write_text(text)

    ran = command(*arguments)

    assert ran.code == 2
    assert ran.out == ""
    assert said.lower() in ran.err.lower()
    assert len(ran.err.strip().splitlines()) <= 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",), ("release", "list"), ("release", "apply", "-y"), ("calls", "list"),
        ("calls", "show", CALL_ID), ("stop", "x", "--why", "y"), ("models", "list"),
        ("batch", "order-screening", "in.csv", "-o", "out.csv"),
    ],
)  # fmt: skip
def test_a_ledger_that_is_a_folder_is_one_message(orders, arguments: tuple[str, ...]) -> None:
    (orders.folder / ".splice/ledger.db").mkdir(parents=True)

    ran = orders(*arguments)

    assert ran.code == 3
    assert "ledger.db: got a file that cannot be opened" in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_a_ledger_that_is_no_database_is_one_message(orders) -> None:
    orders.write(".splice/ledger.db", "this is no database" * 100)

    ran = orders("release", "list")

    assert ran.code == 3
    assert "damaged or not a ledger" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nonsense",), 2, "No such command"),
        (("calls", "show", "abc"), 2, "not a call id"),
        (("calls", "show", CALL_ID), 2, "no such call"),
        (("calls", "show", CALL_ID[:-2] + "  "), 2, "not a call id"),
        (("calls", "explain", CALL_ID), 2, "no such call"),
        (("calls", "replay", CALL_ID), 2, "no such call"),
        (("calls", "list", "--limit", "0"), 2, "limit"),
        (("models", "withdraw", "x@1", "--why", "y"), 1, "no such version"),
        (("models", "add", "x", "gone.onnx"), 2, "does not exist"),
        (("models", "add", "x", "integrations.py"), 1, "integrations.py"),
        (("outcomes", "add", "gone.jsonl"), 2, "does not exist"),
        (("outcomes", "add", "splice.toml"), 2, "splice.toml:1"),
        (("serve", "--port", "99999"), 2, "SPLICE_SERVER_PORT"),
        (("serve", "--apply", "always"), 2, "SPLICE_PROJECT_APPLY"),
        (("stop", "nobody", "--why", "x"), 2, "no live release"),
        (("start", "nobody"), 2, "no live release"),
        (("stop", "nobody"), 2, "--why"),
        (("init", "."), 2, "there already"),
    ],
)
def test_wrong_usage_is_told_with_its_exit_code(
    orders, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ran = orders(*arguments)

    assert ran.code == code
    assert said in " ".join(ran.err.split())


def test_a_project_is_named_from_anywhere_and_from_below(orders, tmp_path: Path) -> None:
    folder = orders.folder
    (folder / "deep/er").mkdir(parents=True)
    orders.folder = tmp_path

    assert orders("--project", folder, "check").code == 0
    assert orders("--project", folder / "deep/er", "check").code == 0
    assert orders("--project", folder / "typing-slip", "check").code == 2


def test_what_a_caller_sent_does_not_command_the_terminal(orders) -> None:
    orders("release", "apply", "-y")
    evil = "\x1b]0;owned\x07 [bold]x[/nope] :smile: \x9b31m\u202e"
    orders.write("in.jsonl", json.dumps({"customer": "c", "amount_eur": 1, "note": evil}) + "\n")
    orders("batch", "order-screening", "in.jsonl", "-o", "out.jsonl")
    call_id = json.loads((orders.folder / "out.jsonl").read_text())["call_id"]

    ran = orders("calls", "explain", call_id)

    assert "[bold]x[/nope] :smile:" in ran.out
    assert not set("\x1b\x07\x9b\u202e") & set(ran.out)


def test_init_writes_a_project_that_passes_check_and_answers(command, tmp_path: Path) -> None:
    made = command("init", "new")
    command.folder = command.folder / "new"

    checked = command("check")
    applied = command("release", "apply", "-y")
    command.write("in.jsonl", (command.folder / "request.json").read_text())
    asked = command("batch", "order-screening", "in.jsonl", "-o", "out.jsonl", "--json")

    assert made.out == f"Wrote {', '.join(FILES)} in new\n"
    assert (checked.code, applied.code) == (0, 0)
    assert asked.json["answered"] == 1


@pytest.mark.parametrize("there", list(FILES))
def test_init_overwrites_nothing(command, there: str) -> None:
    command.write(f"new/{there}", "mine")

    ran = command("init", "new")

    assert ran.code == 2
    assert there in ran.err
    assert [one.name for one in (command.folder / "new").iterdir()] == [there]


def test_init_into_what_is_no_folder_is_one_message(command) -> None:
    command.write("file", "x")

    ran = command("init", "file")

    assert ran.code == 2


def test_a_project_from_init_serves(command) -> None:
    command("init", "new")
    folder = command.folder / "new"
    serving = subprocess.Popen(
        [sys.executable, "-m", "splice.cli.main", "serve", "--port", "0"], cwd=folder,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        said = ""
        while "ready on" not in said:
            line = serving.stderr.readline()
            assert line, said
            said += line
        url = re.search(r"ready on (\S+)", said)[1]
        request = urllib.request.Request(
            f"{url}/v1/integrations/order-screening/calls",
            (folder / "request.json").read_bytes(), {"Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request) as response:
            body = json.load(response)
    finally:
        serving.terminate()
        _, rest = serving.communicate(timeout=20)

    assert "applied order-screening: release 1" in said
    assert body["reply"]["action"] == "review"
    assert "Traceback" not in said + rest


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_with_a_ledger_that_is_away_is_told_in_one_line(
    command, workers: str, tmp_path: Path
) -> None:
    command("init", "new")
    (command.folder / "new/.splice/ledger.db").mkdir(parents=True)

    ran = subprocess.run(
        [sys.executable, "-m", "splice.cli.main", "serve", "--port", "0", "--workers", workers],
        cwd=command.folder / "new", capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip

    assert ran.returncode in (1, 3)
    assert "Traceback" not in ran.stderr
    assert "cannot be opened" in ran.stderr


def test_importing_splice_loads_none_of_what_it_may_not_need() -> None:
    code = (
        "import sys, time\n"
        "started = time.perf_counter()\n"
        "import splice\n"
        "from splice import *\n"
        "heavy = {'sqlalchemy', 'onnxruntime', 'numpy', 'starlette', 'typer', 'rich', 'uvicorn',"
        " 'alembic', 'pydantic', 'zstandard', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    ).replace("from splice import *\n", "")

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() in ("[]", "['asyncio']")
