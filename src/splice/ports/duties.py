"""What a person attested and reported, and what evidence is kept: attestations, incidents, freezes.

Every change is an event of the audit log in the transaction that makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from splice.core.alerts import Note
from splice.core.duties import Attestation, Freeze, Incident


class DutyStore(Protocol):
    """What people attested and reported, and the evidence that is frozen. Blocks."""

    def attest(self, attestation: Attestation) -> None:
        """Keep what a person said of a duty; earlier ones of the same duty stay readable.

        Raises:
            StoreError: It was not stored.
        """
        ...

    def attestations(self, integration: str) -> list[Attestation]:
        """All of an integration, newest first; those that ran out or were taken back too."""
        ...

    def withdraw(self, attestation_id: str, *, by: str, why: str, now_us: int) -> Attestation:
        """Take an attestation back.

        Raises:
            StoreError: There is none of that id.
        """
        ...

    def open_incident(self, incident: Incident, freeze: Freeze) -> None:
        """Store an incident together with the freeze of its evidence.

        Raises:
            StoreError: It was not stored, neither of the two.
        """
        ...

    def save_incident(
        self, incident: Incident, action: str, *, by: str, why: str, now_us: int
    ) -> Incident:
        """Store what changed of the revision that was looked at; gives it with its new revision.

        `action` is that of the audit event: `incident.report`.

        Raises:
            Overtaken: Another process changed it meanwhile.
        """
        ...

    def remind(self, incident: Incident, notes: Sequence[Note]) -> Incident:
        """Store that it was reminded of, with the news for channels, in one transaction.

        Raises:
            Overtaken: Another process changed it, or reminded of it, meanwhile.
        """
        ...

    def incident(self, incident_id: str) -> Incident | None:
        """One incident."""
        ...

    def incidents(
        self, integration: str | None = None, *, only_open: bool = False
    ) -> list[Incident]:
        """Incidents, newest first."""
        ...

    def freezes(self, integration: str | None = None, *, lifted: bool = False) -> list[Freeze]:
        """The freezes that hold, oldest first; with those that were lifted where asked.

        Whoever archives, erases or lets records go asks this in every round, and leaves alone what
        `splice.core.duties.freeze_of` names.
        """
        ...

    def lift(self, freeze_id: str, *, by: str, why: str, now_us: int) -> Freeze:
        """Let the evidence go back to its usual retention.

        Raises:
            StoreError: There is no such freeze.
        """
        ...
