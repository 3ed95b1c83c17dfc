"""Keys of the people whom payloads are about, apart from the ledger; and what was erased, in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from splice.core.archives import Archived
from splice.core.erasure import Erasure, Expiry


class SubjectKey(msgspec.Struct, frozen=True):
    """The wrapped key of one person in one integration.

    `tag` is the person's HMAC (16 bytes), `id` (8 bytes) tells it from earlier keys of the same
    person, `kek` names what wrapped it.
    """

    tag: bytes
    integration: str
    id: bytes
    kek: str
    wrapped: bytes
    made_us: int


class ErasedKey(msgspec.Struct, frozen=True):
    """A key that was destroyed: `number` counts them, so that others learn of new ones."""

    number: int
    tag: bytes
    integration: str
    id: bytes
    at_us: int


class SubjectKeys(Protocol):
    """The key store. It is no part of the ledger, nor of its backups. Blocks."""

    def get(self, wanted: Iterable[tuple[bytes, str]]) -> dict[tuple[bytes, str], SubjectKey]:
        """Those keys that there are, by tag and integration.

        Raises:
            StoreError: The store cannot be read.
        """
        ...

    def add(self, keys: Sequence[SubjectKey]) -> dict[tuple[bytes, str], SubjectKey]:
        """Store new keys, durable on return; gives those that count: of two, the first.

        Raises:
            StoreError: None was stored.
        """
        ...

    def erase(self, tag: bytes, integrations: Sequence[str], now_us: int) -> list[ErasedKey]:
        """Destroy the keys of a person in these integrations, durably, and note that they are gone.

        They are overwritten in the store's own files as far as the database does so. Also notes
        integrations in which there was no key (with an empty id).
        """
        ...

    def erased(self, after: int = 0, limit: int = 1000) -> list[ErasedKey]:
        """Destroyed keys with a higher number, in their order."""
        ...

    def gone(self, key_ids: Iterable[bytes]) -> dict[bytes, int]:
        """Those of the keys that were destroyed, by their ids; and when, in Unix microseconds."""
        ...

    def under(self, keks: Sequence[str], limit: int) -> list[SubjectKey]:
        """Some keys that another than these has wrapped: they wait for being wrapped anew."""
        ...

    def rewrap(self, keys: Sequence[SubjectKey]) -> int:
        """Put these in place of the ones with their id, unless erased meanwhile; says how many."""
        ...

    def count(self) -> Mapping[str, int]:
        """How many keys there are, by what wrapped them."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class SubjectStore(Protocol):
    """What was erased, and what retention dropped, in the ledger. Blocks."""

    def drop_traces(
        self, tag: str, owner: bytes, call_ids: Sequence[str], integrations: Sequence[str]
    ) -> dict[str, int]:
        """Delete what is readable of a person beside calls; kind to how many. Safe to repeat.

        `outcomes` whose value is a text, of this entity (`tag`) or of these calls, in these
        integrations; corrected decisions and notes in `reviews` of these calls; `dead_letters`
        and `waiting` events and messages in whose body `owner` stands, with which every envelope
        of his begins. What is deleted is overwritten where the database can do that.
        """
        ...

    def add_erasure(self, erasure: Erasure) -> None:
        """Store a receipt, with an audit event (`subject.erase`) in the same transaction."""
        ...

    def erasures(self, tag: str | None = None, limit: int = 100) -> list[Erasure]:
        """Receipts, newest first."""
        ...

    def expire(self, integration: str, before_us: int, limit: int, now_us: int) -> tuple[int, bool]:
        """Drop texts and entities of about `limit` calls asked before, in one transaction.

        It goes on where it ended, which `expiries` tells, and stops before calls that are not in
        the rollups yet. What is proved of a call still is: a hash stands for what was dropped.
        Says how many it dropped, and whether there may be more.
        """
        ...

    def expiries(self, integration: str | None = None) -> list[Expiry]:
        """How far the texts of integrations were dropped: at the most one of each."""
        ...

    def expirable_files(self, integration: str, before_us: int) -> list[Archived]:
        """Files of the archive with texts, all of whose calls were asked before.

        None of which calls are still being deleted from the ledger.
        """
        ...

    def replace_file(self, old: Archived, new: Archived, now_us: int) -> bool:
        """List a file without texts in the place of one, with an audit event in the transaction.

        False where another has done it.
        """
        ...

    def expire_letters(self, integration: str, before_us: int) -> int:
        """Drop the bodies of dead letters that died before; says how many."""
        ...
