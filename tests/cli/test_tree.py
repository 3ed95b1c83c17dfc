"""A command is built, and imported, without those beside it; and is what it is among all."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

import splice
from splice.cli.tree import WORDS, first_word, tree


def helps(command, name: str) -> dict[str, str]:
    """The help of a command and of all below it, by their names."""
    context = command.context_class(command, info_name=name)
    found = {name: command.get_help(context)}
    for word, inner in getattr(command, "commands", {}).items():
        found |= helps(inner, f"{name} {word}")
    return found


@pytest.mark.parametrize("word", WORDS)
def test_a_command_alone_is_what_it_is_among_all(word: str) -> None:
    alone = typer.main.get_command(tree(word)).commands
    among = typer.main.get_command(tree()).commands[word]

    assert list(alone) == [word]
    assert helps(alone[word], word) == helps(among, word)


def test_all_are_there_where_no_command_is_named() -> None:
    for word in ("", "releas"):
        assert set(typer.main.get_command(tree(word)).commands) == set(WORDS)


def imported(code: str) -> str:
    """What of ours and of SQLAlchemy a fresh process has imported after this."""
    script = (
        "import sys\n"
        f"{code}\n"
        "print([name for name in sys.modules if name.startswith(('splice.cli.', 'sqlalchemy'))])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return ran.stdout


def test_a_command_imports_none_of_the_others() -> None:
    found = imported("from splice.cli.tree import tree; tree('keys')")

    assert "'splice.cli.keys'" in found
    for other in ("splice.cli.batch", "splice.cli.models", "sqlalchemy"):
        assert f"'{other}'" not in found


def test_the_version_is_told_without_any_command() -> None:
    code = """
from splice.cli.main import main
sys.argv = ["splice", "--version"]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""
    found = imported(code)

    assert found.startswith(f"splice {splice.__version__}\n")
    for command in ("splice.cli.keys", "splice.cli.batch", "sqlalchemy"):
        assert f"'{command}'" not in found


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("release list", "release"),
        ("--project shop release list", "release"),
        ("--project=shop check", "check"),
        ("--project release", ""),
        ("--version", "--version"),
        ("--project shop --version list", "--version"),
        ("release --version", "release"),
        ("", ""),
        ("releas list", "releas"),
    ],
)
def test_the_first_word_is_found_behind_the_options(arguments: str, word: str) -> None:
    assert first_word(arguments.split()) == word


def test_a_word_that_is_no_command_is_told_with_those_that_are_like_it(command) -> None:
    ran = command("releas", "list")

    assert ran.code == 2
    assert "No such command 'releas'" in ran.err
    assert "'release'" in ran.err
