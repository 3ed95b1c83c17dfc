"""What every DutyStore must hold to.

Inherit `DutyStoreContract`. It wants the fixtures `duties`, `alerts` and `audit`, stores of one
empty ledger.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from splice.core.alerts import Note
from splice.core.duties import Attestation, Freeze, Incident, freeze_of
from splice.core.errors import Overtaken, StoreError
from splice.core.ids import derived_uuid7
from splice.ports.alerts import AlertStore
from splice.ports.audit import AuditLog
from splice.ports.duties import DutyStore

NOW_US = 1_795_000_000_000_000
DAY_US = 86_400_000_000


def id_of(name: str) -> str:
    """An id that is always the same."""
    return derived_uuid7(NOW_US // 1000, name)


def attestation_of(number: int, duty: str = "risk.residual") -> Attestation:
    """What somebody said so many microseconds later; it holds for a day."""
    at_us = NOW_US + number
    return Attestation(
        id_of(f"said {number}"), "credit", duty, "None \0 that matters ✗", "ada", at_us,
        at_us + DAY_US,
    )  # fmt: skip


def incident_of(
    number: int, integration: str = "credit", until_us: int = 0
) -> tuple[Incident, Freeze]:
    """An incident that was opened so many microseconds later, and its freeze."""
    opened_us, since_us = NOW_US + number, NOW_US - DAY_US
    freeze = Freeze(
        id_of(f"freeze {number}"), integration, since_us, until_us, opened_us, "ada", "it hurt",
        id_of(f"incident {number}"),
    )  # fmt: skip
    incident = Incident(
        freeze.incident, integration, "health", "it hurt", opened_us, opened_us + 15 * DAY_US,
        since_us, until_us, opened_us, "ada", freeze.id,
    )  # fmt: skip
    return incident, freeze


class DutyStoreContract:
    """Attestations, incidents and freezes."""

    def test_attestations_are_kept_newest_first(self, duties: DutyStore, audit: AuditLog) -> None:
        for number in (1, 2):
            duties.attest(attestation_of(number))

        assert duties.attestations("credit") == [attestation_of(2), attestation_of(1)]
        assert duties.attestations("other") == []
        assert [one.action for one in audit.events()] == ["duty.attest", "duty.attest"]
        assert audit.events()[0].by == "ada"

    def test_what_is_taken_back_holds_no_more_and_stays_readable(
        self, duties: DutyStore, audit: AuditLog
    ) -> None:
        said = attestation_of(1)
        duties.attest(said)

        gone = duties.withdraw(said.id, by="bo", why="it was wrong", now_us=NOW_US + 5)

        assert said.holds(NOW_US + 5)
        assert not gone.holds(NOW_US + 5)
        assert duties.attestations("credit") == [gone]
        assert audit.events()[-1].action == "duty.withdraw"
        assert duties.withdraw(said.id, by="cy", why="again", now_us=NOW_US + 6) == gone
        assert len(audit.events()) == 2

    @pytest.mark.parametrize("unknown", [id_of("nobody"), "no id at all", ""])
    def test_what_is_not_there_is_said(self, duties: DutyStore, unknown: str) -> None:
        assert duties.incident(unknown) is None
        with pytest.raises(StoreError, match="nothing of that id"):
            duties.withdraw(unknown, by="ada", why="", now_us=NOW_US)
        with pytest.raises(StoreError, match="nothing of that id"):
            duties.lift(unknown, by="ada", why="", now_us=NOW_US)

    def test_an_incident_comes_with_its_freeze(self, duties: DutyStore, audit: AuditLog) -> None:
        incident, freeze = incident_of(1)

        duties.open_incident(incident, freeze)

        assert duties.incident(incident.id) == incident
        assert duties.freezes() == duties.freezes("credit") == [freeze]
        assert duties.freezes("other") == []
        event = audit.events()[-1]
        assert (event.action, event.details["freeze"]) == ("incident.open", freeze.id)

    def test_neither_is_stored_without_the_other(self, duties: DutyStore, audit: AuditLog) -> None:
        incident, freeze = incident_of(1)
        duties.open_incident(incident, freeze)
        again = msgspec.structs.replace(freeze, id=id_of("another freeze"))

        with pytest.raises(StoreError):
            duties.open_incident(incident, again)

        assert duties.freezes() == [freeze]
        assert len(audit.events()) == 1

    def test_of_two_who_change_an_incident_one_is_told(self, duties: DutyStore) -> None:
        incident, freeze = incident_of(1)
        duties.open_incident(incident, freeze)

        def report(reference: str) -> bool:
            told = msgspec.structs.replace(incident, reported_us=NOW_US, reference=reference)
            try:
                duties.save_incident(told, "incident.report", by="ada", why="", now_us=NOW_US)
            except Overtaken:
                return False
            return True

        with ThreadPoolExecutor(4) as threads:
            done = list(threads.map(report, ["a", "b", "c", "d"]))

        assert done.count(True) == 1
        kept = duties.incident(incident.id)
        assert kept is not None
        assert kept.reference == "abcd"[done.index(True)]
        assert kept.revision == 1

    def test_open_ones_are_told_from_closed_ones(self, duties: DutyStore) -> None:
        for number, name in ((1, "credit"), (2, "credit"), (3, "other")):
            duties.open_incident(*incident_of(number, name))
        first = incident_of(1)[0]
        closed = msgspec.structs.replace(first, closed_us=NOW_US + 9, finding="mended")
        duties.save_incident(closed, "incident.close", by="ada", why="mended", now_us=NOW_US + 9)

        assert [one.opened_us - NOW_US for one in duties.incidents()] == [3, 2, 1]
        assert [one.opened_us - NOW_US for one in duties.incidents(only_open=True)] == [3, 2]
        assert [one.id for one in duties.incidents("credit")] == [
            incident_of(2)[0].id, first.id,
        ]  # fmt: skip

    def test_a_reminder_is_noted_together_with_its_news(
        self, duties: DutyStore, alerts: AlertStore
    ) -> None:
        incident, freeze = incident_of(1)
        duties.open_incident(incident, freeze)
        note = Note("oncall", "credit", incident.id, "opened", NOW_US, "critical", "2 days left")
        reminded = msgspec.structs.replace(incident, reminded=(72,))

        duties.remind(reminded, [note])
        with pytest.raises(Overtaken):
            duties.remind(reminded, [note])

        kept = duties.incident(incident.id)
        assert kept is not None
        assert kept.reminded == (72,)
        assert [one.text for one in alerts.waiting_notes(["oncall"])] == ["2 days left"]

    def test_a_lifted_freeze_keeps_nothing_and_is_still_told(
        self, duties: DutyStore, audit: AuditLog
    ) -> None:
        incident, freeze = incident_of(1, until_us=NOW_US + DAY_US)
        duties.open_incident(incident, freeze)
        window = ("credit", NOW_US, NOW_US + 1)

        assert freeze_of(duties.freezes(), *window) == freeze
        gone = duties.lift(freeze.id, by="bo", why="it is over", now_us=NOW_US + 3)

        assert freeze_of(duties.freezes(), *window) is None
        assert duties.freezes() == []
        assert duties.freezes(lifted=True) == [gone]
        assert audit.events()[-1].action == "freeze.lift"
        assert duties.lift(freeze.id, by="cy", why="again", now_us=NOW_US + 4) == gone
