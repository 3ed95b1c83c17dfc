"""Evidence: statements about an integration, each with what proves it, or named as a gap."""

from __future__ import annotations

from typing import Literal

import msgspec

from splice.core.tiers import Ground

ProofKind = Literal[
    "release", "model", "validation", "event", "call", "finding", "attestation", "review",
    "checkpoint", "incident", "figure", "setting", "test",
]  # fmt: skip
State = Literal["done", "gap", "none"]
"""`none`: what is asked about is not there, so that nothing has to be proven."""


class Proof(msgspec.Struct, frozen=True):
    """One thing that proves a statement: a record, an event, a test; and how it is looked up.

    `digest` is the SHA-256 of the record as it was seen. `command` shows it; `page` is its path in
    the console, below the console's own. `at_us` is when it came to be; 0 where that is not known.
    """

    kind: ProofKind
    name: str
    digest: str = ""
    command: str = ""
    page: str = ""
    at_us: int = 0


class Answer(msgspec.Struct, frozen=True):
    """What a query over the records came to. `todo` says what closes the gap."""

    state: State
    said: str
    proofs: tuple[Proof, ...] = ()
    todo: str = ""


class Line(msgspec.Struct, frozen=True):
    """One item of a checklist. `by_person` where a person attests it; `ask` is what he is asked.

    `day` is from when it binds, with the key of its source; both are empty where no date is known.
    """

    key: str
    point: str
    text: str
    state: State
    said: str
    proofs: tuple[Proof, ...] = ()
    todo: str = ""
    by_person: bool = False
    ask: str = ""
    day: str = ""
    source: str = ""


class Chapter(msgspec.Struct, frozen=True):
    """One duty. `binds` is False where the answers do not bring it about, and it was asked for."""

    key: str
    article: str
    title: str
    binds: bool
    lines: tuple[Line, ...]


class Checklist(msgspec.Struct, frozen=True):
    """The duties of an integration, ticked by evidence.

    `tier` is what the answers come to, empty where the questionnaire was not answered; `declared`
    is the declaration's `risk`. `open` are questions without an answer.
    """

    integration: str
    release: int
    digest: str  # of the release's manifest
    declared: str
    tier: str
    grounds: tuple[Ground, ...]
    open: tuple[str, ...]
    chapters: tuple[Chapter, ...]
    made_us: int
    law: str
    as_of: str
    notice: str

    @property
    def lines(self) -> tuple[Line, ...]:
        """All items that bind, in order."""
        return tuple(one for each in self.chapters if each.binds for one in each.lines)

    @property
    def proven(self) -> tuple[Line, ...]:
        """Those that something proves."""
        return tuple(one for one in self.lines if one.state == "done")

    @property
    def gaps(self) -> tuple[Line, ...]:
        """Those that nothing proves."""
        return tuple(one for one in self.lines if one.state == "gap")


def done(said: str, *proofs: Proof) -> Answer:
    """A statement that is proven."""
    return Answer("done", said, proofs)


def gap(said: str, todo: str, *proofs: Proof) -> Answer:
    """What is missing, and what closes it; the proofs show what there is."""
    return Answer("gap", said, proofs, todo)


def none(said: str, *proofs: Proof) -> Answer:
    """Why there is nothing to prove."""
    return Answer("none", said, proofs)
