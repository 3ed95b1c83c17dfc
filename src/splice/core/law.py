"""The law as data: articles, dates, questions and duties, as a file of the package has them."""

from __future__ import annotations

import msgspec


class Date(msgspec.Struct, frozen=True):
    """From which day something applies, and where that stands."""

    key: str
    day: str = msgspec.field(name="from")  # ISO 8601
    what: str
    source: str  # a key of the law's sources
    point: str


class Entry(msgspec.Struct, frozen=True):
    """One point of the law that an answer can name."""

    key: str
    point: str
    text: str
    date: str = ""  # a key of the dates


class Question(msgspec.Struct, frozen=True):
    """One question: its answer is keys of a table, some words, yes or no, or a sentence.

    With `only`, it is asked only where the field of that name was answered with something.
    """

    field: str
    ask: str
    keys: tuple[str, ...] = ()
    table: str = ""
    only: str = ""


class IncidentKind(msgspec.Struct, frozen=True):
    """A kind of serious incident, and the days within which it is reported."""

    key: str
    days: int
    point: str
    text: str


class DutyItem(msgspec.Struct, frozen=True):
    """One thing that must be so. `evidence` names a query; with `attest` a person is asked.

    `days` is how long what a person attests holds, or how old a deed may be. `uses` and
    `transparency` are the answers that bring it about; empty where the duty itself does.
    """

    key: str
    point: str
    text: str
    evidence: str = ""
    attest: str = ""
    days: int = 0
    uses: tuple[str, ...] = ()
    transparency: tuple[str, ...] = ()
    date: str = ""


class Duty(msgspec.Struct, frozen=True):
    """An article, whom it binds, and what it asks."""

    key: str
    article: str
    title: str
    roles: tuple[str, ...]
    items: tuple[DutyItem, ...]
    fria: bool = False  # binds only those of Art. 27(1)
    transparency: bool = False  # binds by what it does, whatever the risk


class Law(msgspec.Struct, frozen=True):
    """A law: see the file of its name."""

    name: str
    act: str
    amended: str
    as_of: str  # ISO 8601
    notice: str
    sources: dict[str, str]  # to URLs
    dates: tuple[Date, ...]
    questions: tuple[Question, ...]
    practices: tuple[Entry, ...]
    uses: tuple[Entry, ...]
    products: tuple[Entry, ...]
    transparency: tuple[Entry, ...]
    derogations: tuple[Entry, ...]
    incidents: tuple[IncidentKind, ...]
    fria: tuple[str, ...]  # uses that want an assessment of fundamental rights from any deployer
    fria_not: tuple[str, ...]  # uses that want none from anybody
    duties: tuple[Duty, ...]

    def date(self, key: str) -> Date:
        """The date of that key."""
        return next(one for one in self.dates if one.key == key)

    def table(self, name: str) -> tuple[Entry, ...]:
        """Practices, uses, products, transparency or derogations."""
        found: tuple[Entry, ...] = getattr(self, name)
        return found

    def item(self, key: str) -> DutyItem | None:
        """An item of a duty."""
        return next((one for duty in self.duties for one in duty.items if one.key == key), None)


class Control(msgspec.Struct, frozen=True):
    """A control or outcome of a framework, and the items of duties that show it."""

    id: str
    text: str
    items: tuple[str, ...]


class Framework(msgspec.Struct, frozen=True):
    """Another frame that the same evidence is mapped to; `scope` says what it does not claim."""

    key: str
    name: str
    title: str
    as_of: str
    source: str
    scope: str
    controls: tuple[Control, ...]
