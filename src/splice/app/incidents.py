"""Incidents of a project: who is reminded of their clocks, and copies of their evidence."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from splice.app.chores import Chore
from splice.app.clock import Ids
from splice.app.settings import Settings
from splice.app.wiring import Services, Stores
from splice.control.duties.incidents import Incidents, reminder_due, reminder_text
from splice.core.alerts import Note
from splice.core.call import Record
from splice.core.duties import Incident
from splice.core.errors import Overtaken, SettingsError
from splice.declare.law import eu_ai_act
from splice.ports.alerts import AlertFilter
from splice.ports.stores import CallFilter

EVERY_S = 60.0
MANIFEST = "manifest.json"
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
            Note(name, incident.integration, incident.id, kind, now_us, "critical", text)
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
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()):
            raise SettingsError(str(folder), got="a folder that is not empty")
        files = _Files(folder)
        calls = files.lines("calls.jsonl", map(msgspec.to_builtins, _calls(stores, incident)))
        files.lines("releases.jsonl", stores.releases.releases(incident.integration))
        for number, sha256 in enumerate(sorted(_bundles(stores, incident))):
            files.lines(f"source-{number}.jsonl", [stores.releases.bundle(sha256)])
        files.lines("audit.jsonl", _events(stores))
        wanted = AlertFilter(integration=incident.integration, limit=10_000)
        files.lines("alerts.jsonl", stores.alerts.alerts(wanted))
        files.lines("findings.jsonl", stores.alerts.findings(incident.integration))
        files.lines("attestations.jsonl", stores.duties.attestations(incident.integration))
        files.lines("incident.json", [incident])
        manifest = {
            "incident": incident.id, "integration": incident.integration, "made_us": now_us,
            "since_us": incident.since_us, "until_us": incident.until_us or now_us,
            "files": files.listed,
        }  # fmt: skip
        sha256 = files.write(MANIFEST, [msgspec.json.encode(manifest, order="sorted")])[0]
    except OSError as error:
        raise SettingsError(str(folder), got=str(error), promised="a folder to write") from None
    return Copied(str(folder), sha256, calls, len(files.listed))


def _calls(stores: Stores, incident: Incident) -> Iterator[Record]:
    until = incident.until_us or None
    wanted = CallFilter(
        integration=incident.integration, since_us=incident.since_us, until_us=until, limit=_PAGE
    )
    for find in (stores.records.find, stores.records.find_archived):
        if find == stores.records.find_archived and not stores.archives.files():
            return
        before: str | None = None
        while page := find(msgspec.structs.replace(wanted, before_id=before)):
            ids = [one.call_id for one in page]
            whole = stores.records.get_many(ids)
            yield from (whole.get(one.call_id, one) for one in page)
            before = ids[-1]


def _bundles(stores: Stores, incident: Incident) -> set[str]:
    found = stores.releases.releases(incident.integration)
    return {one.manifest.bundle for one in found}


def _events(stores: Stores) -> Iterator[Any]:
    since = 0
    while page := stores.audit.events(since=since, limit=1000):
        yield from page
        since = page[-1].number


class _Files:
    """Files of one folder, each hashed as it is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.listed: list[dict[str, Any]] = []

    def lines(self, name: str, nouns: Iterable[Any]) -> int:
        """Write JSON lines; gives how many."""
        count = 0

        def encoded() -> Iterator[bytes]:
            nonlocal count
            for one in nouns:
                count += 1
                yield msgspec.json.encode(one) + b"\n"

        sha256, size = self.write(name, encoded())
        self.listed.append({"path": name, "sha256": sha256, "size": size, "rows": count})
        return count

    def write(self, name: str, pieces: Iterable[bytes]) -> tuple[str, int]:
        """Write a file for its owner alone, durably; gives its hash and size."""
        sha256, size = hashlib.sha256(), 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(self._folder / name, flags, 0o600), "wb") as file:
            for piece in pieces:
                sha256.update(piece)
                size += len(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        return sha256.hexdigest(), size


def broken_copy(folder: Path, sha256: str) -> list[str]:
    """What is wrong with a copy: files that are gone or changed, or another manifest."""
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError as error:
        return [f"{MANIFEST}: {error.strerror}"]
    if hashlib.sha256(raw).hexdigest() != sha256:
        return [f"{MANIFEST}: another than the audit log names"]
    wrong: list[str] = []
    for one in msgspec.json.decode(raw)["files"]:
        try:
            with (folder / one["path"]).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            wrong.append(f"{one['path']}: {error.strerror}")
            continue
        if found != one["sha256"]:
            wrong.append(f"{one['path']}: changed")
    return wrong
