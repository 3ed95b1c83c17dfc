"""Stores behind locks: what goes in is enciphered where that is declared, what comes out is not.

Nothing else of the house knows of it: the engine hands over records as they are, and whoever reads
gets them with their texts, or with a note that tells why not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from splice.control.locks import Locks
from splice.core.call import Outcome, Record
from splice.core.errors import StoreError
from splice.ports.labels import LabelStore, NewCalls, NewOutcome, Turn
from splice.ports.rollups import Batch, RollupStore
from splice.ports.spool import Spool
from splice.ports.stores import CallFilter, OutcomeStore, RecordStore


class Archived(RecordStore, Protocol):
    """A RecordStore that also finds what moved to files."""

    def find_archived(self, wanted: CallFilter) -> list[Record]:
        """Archived calls newest first, without payloads."""
        ...

    @property
    def has_archive(self) -> bool:
        """Whether any calls moved to files."""
        ...


class LockedRecords:
    """A RecordStore with locks; `stored` is the one within."""

    def __init__(self, stored: Archived, locks: Locks) -> None:
        self.stored = stored
        self._locks = locks
        self.count = stored.count
        self.claim = stored.claim
        self.release_claim = stored.release_claim

    def append(self, records: Sequence[Record]) -> None:
        """Store all of them in one transaction, durable on return."""
        self.stored.append(self._locks.locked(records))

    def get(self, call_id: str) -> Record | None:
        """The record of a call, or None."""
        found = self.stored.get(call_id)
        return None if found is None else self._locks.open(found)

    def get_many(self, call_ids: Sequence[str]) -> dict[str, Record]:
        """Those of the records that are stored, by call id."""
        found = self.stored.get_many(call_ids)
        return {one.call_id: one for one in self._locks.opened(list(found.values()))}

    def find(self, wanted: CallFilter) -> list[Record]:
        """Records newest first, without payloads; of an entity by what stands for it, too."""
        return self._find(self.stored.find, wanted)

    def find_archived(self, wanted: CallFilter) -> list[Record]:
        """Archived calls newest first, without payloads."""
        return self._find(self.stored.find_archived, wanted)

    def _find(self, find: Callable[[CallFilter], list[Record]], wanted: CallFilter) -> list[Record]:
        entities = () if wanted.entity is None else names_of(self._locks, wanted.entity)
        if len(entities) < 2:
            return find(wanted)
        found = [
            record
            for entity in entities
            for record in find(msgspec.structs.replace(wanted, entity=entity))
        ]
        found.sort(key=lambda one: (one.asked_us, one.call_id), reverse=True)
        return found[: wanted.limit]


def names_of(locks: Locks, entity: str) -> tuple[str, ...]:
    """What an entity may stand under in indexes: itself, and its HMAC where any is encrypted."""
    if not locks.protections.encrypted():
        return (entity,)
    try:
        return tuple(dict.fromkeys((entity, locks.keychain().named(entity))))
    except StoreError:  # without the vault nobody can tell: what is not encrypted can be found
        return (entity,)


class LockedSpool:
    """A Spool with locks: what cannot be enciphered is not set aside either."""

    def __init__(self, spool: Spool, locks: Locks) -> None:
        self._spool = spool
        self._locks = locks
        self.oldest = spool.oldest
        self.discard = spool.discard

    def save(self, records: Sequence[Record]) -> None:
        """Keep a batch, durable on return."""
        self._spool.save(self._locks.locked(records))

    def reject(self, record: Record, why: str) -> None:
        """Set aside a record that the ledger refuses by itself, for a person to look at."""
        self._spool.reject(self._locks.locked([record])[0], why)

    def __len__(self) -> int:
        """How many batches are kept."""
        return len(self._spool)


class LockedOutcomes:
    """An OutcomeStore with locks: entities of encrypted integrations become HMACs."""

    def __init__(self, outcomes: OutcomeStore, locks: Locks) -> None:
        self._outcomes = outcomes
        self._locks = locks
        self.outcomes_of = outcomes.outcomes_of
        self.outcomes_of_many = outcomes.outcomes_of_many

    def append_outcomes(self, outcomes: Sequence[Outcome], received_us: int) -> int:
        """Store them in one transaction; a repeated outcome is stored once."""
        return self._outcomes.append_outcomes(list(map(self._named, outcomes)), received_us)

    def _named(self, outcome: Outcome) -> Outcome:
        if outcome.entity is None:
            return outcome
        plan = self._locks.protections.live(outcome.integration)
        if plan is None or not plan.encrypt:
            return outcome
        name = self._locks.keychain().named(outcome.entity)
        return msgspec.structs.replace(outcome, entity=name)

    def joined(
        self, integration: str, name: str | None = None, since_us: int = 0
    ) -> Iterator[tuple[Record, Outcome]]:
        """Records with payloads, each with its latest outcome of that name, oldest first."""
        for record, outcome in self._outcomes.joined(integration, name, since_us):
            yield self._locks.open(record), outcome


class LockedLabels:
    """A LabelStore with locks: whoever joins reads what calls foretold."""

    def __init__(self, labels: LabelStore, locks: Locks) -> None:
        self._labels = labels
        self._locks = locks
        self.new_outcomes = labels.new_outcomes
        self.tallied = labels.tallied
        self.labels = labels.labels
        self.waiting = labels.waiting

    def new_calls(self, limit: int) -> NewCalls | None:
        """About so many calls that were not looked at; None where none wait."""
        found = self._labels.new_calls(limit)
        if found is not None:
            found.records = self._locks.opened(found.records, strict=True)
        return found

    def calls_named(self, news: Sequence[NewOutcome]) -> list[Record]:
        """The answered calls that outcomes name, and those that shadow them, whole."""
        return self._locks.opened(self._labels.calls_named(news), strict=True)

    def calls_of_entity(self, new: NewOutcome, within_s: float, limit: int) -> list[Record]:
        """The answered calls of its entity, at the most `within_s` before it, whole."""
        found = self._labels.calls_of_entity(new, within_s, limit)
        return self._locks.opened(found, strict=True)

    def turn(self) -> AbstractContextManager[Turn]:
        """A transaction; all of it is durable at its end, or nothing happened."""
        return self._labels.turn()


class LockedRollups:
    """A RollupStore with locks: profiles are made of texts that are read for this alone."""

    def __init__(self, rollups: RollupStore, locks: Locks) -> None:
        self._rollups = rollups
        self._locks = locks
        self.add = rollups.add
        self.waiting = rollups.waiting
        self.prune = rollups.prune
        self.kept_since = rollups.kept_since
        self.counted = rollups.counted
        self.timed = rollups.timed
        self.spent = rollups.spent
        self.callers = rollups.callers
        self.profiles = rollups.profiles
        self.integrations = rollups.integrations
        self.damaged = rollups.damaged

    def take(self, limit: int) -> Batch | None:
        """About so many calls that are in no rollup yet, or None where there are none."""
        batch = self._rollups.take(limit)
        if batch is not None:
            batch.records = self._locks.opened(batch.records, strict=True)
        return batch
