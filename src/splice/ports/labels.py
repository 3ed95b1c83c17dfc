"""Labels, outcomes joined with predictions: what is needed of their store. Blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from splice.core.call import Outcome, Record


class Scored(msgspec.Struct, frozen=True):
    """What an answered call foretold of one truth, ready to be compared with it.

    `segments` are texts such as `country=DE`. `predicted` is True or False, the name of a class, a
    number, or the ids of a ranking, as the truth's task has it; None where it foretold nothing.
    """

    call_id: str
    integration: str
    outcome: str
    release: int
    variant: str
    asked_us: int
    start_s: int  # of the bucket it is counted in, Unix seconds
    entity: str | None = None
    segments: tuple[str, ...] = ()
    score: float | None = None
    predicted: bool | float | str | tuple[str, ...] | None = None
    shadow_of: str | None = None


class Label(msgspec.Struct, frozen=True):
    """An outcome joined with what its call foretold.

    `value` is the truth in the truth's terms: True or False, a class, a number, or the places
    (from 0; -1 is none) of what was relevant in a ranking. `said` is how many different values its
    outcomes had, of which the latest counts. `at_us` is when that happened.
    """

    scored: Scored
    value: bool | float | str | tuple[int, ...] | None  # None where the truth cannot read it
    at_us: int
    said: int = 1


class TallyKey(msgspec.Struct, frozen=True):
    """What is counted together: calls asked in one bucket."""

    integration: str
    outcome: str
    start_s: int
    release: int
    variant: str
    segment: str = ""  # all calls where empty


class Tallied(msgspec.Struct):
    """Counts of one key: `asked` of every answered call, `told` of those with a label.

    Both are encoded tallies (`splice.core.tallies`); empty where there is nothing.
    """

    key: TallyKey
    asked: bytes = b""
    told: bytes = b""


class NewCalls(msgspec.Struct):
    """Recorded calls that were not yet looked at for labels; `token` is the store's own."""

    records: list[Record]
    token: Any  # whatever the store knows them by


class NewOutcome(msgspec.Struct):
    """An outcome that was not yet joined; `after` is the last of its calls that was."""

    number: int
    outcome: Outcome
    after: tuple[int, str] | None = None


class Turn(Protocol):
    """One transaction that changes labels; only one is open at a time."""

    def drop_calls(self, calls: NewCalls) -> bool:
        """Take them off; False where another has done so: then nothing else may be done."""
        ...

    def drop_outcomes(self, news: Sequence[NewOutcome]) -> None:
        """Take them off; those that another took off meanwhile are gone already."""
        ...

    def note_outcome(self, new: NewOutcome, after: tuple[int, str]) -> bool:
        """Note how far it was joined; False where another did so."""
        ...

    def outcomes_of(
        self, scored: Sequence[Scored], within_s: Mapping[str, float], now_us: int
    ) -> Mapping[tuple[str, str], Sequence[Outcome]]:
        """Outcomes that happened, by call id and name of the outcome, oldest first.

        Those that name the call, or the call that it shadows, or its entity at the most `within_s`
        (by name of the outcome) after it was asked.
        """
        ...

    def labels_of(self, call_ids: Sequence[str]) -> Mapping[tuple[str, str], Label]:
        """The labels that there are, by call id and name of the outcome."""
        ...

    def put_labels(self, some: Sequence[Label]) -> None:
        """Store them, in place of those that there are."""
        ...

    def put_shadows(self, scored: Sequence[Scored]) -> None:
        """Remember which call each of these shadows."""
        ...

    def tallies(self, keys: Iterable[TallyKey]) -> dict[TallyKey, Tallied]:
        """Counts of these keys; of a key without any, an empty one."""
        ...

    def put_tallies(self, some: Sequence[Tallied]) -> None:
        """Store them, in place of those that there are."""
        ...

    def segments(self, integration: str, outcome: str) -> set[str]:
        """The segments that were ever told apart."""
        ...

    def put_segments(self, integration: str, outcome: str, some: Iterable[str]) -> None:
        """Tell these apart from now on."""
        ...

    def labels_in(self, key: TallyKey) -> Iterable[Label]:
        """All labels of a key (of all segments)."""
        ...


class LabelStore(Protocol):
    """Labels, which are outcomes joined with predictions, and their counts by bucket.

    Calls come to it as they enter the rollups: those that were answered, of releases with truths.
    """

    def new_calls(self, limit: int) -> NewCalls | None:
        """About so many calls that were not looked at; None where none wait."""
        ...

    def new_outcomes(self, now_us: int, limit: int) -> list[NewOutcome]:
        """Outcomes that were not joined and have happened, those that happened first at first."""
        ...

    def calls_named(self, news: Sequence[NewOutcome]) -> list[Record]:
        """The answered calls that outcomes name, and those that shadow them, whole."""
        ...

    def calls_of_entity(self, new: NewOutcome, within_s: float, limit: int) -> list[Record]:
        """The answered calls of its entity, at the most `within_s` before it, whole.

        In the order of time, from `new.after` on.
        """
        ...

    def turn(self) -> AbstractContextManager[Turn]:
        """A transaction; all of it is durable at its end, or nothing happened."""
        ...

    def tallied(
        self, of: tuple[str, str], since_s: int, until_s: int, segment: str | None = ""
    ) -> list[Tallied]:
        """Counts of the buckets that start in that half-open range.

        `of` is integration and outcome. Segment empty is of all calls; None is every segment's own.
        """
        ...

    def labels(self, call_ids: Sequence[str]) -> list[Label]:
        """The labels of these calls."""
        ...

    def waiting(self, integration: str, outcome: str, now_us: int) -> tuple[int, int]:
        """How many outcomes are not joined yet, and how many more wait for their own time."""
        ...
