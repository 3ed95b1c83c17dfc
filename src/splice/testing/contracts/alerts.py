"""What every AlertStore must hold to.

Inherit `AlertStoreContract`. It wants the fixtures `alerts` and `audit`, stores of an empty ledger.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from splice.core.alerts import Alert, Deed, Finding, Measured, Message, Mute, Note, Part
from splice.core.errors import Overtaken
from splice.core.ids import derived_uuid7
from splice.core.monitors import PinnedMonitor
from splice.ports.alerts import AlertFilter, AlertStore, Turn
from splice.ports.audit import AuditLog

NOW_US = 1_795_000_000_000_000
CALL = derived_uuid7(NOW_US // 1000, "call")
ASKED = PinnedMonitor(
    name="share errors", kind="share", figure="errors", window_s=600.0, every_s=60.0, for_s=120.0,
    cooldown_s=3600.0, least=50, severity="warning", then=("alert", "roll back"), above=0.02,
)  # fmt: skip
MEASURED = Measured(
    0.05, 400, NOW_US - 600_000_000, NOW_US, low=0.03, high=0.08, compared="the week before ✗",
    parts=(Part("model:credit", 0.05, 0.03, 0.08, 400, beyond=True),), calls=(CALL,), release=7,
)  # fmt: skip


def finding_of(monitor: str = "share errors", integration: str = "credit") -> Finding:
    """A finding that was never stored."""
    return Finding(
        integration, monitor, "firing", NOW_US, NOW_US - 5, 7, ASKED, "5 % \0 of calls", MEASURED,
        beyond_us=NOW_US - 9,
    )  # fmt: skip


def alert_of(number: int, integration: str = "credit", monitor: str = "share errors") -> Alert:
    """An alert that opened so many microseconds later."""
    return Alert(
        derived_uuid7((NOW_US + number) // 1000, integration, str(number)), integration, monitor,
        "firing", "open", "warning", 7, NOW_US + number, "5 % of calls", ASKED, MEASURED,
        deeds=(Deed("roll back"),),
    )  # fmt: skip


def note_of(number: int, channel: str = "oncall", integration: str = "credit") -> Note:
    """News of an alert."""
    return Note(channel, integration, alert_of(number).id, "opened", NOW_US, "warning", "it is bad")


def message_of(notes: list[Note], channel: str = "oncall") -> Message:
    """A message of notes."""
    message_id = derived_uuid7(NOW_US // 1000, channel, str([one.number for one in notes]))
    return Message(message_id, channel, "credit", "waiting", NOW_US, tuple(notes), (alert_of(1),))


def held_by(token: str, message: Message) -> Message:
    """A message as who holds it saves it."""
    return msgspec.structs.replace(message, token=token)


class AlertStoreContract:
    """What is stored comes back, once, whoever writes at the same time."""

    def test_a_turn_comes_back_whole(self, alerts: AlertStore) -> None:
        turn = Turn(finding_of(), opened=(alert_of(1),), notes=(note_of(1),))

        finding = alerts.settle(turn)

        assert finding.revision == 1
        assert alerts.findings() == [finding]
        assert alerts.findings("churn") == []
        assert alerts.alert(alert_of(1).id) == alert_of(1)
        assert alerts.alert(derived_uuid7(5, "nobody")) is None
        assert [one.alert for one in alerts.waiting_notes(["oncall"])] == [alert_of(1).id]

    def test_who_evaluated_what_another_did_meanwhile_stores_nothing(
        self, alerts: AlertStore
    ) -> None:
        first = alerts.settle(Turn(finding_of(), opened=(alert_of(1),)))

        with pytest.raises(Overtaken):  # both had seen none
            alerts.settle(Turn(finding_of(), opened=(alert_of(2),), notes=(note_of(2),)))
        alerts.settle(Turn(first))
        with pytest.raises(Overtaken):
            alerts.settle(Turn(first, opened=(alert_of(3),), notes=(note_of(3),)))
        stale = msgspec.structs.replace(alert_of(1), revision=4)
        with pytest.raises(Overtaken):
            alerts.settle(Turn(alerts.findings()[0], changed=(stale,), notes=(note_of(4),)))

        assert [one.revision for one in alerts.findings()] == [2]
        assert [one.id for one in alerts.alerts(AlertFilter())] == [alert_of(1).id]
        assert alerts.waiting_notes(["oncall"]) == []

    def test_of_many_at_once_one_opens_the_alert(self, alerts: AlertStore) -> None:
        def settle(number: int) -> bool:
            turn = Turn(finding_of(), opened=(alert_of(number),), notes=(note_of(number),))
            try:
                alerts.settle(turn)
            except Overtaken:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(settle, range(8)))

        assert won.count(True) == 1
        assert len(alerts.alerts(AlertFilter())) == 1
        assert len(alerts.waiting_notes(["oncall"])) == 1

    def test_a_finding_is_forgotten_unless_it_changed(self, alerts: AlertStore) -> None:
        first = alerts.settle(Turn(finding_of()))
        second = alerts.settle(Turn(first))

        alerts.forget(first)
        kept = alerts.findings()
        alerts.forget(second)

        assert kept == [second]
        assert alerts.findings() == []

    def test_alerts_are_found_newest_first(self, alerts: AlertStore) -> None:
        done = msgspec.structs.replace(alert_of(1), state="resolved", resolved_us=NOW_US + 50)
        other = alert_of(3, "churn", "cost day")
        alerts.settle(Turn(finding_of(), opened=(done, alert_of(2), other)))

        def found(**wanted: object) -> list[str]:
            return [one.id for one in alerts.alerts(AlertFilter(**wanted))]  # type: ignore[arg-type]

        one, two, three = done.id, alert_of(2).id, other.id
        assert found() == [three, two, one]
        assert found(limit=1) == [three]
        assert found(integration="credit") == [two, one]
        assert found(monitor="cost day") == [three]
        assert found(state="resolved") == [one]
        assert found(since_us=NOW_US + 51) == [three, two]
        assert found(since_us=NOW_US + 50) == [three, two, one]
        assert found(until_us=NOW_US + 3) == [two, one]

    def test_an_acknowledged_alert_is_audited(self, alerts: AlertStore, audit: AuditLog) -> None:
        alerts.settle(Turn(finding_of(), opened=(alert_of(1),)))
        acknowledged = msgspec.structs.replace(
            alert_of(1), acknowledged_us=NOW_US + 7, acknowledged_by="ada", acknowledged_why="seen"
        )

        saved = alerts.save_alert(acknowledged, (note_of(1),), action="alert.acknowledge")

        assert (saved.revision, alerts.alert(saved.id)) == (1, saved)
        told = [(one.action, one.subject, one.by, one.why) for one in audit.events()]
        assert told == [("alert.acknowledge", "credit", "ada", "seen")]
        with pytest.raises(Overtaken):
            alerts.save_alert(acknowledged, (note_of(2),), action="alert.acknowledge")
        assert (len(audit.events()), len(alerts.waiting_notes(["oncall"]))) == (1, 1)

    def test_a_mute_holds_until_it_ends(self, alerts: AlertStore, audit: AuditLog) -> None:
        alerts.set_mute(Mute("credit", "", NOW_US + 100, "ada", "maintenance"), NOW_US)
        alerts.set_mute(Mute("credit", "cost day", NOW_US + 5, "ada"), NOW_US)
        alerts.set_mute(Mute("credit", "cost day", NOW_US + 50, "eve"), NOW_US)

        both = alerts.mutes(NOW_US)
        later = alerts.mutes(NOW_US + 50)
        alerts.set_mute(Mute("credit", "", 0, "ada"), NOW_US + 60)

        assert [(one.monitor, one.by) for one in both] == [("", "ada"), ("cost day", "eve")]
        assert [one.why for one in later] == ["maintenance"]
        assert alerts.mutes(NOW_US + 60) == []
        actions = [one.action for one in audit.events()]
        assert actions == ["monitor.mute"] * 3 + ["monitor.unmute"]

    def test_notes_go_into_one_message(self, alerts: AlertStore) -> None:
        notes = (note_of(1), note_of(2), note_of(3, "mail"))
        alerts.settle(Turn(finding_of(), notes=notes))
        waiting = alerts.waiting_notes(["oncall"])

        first = alerts.gather(message_of(waiting))
        again = alerts.gather(message_of(waiting[:1]))

        assert (first, again) == (True, False)
        assert [one.text for one in waiting] == ["it is bad"] * 2
        assert alerts.waiting_notes(["oncall"]) == []
        assert len(alerts.waiting_notes(["oncall", "mail"])) == 1
        assert alerts.messages() == [message_of(waiting)]
        assert alerts.last_sent_us("oncall", "credit") == NOW_US
        assert alerts.last_sent_us("mail", "credit") == 0

    def test_a_message_is_taken_by_one_until_he_is_late(self, alerts: AlertStore) -> None:
        alerts.settle(Turn(finding_of(), notes=(note_of(1),)))
        message = message_of(alerts.waiting_notes(["oncall"]))
        alerts.gather(message)

        mine = alerts.take_message(message, "me", NOW_US, NOW_US + 100)
        theirs = alerts.take_message(message, "they", NOW_US + 50, NOW_US + 150)
        late = alerts.take_message(message, "they", NOW_US + 100, NOW_US + 200)
        tried = msgspec.structs.replace(message, attempts=1, due_us=NOW_US + 300, error="away")
        by_me = alerts.save_message(held_by("me", tried))
        by_them = alerts.save_message(held_by("they", tried))

        assert (mine, theirs, late, by_me, by_them) == (True, False, True, False, True)
        assert alerts.messages() == [tried]

    def test_a_clock_that_was_ahead_holds_no_message_for_ever(self, alerts: AlertStore) -> None:
        alerts.settle(Turn(finding_of(), notes=(note_of(1),)))
        message = message_of(alerts.waiting_notes(["oncall"]))
        alerts.gather(message)
        ahead = NOW_US + 10**15

        alerts.take_message(message, "ahead", ahead, ahead + 100)

        assert alerts.take_message(message, "me", NOW_US, NOW_US + 100)

    def test_what_was_sent_is_kept_for_a_while(self, alerts: AlertStore) -> None:
        alerts.settle(Turn(finding_of(), notes=(note_of(1),)))
        message = message_of(alerts.waiting_notes(["oncall"]))
        alerts.gather(message)
        alerts.take_message(message, "me", NOW_US, NOW_US + 100)
        waiting = alerts.prune(NOW_US + 1)
        alerts.save_message(held_by("me", msgspec.structs.replace(message, state="sent")))

        assert not alerts.take_message(message, "they", NOW_US + 500, NOW_US + 600)
        assert [one.state for one in alerts.messages(("sent", "refused"))] == ["sent"]
        assert alerts.messages() == []
        assert (waiting, alerts.prune(NOW_US), alerts.prune(NOW_US + 1)) == (0, 0, 1)
