"""Incidents of a project: who is reminded of their clocks, and copies of their evidence."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from splice.app.chores import Chore
from splice.app.clock import Ids
from splice.app.folders import EvidenceFolder
from splice.app.settings import Settings
from splice.app.wiring import Services, Stores
from splice.control.duties.incidents import Incidents, reminder_due, reminder_text
from splice.core.alerts import Note
from splice.core.audit import AuditEvent
from splice.core.call import Record
from splice.core.duties import Incident
from splice.core.errors import Overtaken
from splice.declare.law import eu_ai_act
from splice.ports.alerts import AlertFilter
from splice.ports.stores import CallFilter

EVERY_S = 60.0
_PAGE = 500


def incidents_of(stores: Stores) -> Incidents:
    """What is done with incidents."""
    return Incidents(stores.duties, eu_ai_act(), Ids().new)


def chores_of_incidents(services: Services) -> list[Chore]:
    """What reminds of the clocks of open incidents, by the channels of alerts."""
    settings, stores = services.settings, services.stores

    def remind(now_us: int) -> bool:
        remind_of(settings, stores, now_us)
        return False

    return [Chore("incidents", EVERY_S, remind)]


def remind_of(settings: Settings, stores: Stores, now_us: int) -> int:
    """Let channels be told of what is due; gives of how many incidents. Told once, whoever does."""
    kinds = incidents_of(stores)
    told = 0
    for incident in stores.duties.incidents(only_open=True):
        hours = reminder_due(incident, now_us)
        if hours is None:
            continue
        text = reminder_text(incident, kinds.kind(incident.kind), now_us)
        kind = "still open" if incident.reminded else "opened"
        notes = [
            Note(
                name,
                incident.integration,
                incident.id,
                kind,
                now_us,
                "critical",
                text,
                name="incident",
            )
            for name, channel in settings.alerts.items()
            if any(fnmatchcase(incident.integration, one) for one in channel.integrations)
        ]
        seen = msgspec.structs.replace(incident, reminded=(*incident.reminded, hours))
        try:
            stores.duties.remind(seen, notes)
        except Overtaken:  # another process did it, or somebody reported it just now
            continue
        told += 1
    return told


class Copied(msgspec.Struct, frozen=True):
    """A copy of the evidence: its folder, the hash of its manifest, and what is in it."""

    folder: str
    sha256: str
    calls: int
    files: int


def copy_evidence(stores: Stores, incident: Incident, folder: Path, now_us: int) -> Copied:
    """Write the evidence of an incident to a folder, with the hash of every file.

    Records are written as the ledger holds them: what is enciphered there stays so.

    Raises:
        SettingsError: The folder holds something already, or cannot be written.
    """
    files = EvidenceFolder(folder)
    calls = files.lines("calls.jsonl", _calls(stores, incident))
    releases = stores.releases.releases(incident.integration)
    files.lines("releases.jsonl", releases)
    for sha256 in sorted({one.manifest.bundle for one in releases}):
        files.json(f"sources/{sha256}.json", stores.releases.bundle(sha256))
    files.lines("audit.jsonl", events_of(stores))
    wanted = AlertFilter(integration=incident.integration, limit=10_000)
    files.lines("alerts.jsonl", stores.alerts.alerts(wanted))
    files.lines("findings.jsonl", stores.alerts.findings(incident.integration))
    files.lines("attestations.jsonl", stores.duties.attestations(incident.integration))
    files.json("incident.json", incident)
    sha256 = files.close(
        incident=incident.id, integration=incident.integration, made_us=now_us,
        since_us=incident.since_us, until_us=incident.until_us or now_us,
    )  # fmt: skip
    return Copied(str(folder), sha256, calls, len(files.files))


def _calls(stores: Stores, incident: Incident) -> Iterator[Record]:
    wanted = CallFilter(
        integration=incident.integration, since_us=incident.since_us,
        until_us=incident.until_us or None, limit=_PAGE,
    )  # fmt: skip
    stored = stores.records.stored  # as it lies there: nothing is deciphered for a copy
    finders = [stored.find]
    if stores.archives.files():
        finders.append(stored.find_archived)
    for find in finders:
        before: str | None = None
        while page := find(msgspec.structs.replace(wanted, before_id=before)):
            ids = [one.call_id for one in page]
            whole = stored.get_many(ids)
            yield from (whole.get(one.call_id, one) for one in page)
            before = ids[-1]


def events_of(stores: Stores, subject: str | None = None) -> Iterator[AuditEvent]:
    """Audit events, oldest first: of a subject, or all."""
    since = 0
    while page := stores.audit.events(subject=subject, since=since, limit=1000):
        yield from page
        since = page[-1].number
