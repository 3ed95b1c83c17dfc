"""What a verification found: the first record that does not hold, and how much does."""

from __future__ import annotations

import msgspec


class Broken(msgspec.Struct, frozen=True):
    """The first thing that does not hold.

    `kind` is `event`, `call`, `head`, `tree` or `archive`; `name` an event's number, a call's id, a
    head's number, a file. `how` says what is wrong with it, in a sentence without its subject.
    `head` is the number of the signed head that it contradicts, 0 where none does.
    """

    kind: str
    name: str
    how: str
    head: int = 0

    def __str__(self) -> str:
        space = "" if self.how.startswith(",") else " "
        return f"{self.kind.capitalize()} {self.name}{space}{self.how}"


class Inspection(msgspec.Struct):
    """What was looked at, and the first that does not hold (None where all does).

    `waiting` are calls that are in no tree yet; `dropped` those whose texts are gone, with their
    digest left; `archived` those that were read from files. `heads` counts signed heads that the
    trees agree with, `covered` the calls that the newest of them covers. `warnings` say what could
    not be checked.
    """

    events: int = 0
    calls: int = 0
    waiting: int = 0
    archived: int = 0
    dropped: int = 0
    heads: int = 0
    covered: int = 0
    broken: Broken | None = None
    warnings: list[str] = []
