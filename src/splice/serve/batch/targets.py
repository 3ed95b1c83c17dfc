"""Targets: where the lines of a job go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from splice.core.errors import SettingsError
from splice.serve.batch.files import format_of, pyarrow_parquet, write_table
from splice.serve.batch.lines import cannot
from splice.serve.batch.plan import Plan

FIXED = ("row", "call_id", "status", "route", "reason", "cost", "error")
KEYED = ("row", "key", *FIXED[1:])
"""The same where the rows have names of their own."""


class Target(Protocol):
    """Takes the lines of a job, in their order. All of it blocks."""

    name: str
    """For people: no credentials."""

    parts: Path
    """The folder of what a run that is cut short leaves for the next."""

    def begin(self, plan: Plan, *, resumed: bool) -> None:
        """Before the first line of a run.

        Raises:
            SettingsError: It cannot take lines, or has others already.
        """
        ...

    def add(self, lines: Sequence[dict[str, Any]]) -> None:
        """Some lines, durably where it keeps them at once; the same lines again change nothing.

        Raises:
            SettingsError: It cannot hold them.
            StoreError: It cannot be written now.
        """
        ...

    def end(self, parts: Sequence[Path]) -> None:
        """All lines are there, in these files, in this order.

        Raises:
            SettingsError: It cannot be written.
        """
        ...


class FileTarget:
    """A file that appears when all lines are there; see `Target`.

    Args:
        file: CSV, JSONL or Parquet, by its ending.

    Raises:
        SettingsError: It cannot be written so.
    """

    def __init__(self, file: Path) -> None:
        if format_of(file) == ".parquet":
            pyarrow_parquet()  # before the first row is asked and paid, not after the last
        if file.is_dir():
            raise SettingsError(
                str(file), got="a folder", promised="a file to write the replies to",
                mend="name another",
            )  # fmt: skip
        self.name = str(file)
        self.parts = file.with_name(file.name + ".parts")
        self.file = file

    def begin(self, plan: Plan, *, resumed: bool) -> None:
        """See `Target`."""

    def add(self, lines: Sequence[dict[str, Any]]) -> None:
        """See `Target`: the parts have them."""

    def end(self, parts: Sequence[Path]) -> None:
        """See `Target`."""
        ending = format_of(self.file)
        whole = self.parts / f"whole{ending}"
        try:
            if ending == ".jsonl":
                with whole.open("wb") as out:
                    for part in parts:
                        with part.open("rb") as text:
                            shutil.copyfileobj(text, out)
            else:
                names = dict.fromkeys(name for line in lines_of(parts) for name in flat(line))
                fixed = KEYED if any("key" in one for one in islice(lines_of(parts), 1)) else FIXED
                columns = [*fixed, *(name for name in names if name not in fixed)]
                write_table((flat(line) for line in lines_of(parts)), whole, columns)
            with whole.open("rb") as out:
                os.fsync(out.fileno())
            whole.replace(self.file)
        except OSError as error:
            raise cannot(self.file, error) from error


def lines_of(parts: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The lines of some parts."""
    for part in parts:
        with part.open("rb") as text:
            for line in text:
                yield msgspec.json.decode(line)


def flat(line: dict[str, Any], fixed: Sequence[str] = ()) -> dict[str, Any]:
    """A line with the fields of its reply among its own, or among those `fixed` ones."""
    taken = fixed or (KEYED if "key" in line else FIXED)
    reply = line.get("reply")
    fields = {k: v for k, v in line.items() if k != "reply"}
    if isinstance(reply, dict):
        for name, value in cast("dict[str, Any]", reply).items():
            fields[name if name not in taken else f"reply_{name}"] = value
    elif reply is not None:
        fields["reply"] = reply
    return fields
