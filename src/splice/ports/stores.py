"""Stores: each serves one noun. All block; the engine calls them from threads of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from splice.core.call import Outcome, Reason, Record, Status
from splice.core.release import Bundle, Live, Manifest, ModelVersion, Release


class CallFilter(msgspec.Struct, frozen=True):
    """Which calls to list, newest first; None does not restrict. Times are Unix microseconds."""

    integration: str | None = None
    entity: str | None = None
    status: Status | None = None
    route: str | None = None
    variant: str | None = None
    reason: Reason | None = None
    release: int | None = None
    since_us: int | None = None
    until_us: int | None = None  # asked before
    before_id: str | None = None  # page: calls older than this one
    limit: int = 50


class Claim(msgspec.Struct, frozen=True):
    """Who holds an idempotency key: `call_id` runs or ran; `done` once its answer is stored.

    A record of a call that was not answered is no answer: its key can be tried anew.
    """

    call_id: str
    body_sha256: bytes
    done: bool
    mine: bool


class RecordStore(Protocol):
    """Calls, appended and never changed."""

    def append(self, records: Sequence[Record]) -> None:
        """Store all of them in one transaction, durable on return. Also ends their claims.

        A record whose call id is already stored is left as it is (the append is idempotent).

        Raises:
            StoreError: Nothing of the batch was stored.
        """
        ...

    def get(self, call_id: str) -> Record | None:
        """The record of a call, or None."""
        ...

    def get_many(self, call_ids: Sequence[str]) -> dict[str, Record]:
        """Those of the records that are stored, by call id."""
        ...

    def find(self, wanted: CallFilter) -> list[Record]:
        """Records newest first, without payloads (input, context, prediction, reply, attempts)."""
        ...

    def count(self, integration: str | None = None) -> int:
        """How many calls are stored."""
        ...

    def claim(
        self,
        integration: str,
        caller: str,
        key: str,
        call_id: str,
        body_sha256: bytes,
        now_us: int,
        lease_us: int,
    ) -> Claim:
        """Take an idempotency key for `call_id`, durably, or learn who holds it.

        A key whose holder never finished is taken over once its lease has passed.

        Raises:
            StoreError: Unknown whether it was taken; the call must not run.
        """
        ...

    def release_claim(self, integration: str, caller: str, key: str, call_id: str) -> None:
        """Give back a claim whose call ended without an answer: the key can be tried anew."""
        ...


class OutcomeStore(Protocol):
    """Outcomes, appended and never changed."""

    def append_outcomes(self, outcomes: Sequence[Outcome], received_us: int) -> int:
        """Store them in one transaction; a repeated outcome is stored once. Returns how many new.

        Raises:
            StoreError: Nothing was stored.
        """
        ...

    def outcomes_of(self, record: Record) -> list[Outcome]:
        """Outcomes that name this call, or its entity after it was asked; oldest first."""
        ...

    def outcomes_of_many(self, records: Sequence[Record]) -> dict[str, list[Outcome]]:
        """The same of several calls, by call id; those without any are left out."""
        ...

    def joined(
        self, integration: str, name: str | None = None, since_us: int = 0
    ) -> Iterator[tuple[Record, Outcome]]:
        """Records with payloads, each with its latest outcome of that name, oldest first."""
        ...


class LiveChange(msgspec.Struct, frozen=True):
    """What a change of the live release is called in the audit log, and what it was made for.

    `expect` is the number that must be live; another makes the change fail, so that of two changes
    at once one is told.
    """

    action: str = "release.live"
    expect: int | None = None
    details: dict[str, Any] = {}  # JSON values


PLAIN_CHANGE = LiveChange()


class ReleaseStore(Protocol):
    """Releases, bundles, and which release is live.

    What changes what is live stores the audit event in the same transaction: `release.live` (or
    what the change is called), `integration.stop`, `integration.start`.
    """

    def put_bundle(self, bundle: Bundle) -> str:
        """Store a bundle once; returns its SHA-256."""
        ...

    def bundle(self, sha256: str) -> Bundle:
        """The bundle.

        Raises:
            StoreError: It is not stored, or what is stored has another hash.
        """
        ...

    def add_release(
        self,
        manifest: Manifest,
        *,
        by: str,
        why: str,
        now_us: int,
        go_live: bool = True,
        change: LiveChange = PLAIN_CHANGE,
    ) -> Release:
        """Number the manifest as the integration's next release and, if asked, make it live.

        One transaction: two at once get two numbers.

        Raises:
            Overtaken: Another release is live than the change expects.
        """
        ...

    def release(self, integration: str, number: int) -> Release | None:
        """One release, or None."""
        ...

    def releases(self, integration: str) -> list[Release]:
        """All releases of an integration, newest first."""
        ...

    def go_live(
        self,
        integration: str,
        number: int,
        *,
        by: str,
        why: str,
        now_us: int,
        change: LiveChange = PLAIN_CHANGE,
    ) -> Live:
        """Make a stored release the one that answers.

        Raises:
            Overtaken: Another release is live than the change expects.
            StoreError: There is no such release.
        """
        ...

    def set_stopped(self, integration: str, why: str, *, by: str, now_us: int) -> Live:
        """Switch an integration off (`why` is not empty) or on again (`why` is empty).

        Raises:
            StoreError: The integration has no release.
        """
        ...

    def live_again_us(self, integration: str) -> int:
        """When the live release became live, if it had been live before (Unix microseconds).

        0 where it is live for the first time: then all of its calls are of this time.
        """
        ...

    def live(self) -> list[Live]:
        """What is live now, of all integrations. Cheap: it is asked four times a second."""
        ...


class AliasChange(msgspec.Struct, frozen=True):
    """An alias was pointed at a version."""

    name: str
    alias: str
    version: int
    by: str = ""
    why: str = ""
    at_us: int = 0


class ModelStore(Protocol):
    """Registered artifacts and their aliases.

    What changes one of them stores the audit event in the same transaction: `model.register` (or
    `model.register_pickle`), `model.alias`, `model.withdraw`, `model.restore`.
    """

    def add_model(
        self,
        name: str,
        file: Path,
        version: ModelVersion,
        *,
        aliases: Sequence[str] = (),
        by: str = "",
        why: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> ModelVersion:
        """Keep a copy under its hash and number it; the same bytes keep their number.

        `details` are further ones of the audit event.
        """
        ...

    def resolve(self, name: str, ref: str) -> ModelVersion | None:
        """The version that `champion` (an alias) or `3` (a number) names, or None."""
        ...

    def models(self, name: str | None = None) -> list[ModelVersion]:
        """All versions, of one name or of all; newest first."""
        ...

    def aliases(self, name: str) -> dict[str, int]:
        """Alias to version number."""
        ...

    def set_alias(
        self, name: str, alias: str, version: int, *, by: str = "", why: str = "", now_us: int = 0
    ) -> None:
        """Point an alias at a version; where it points already, nothing is noted.

        Raises:
            StoreError: There is no such version.
        """
        ...

    def alias_history(self, name: str, alias: str) -> list[AliasChange]:
        """Where an alias pointed, newest first."""
        ...

    def withdraw(
        self, name: str, version: int, why: str, *, by: str = "", now_us: int = 0
    ) -> ModelVersion:
        """Forbid a version to every route (`why` is not empty), or allow it again (empty).

        Raises:
            StoreError: There is no such version.
        """
        ...

    def withdrawn(self) -> dict[str, str]:
        """SHA-256 of every withdrawn version, with why. Cheap: it is asked four times a second."""
        ...

    def file(self, sha256: str) -> Path:
        """Where the artifact's bytes are.

        Raises:
            ModelUnavailable: The file is gone, or its bytes have another hash.
        """
        ...
