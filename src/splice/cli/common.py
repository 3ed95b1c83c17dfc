"""What every command shares: the project, the two consoles, and what an exit code means."""

from __future__ import annotations

import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from splice.app import wiring
from splice.app.settings import Settings, SettingsError, find_root, load
from splice.core.audit import Origin, acting
from splice.core.errors import DeclarationError, NotPromoted, RequestError, SpliceError, StoreError

DONE, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3
EXIT_CODES = (
    "Exit codes: 0 done · 1 refused by a rule, which is named · 2 wrong usage or settings · "
    "3 the ledger cannot be reached."
)

# A pipe has no width: tables in it are not cut.
_WIDTH = None if sys.stdout.isatty() else 160
# What is printed comes from people and models: it is text, never markup.
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=_WIDTH)
talk = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


class Project:
    """The folder that `--project` or the working folder names."""

    folder: Path = Path()
    command: str = "splice"  # the words of the command, without its arguments

    @classmethod
    def settings(cls) -> Settings:
        """The settings of the nearest splice.toml."""
        return load(find_root(cls.folder))


def exit_code(error: SpliceError) -> int:
    """The exit code of an error."""
    if isinstance(error, StoreError):
        return UNREACHABLE
    if isinstance(error, (SettingsError, RequestError)):
        return USAGE
    return REFUSED


def fail(error: SpliceError) -> typer.Exit:
    """Say what is wrong; raise what this returns."""
    said = str(error)
    if isinstance(error, NotPromoted):  # it lists what failed: a line each
        said = said.replace("; ", ";\n  ")
    talk.print(said, style="red")
    return typer.Exit(exit_code(error))


@contextmanager
def stores() -> Generator[tuple[Settings, wiring.Stores]]:
    """The project's ledger, open for a moment."""
    settings = Project.settings()
    opened = wiring.Stores(settings)
    try:
        with acting(origin()):
            yield settings, opened
    finally:
        opened.close()


def origin() -> Origin:
    """From where a command acts, for the audit log: its words, never its arguments."""
    return Origin("cli", host=socket.gethostname(), command=Project.command)


def as_json(value: Any) -> None:
    """Print one JSON document for a program."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


def mistakes(wrong: list[DeclarationError], root: Path) -> None:
    """Print declaration mistakes as a compiler does: file, line, what, and the mend."""
    for one in wrong:
        file = one.file
        try:
            file = str(Path(one.file).relative_to(root))
        except ValueError:
            file = one.file
        place = f"{file}:{one.line}: " if file else ""
        talk.print(Text.assemble((place, "bold"), (one.where, "red")))
        if one.got:
            talk.print(f"    got       {one.got}")
        if one.promised:
            talk.print(f"    expected  {one.promised}")
        if one.mend:
            talk.print(f"    do        {one.mend}")


def confirm(question: str, yes: bool) -> bool:
    """Ask, unless `--yes` was given; without a terminal the answer is no."""
    if yes:
        return True
    if not sys.stdin.isatty():
        talk.print("Nothing was changed: add --yes to go ahead without being asked.")
        return False
    return typer.confirm(question, err=True)
