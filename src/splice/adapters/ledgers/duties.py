"""What people attested and reported, and the evidence that is frozen, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, insert, select, update

from splice.adapters.ledgers.alert_messages import add_notes
from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.duty_tables import attestations, freezes, incidents
from splice.core.alerts import Note
from splice.core.duties import Attestation, Freeze, Incident
from splice.core.errors import Overtaken, StoreError
from splice.core.ids import id_bytes

_T = TypeVar("_T", Attestation, Freeze)


class SqlDuties:
    """A DutyStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def attest(self, attestation: Attestation) -> None:
        """Keep what a person said of a duty; earlier ones of the same duty stay readable."""
        with self._database.write() as connection:
            connection.execute(
                insert(attestations).values(
                    id=attestation.id,
                    integration=attestation.integration,
                    duty=attestation.duty,
                    at_us=attestation.at_us,
                    body=_text(attestation),
                )
            )
            append_event(
                self._database, connection, "duty.attest", attestation.integration,
                by=attestation.by, now_us=attestation.at_us, why=attestation.text,
                details={"duty": attestation.duty, "attestation": attestation.id,
                         "expires_us": attestation.expires_us},
                after={"text": attestation.text},
            )  # fmt: skip

    def attestations(self, integration: str) -> list[Attestation]:
        """All of an integration, newest first; those that ran out or were taken back too."""
        columns = attestations.c
        query = select(columns.body).where(columns.integration == integration)
        query = query.order_by(columns.at_us.desc(), columns.id.desc())
        with self._database.read() as connection:
            rows = connection.execute(query)
            return [msgspec.json.decode(row.body, type=Attestation) for row in rows]

    def withdraw(self, attestation_id: str, *, by: str, why: str, now_us: int) -> Attestation:
        """Take an attestation back; one that was taken back already stays as it is."""
        columns = attestations.c
        with self._database.write() as connection:
            self._database.lock(connection, f"attestation {attestation_id}")
            kept = _one(connection, columns, attestation_id, Attestation)
            if kept.withdrawn_us:
                return kept
            gone = msgspec.structs.replace(
                kept, withdrawn_us=now_us, withdrawn_by=by, withdrawn_why=why
            )
            connection.execute(
                update(attestations).where(columns.id == attestation_id).values(body=_text(gone))
            )
            append_event(
                self._database, connection, "duty.withdraw", gone.integration,
                by=by, now_us=now_us, why=why,
                details={"duty": gone.duty, "attestation": gone.id},
                before={"text": kept.text},
            )  # fmt: skip
        return gone

    def open_incident(self, incident: Incident, freeze: Freeze) -> None:
        """Store an incident together with the freeze of its evidence."""
        with self._database.write() as connection:
            connection.execute(
                insert(freezes).values(
                    id=freeze.id,
                    integration=freeze.integration,
                    at_us=freeze.at_us,
                    lifted_us=0,
                    body=_text(freeze),
                )
            )
            connection.execute(insert(incidents).values(_incident_values(incident)))
            append_event(
                self._database, connection, "incident.open", incident.integration,
                by=incident.opened_by, now_us=incident.opened_us, why=incident.what,
                details={"incident": incident.id, "kind": incident.kind, "freeze": freeze.id,
                         "aware_us": incident.aware_us, "due_us": incident.due_us,
                         "since_us": freeze.since_us, "until_us": freeze.until_us},
                after=msgspec.to_builtins(incident),
            )  # fmt: skip

    def save_incident(
        self, incident: Incident, action: str, *, by: str, why: str, now_us: int
    ) -> Incident:
        """Store what changed of the revision that was looked at; gives it with its new revision."""
        with self._database.write() as connection:
            before, saved = _save(connection, incident)
            append_event(
                self._database, connection, action, incident.integration,
                by=by, now_us=now_us, why=why,
                details={"incident": incident.id, "reference": incident.reference,
                         "evidence_sha256": incident.evidence_sha256},
                before=before, after=msgspec.to_builtins(saved),
            )  # fmt: skip
        return saved

    def remind(self, incident: Incident, notes: Sequence[Note]) -> Incident:
        """Store that it was reminded of, with the news for channels, in one transaction."""
        with self._database.write() as connection:
            saved = _save(connection, incident)[1]
            add_notes(connection, notes)
        return saved

    def incident(self, incident_id: str) -> Incident | None:
        """One incident."""
        if not _is_id(incident_id):
            return None
        query = select(incidents.c.body).where(incidents.c.id == incident_id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else msgspec.json.decode(row.body, type=Incident)

    def incidents(
        self, integration: str | None = None, *, only_open: bool = False
    ) -> list[Incident]:
        """Incidents, newest first."""
        columns = incidents.c
        query = select(columns.body)
        if integration is not None:
            query = query.where(columns.integration == integration)
        if only_open:
            query = query.where(columns.closed_us == 0)
        query = query.order_by(columns.opened_us.desc(), columns.id.desc())
        with self._database.read() as connection:
            rows = connection.execute(query)
            return [msgspec.json.decode(row.body, type=Incident) for row in rows]

    def freezes(self, integration: str | None = None, *, lifted: bool = False) -> list[Freeze]:
        """The freezes that hold, oldest first; with those that were lifted where asked."""
        columns = freezes.c
        query = select(columns.body)
        if integration is not None:
            query = query.where(columns.integration == integration)
        if not lifted:
            query = query.where(columns.lifted_us == 0)
        query = query.order_by(columns.at_us, columns.id)
        with self._database.read() as connection:
            rows = connection.execute(query)
            return [msgspec.json.decode(row.body, type=Freeze) for row in rows]

    def lift(self, freeze_id: str, *, by: str, why: str, now_us: int) -> Freeze:
        """Let the evidence go back to its usual retention; a lifted one stays as it is."""
        columns = freezes.c
        with self._database.write() as connection:
            self._database.lock(connection, f"freeze {freeze_id}")
            kept = _one(connection, columns, freeze_id, Freeze)
            if kept.lifted_us:
                return kept
            gone = msgspec.structs.replace(kept, lifted_us=now_us, lifted_by=by, lifted_why=why)
            values = {"lifted_us": now_us, "body": _text(gone)}
            connection.execute(update(freezes).where(columns.id == freeze_id).values(values))
            append_event(
                self._database, connection, "freeze.lift", gone.integration,
                by=by, now_us=now_us, why=why,
                details={"freeze": gone.id, "incident": gone.incident},
                before=msgspec.to_builtins(kept), after=msgspec.to_builtins(gone),
            )  # fmt: skip
        return gone


def _text(noun: msgspec.Struct) -> str:
    return msgspec.json.encode(noun).decode()


def _is_id(text: str) -> bool:
    try:
        id_bytes(text)
    except ValueError:
        return False
    return True


def _one(connection: Connection, columns: Any, noun_id: str, kind: type[_T]) -> _T:
    """The noun of that id, of the table that the columns are of."""
    body: str | None = None
    if _is_id(noun_id):
        query = select(columns.body).where(columns.id == noun_id)
        body = connection.execute(query).scalar_one_or_none()
    if body is None:
        name = f"{kind.__name__.lower()} {noun_id[:80]}"
        raise StoreError(name, got="nothing of that id", mend="look at the list of them")
    return msgspec.json.decode(body, type=kind)


def _save(connection: Connection, incident: Incident) -> tuple[Any, Incident]:
    """Stores the next revision; gives what was there before, and what is now."""
    saved = msgspec.structs.replace(incident, revision=incident.revision + 1)
    same = (incidents.c.id == incident.id, incidents.c.revision == incident.revision)
    was = connection.execute(select(incidents.c.body).where(*same)).scalar_one_or_none()
    changed = update(incidents).where(*same).values(_incident_values(saved))
    if was is None or connection.execute(changed).rowcount != 1:
        raise Overtaken(
            f"incident {incident.id}", got="another revision of it",
            promised=f"revision {incident.revision}, which it had a moment ago",
            mend="look again in a moment",
        )  # fmt: skip
    return msgspec.json.decode(was), saved


def _incident_values(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "integration": incident.integration,
        "opened_us": incident.opened_us,
        "closed_us": incident.closed_us,
        "revision": incident.revision,
        "body": _text(incident),
    }
