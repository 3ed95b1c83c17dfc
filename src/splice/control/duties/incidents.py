"""Incidents: opened with a clock and a freeze of their evidence, reported, closed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from splice.core.duties import Freeze, Incident
from splice.core.errors import DeclarationError, RequestError
from splice.core.law import IncidentKind, Law
from splice.ports.duties import DutyStore

DAY_US = 86_400_000_000
REMIND_H = (10_000, 168, 72, 24, 6, 1, 0)
"""Hours before the end of the clock at which somebody is reminded: the first as soon as it is
open, 0 when the clock ran out."""
_BEFORE_US = 30 * DAY_US
"""How much before the company came to know is kept, where nobody says since when it went wrong."""


class UnknownIncident(RequestError):
    """There is no incident of that id."""

    code = "unknown_incident"


class Happened(msgspec.Struct, frozen=True):
    """What somebody says of an incident when he opens it. Times are Unix microseconds.

    `aware_us` is when the company came to know; `since_us` and `until_us` the window whose evidence
    is kept, None where he does not say: thirty days before that, and 0: without end.
    """

    integration: str
    kind: str
    what: str
    by: str
    aware_us: int
    since_us: int | None = None
    until_us: int = 0


class Incidents:
    """What is done with incidents.

    Args:
        duties: Where they are.
        law: Kinds and days.
        new_id: Gives a fresh UUIDv7.
    """

    def __init__(self, duties: DutyStore, law: Law, new_id: Callable[[], str]) -> None:
        self._duties = duties
        self._law = law
        self._new_id = new_id

    def kind(self, key: str) -> IncidentKind:
        """A kind of incident.

        Raises:
            DeclarationError: The law knows none of that key.
        """
        found = next((one for one in self._law.incidents if one.key == key), None)
        if found is None:
            keys = ", ".join(f"{one.key} ({one.days} d)" for one in self._law.incidents)
            raise DeclarationError(f"incident {key[:40]!r}", got="no such kind", promised=keys)
        return found

    def open(self, said: Happened, now_us: int) -> Incident:
        """Start the clock and freeze the evidence, in one transaction.

        Raises:
            DeclarationError: The kind is unknown, it was known in the future, or a window ends
                before it begins.
        """
        kind = self.kind(said.kind)
        since = said.aware_us - _BEFORE_US if said.since_us is None else said.since_us
        if said.aware_us > now_us:
            raise DeclarationError("aware", got="a moment that has not come", promised="a past one")
        if said.until_us and said.until_us <= since:
            raise DeclarationError("until", got="an end before the beginning")
        if not said.what.strip():
            raise DeclarationError("what", got="nothing", promised="what happened, in a sentence")
        incident_id, freeze_id = self._new_id(), self._new_id()
        incident = Incident(
            id=incident_id,
            integration=said.integration,
            kind=kind.key,
            what=said.what.strip(),
            aware_us=said.aware_us,
            due_us=said.aware_us + kind.days * DAY_US,
            since_us=since,
            until_us=said.until_us,
            opened_us=now_us,
            opened_by=said.by,
            freeze=freeze_id,
        )
        freeze = Freeze(
            freeze_id, said.integration, since, said.until_us, now_us, said.by, incident.what,
            incident_id,
        )  # fmt: skip
        self._duties.open_incident(incident, freeze)
        return incident

    def get(self, incident_id: str) -> Incident:
        """One incident.

        Raises:
            UnknownIncident: There is none of that id.
        """
        try:
            found = self._duties.incident(incident_id)
        except ValueError:  # no id at all
            found = None
        if found is None:
            raise UnknownIncident(
                incident_id[:80], got="no incident of that id", mend="splice incidents list"
            )
        return found

    def report(self, incident_id: str, reference: str, *, by: str, now_us: int) -> Incident:
        """Note that the authority was told; the clock stops. A later report keeps the first time.

        Raises:
            UnknownIncident: There is none of that id.
        """
        found = self.get(incident_id)
        told = msgspec.structs.replace(
            found,
            reported_us=found.reported_us or now_us,
            reported_by=by,
            reference=reference,
        )
        return self._save(told, "incident.report", (by, reference), now_us)

    def close(self, incident_id: str, finding: str, *, by: str, now_us: int) -> Incident:
        """End it; the evidence stays frozen until `thaw`.

        Raises:
            UnknownIncident: There is none of that id.
            DeclarationError: It says nothing of what was found and done.
        """
        if not finding.strip():
            raise DeclarationError("finding", got="nothing", promised="what was found and done")
        closed = msgspec.structs.replace(
            self.get(incident_id), closed_us=now_us, closed_by=by, finding=finding.strip()
        )
        return self._save(closed, "incident.close", (by, finding), now_us)

    def copied(
        self, incident_id: str, folder: str, sha256: str, *, by: str, now_us: int
    ) -> Incident:
        """Note where a copy of the evidence is, and the hash of its manifest.

        Raises:
            UnknownIncident: There is none of that id.
        """
        copied = msgspec.structs.replace(
            self.get(incident_id), evidence=folder, evidence_sha256=sha256
        )
        return self._save(copied, "incident.copy", (by, ""), now_us)

    def thaw(self, incident_id: str, *, by: str, why: str, now_us: int) -> Freeze:
        """Let the evidence of a closed incident go back to its usual retention.

        Raises:
            UnknownIncident: There is none of that id.
            DeclarationError: It is open, or nobody says why.
        """
        found = self.get(incident_id)
        if found.is_open:
            raise DeclarationError(
                f"incident {found.id}", got="one that is open", promised="a closed one",
                mend=f"splice incidents close {found.id} first",
            )  # fmt: skip
        if not why.strip():
            raise DeclarationError("why", got="nothing", promised="why the evidence may go")
        return self._duties.lift(found.freeze, by=by, why=why.strip(), now_us=now_us)

    def _save(self, incident: Incident, action: str, who: tuple[str, str], now_us: int) -> Incident:
        by, why = who
        return self._duties.save_incident(incident, action, by=by, why=why, now_us=now_us)


def reminder_due(incident: Incident, now_us: int) -> int | None:
    """Hours before the end, of a reminder that is due now; None where none is.

    Of several that were missed, only the one nearest to the end is.
    """
    if not incident.is_open or incident.reported_us:
        return None
    left_h = incident.left_us(now_us) / 3_600_000_000
    due = [hours for hours in REMIND_H if left_h <= hours]
    if not due or min(due) in incident.reminded:
        return None
    return min(due)


def reminder_text(incident: Incident, kind: IncidentKind, now_us: int) -> str:
    """What channels are told: what happened, and what is left of the clock."""
    left_h = incident.left_us(now_us) / 3_600_000_000
    left = f"{left_h / 24:.1f} days" if left_h >= 48 else f"{left_h:.1f} hours"
    clock = f"{left} left" if left_h > 0 else "the clock has run out"
    return (
        f"incident {incident.id}: {kind.text} ({kind.point}, {kind.days} days): {incident.what}. "
        f"To be reported to the authority: {clock}. splice incidents show {incident.id}"
    )
