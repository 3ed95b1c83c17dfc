"""A monitor fires once for one cause, stays calm, and never stops another."""

from __future__ import annotations

import msgspec
import pytest
from monitor_house import AWAY, HOUR_US, MIN_US, House, monitor

from splice.core.alerts import Alert, Mute
from splice.core.errors import RefusedError, StoreError
from splice.monitor.rounds import Route, Telling


def test_a_figure_beyond_its_bound_opens_one_alert_that_explains_itself(house: House) -> None:
    house.apply(monitor())

    states = [house.after(1, value) for value in (0.01, 0.05, 0.06, 0.05)]

    (alert,) = house.alerts("open")
    assert states == ["fine", "firing", "firing", "firing"]
    assert house.notes == [("opened", "share errors")]
    assert "share of calls that failed is 5 %, above 2 % in 100 calls of 10 min" in alert.why
    assert alert.worst == 0.06
    assert alert.measured is not None
    assert alert.measured.value == 0.05


def test_an_alert_ends_after_it_was_fine_for_its_cooldown(house: House) -> None:
    house.apply(monitor(cooldown_s=300.0))

    states = [house.after(1, value) for value in (0.05, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01)]

    (alert,) = house.alerts()
    assert states == ["firing"] + ["cooling"] * 5 + ["fine"]
    assert alert.state == "resolved"
    assert house.notes == [("opened", "share errors"), ("resolved", "share errors")]


def test_a_figure_that_goes_to_and_fro_makes_two_messages(house: House) -> None:
    house.apply(monitor(cooldown_s=300.0))

    house.after(1, *[0.05, 0.01] * 30)
    house.after(1, *[0.01] * 7)

    assert house.notes == [("opened", "share errors"), ("resolved", "share errors")]


def test_a_figure_between_bound_and_clear_ends_nothing(house: House) -> None:
    house.apply(monitor(clear=0.01))

    house.after(1, 0.05, *[0.015] * 20)

    assert [one.state for one in house.alerts()] == ["open"]


def test_it_must_hold_for_as_long_as_the_monitor_says(house: House) -> None:
    house.apply(monitor(for_s=180.0))

    states = [house.after(1, value) for value in (0.05, 0.05, 0.01, 0.05, 0.05, 0.05, 0.05)]

    assert states == ["waiting", "waiting", "fine", "waiting", "waiting", "waiting", "firing"]
    assert len(house.alerts()) == 1


def test_too_few_calls_tell_nothing(house: House) -> None:
    house.apply(monitor(least=10))
    house.count = 9

    few = house.after(1, 0.5)
    house.count = 0
    none = house.after(1, None)
    house.count = 10
    enough = house.after(1, 0.5)
    house.count = 1
    again = house.after(1, 0.0)

    assert (few, none, enough, again) == ("too few", "too few", "firing", "too few")
    assert [one.state for one in house.alerts()] == ["open"]


def test_it_is_evaluated_as_often_as_it_says(house: House) -> None:
    house.apply(monitor(every_s=600.0))

    house.after(1, *[0.01] * 21)

    assert len(house.asked) == 3


def test_a_monitor_that_fails_says_so_once_and_stops_no_other(house: House) -> None:
    house.apply(monitor("a fails"), monitor("b errs"), monitor("c goes on"))
    house.values = {"a fails": AWAY, "b errs": ZeroDivisionError("3 / 0 \n\x1b[31m")}

    house.after(1, *[0.05] * 10)

    assert [one.state for one in house.findings] == ["cannot tell", "cannot tell", "firing"]
    assert sorted(house.notes) == [
        ("opened", "a fails"), ("opened", "b errs"), ("opened", "c goes on"),
    ]  # fmt: skip
    first, second, _ = sorted(house.alerts(), key=lambda one: one.monitor)
    assert (first.kind, first.deeds) == ("cannot tell", ())
    assert "nothing that is there" in first.why
    assert second.why.endswith("ZeroDivisionError: 3 / 0 \ufffd\ufffd[31m")


def test_one_bad_moment_of_the_ledger_is_not_told(house: House) -> None:
    house.apply(monitor())

    house.after(1, 0.01, AWAY, 0.01, AWAY, 0.01, AWAY, 0.01)

    assert house.alerts() == []


def test_a_monitor_that_can_tell_again_ends_its_alert(house: House) -> None:
    house.apply(monitor())

    house.after(1, AWAY, AWAY, AWAY, AWAY, 0.01)

    (alert,) = house.alerts()
    assert (alert.kind, alert.state) == ("cannot tell", "resolved")
    assert alert.resolved_why == "it can tell again, after 2 min"


def test_a_firing_alert_stays_open_while_nothing_can_be_told(house: House) -> None:
    house.apply(monitor())

    house.after(1, 0.05, *[AWAY] * 4)

    assert sorted(one.kind for one in house.alerts("open")) == ["cannot tell", "firing"]


def test_a_clock_that_is_set_back_stops_nothing_and_fires_nothing_early(house: House) -> None:
    house.apply(monitor(for_s=180.0))
    house.after(1, 0.01, 0.05)
    house.now -= 30 * 24 * HOUR_US

    states = [house.after(1, 0.05) for _ in range(4)]

    assert states == ["waiting", "waiting", "waiting", "firing"]
    assert len(house.asked) == 6


def test_two_processes_at_once_open_one_alert(house: House) -> None:
    house.apply(monitor())
    house.value = 0.05
    one, other = house.rounds(), house.rounds()
    before = house.ledger.alerts.findings

    def seen_before() -> list:
        found = before()
        if not found:  # the other is faster, after this one has looked
            house.ledger.alerts.findings = before
            other.look(house.now)
        return found

    house.ledger.alerts.findings = seen_before
    one.look(house.now)

    assert len(house.asked) == 2
    assert len(house.alerts()) == 1
    assert house.notes == [("opened", "share errors")]


def test_an_integration_that_is_switched_off_is_not_asked(house: House) -> None:
    house.apply(monitor())
    house.ledger.releases.set_stopped("credit", "maintenance", by="ada", now_us=house.now)

    state = house.after(1, 0.5)

    assert (state, house.asked, house.alerts()) == ("too few", [], [])
    assert house.findings[0].why == "the integration is switched off: maintenance"


def test_a_monitor_that_the_live_release_has_no_more_ends_its_alert(house: House) -> None:
    house.apply(monitor(), monitor("other"))
    house.after(1, 0.05)
    house.apply(monitor("other"), bundle="b")

    house.after(1, 0.05)

    assert [one.monitor for one in house.alerts("open")] == ["other"]
    assert [one.monitor for one in house.findings] == ["other"]
    assert ("resolved", "share errors") in house.notes


def test_what_rolls_back_begins_anew_with_each_release(house: House) -> None:
    house.apply(monitor(then=("alert", "roll back"), for_s=120.0))
    house.after(1, 0.05, 0.05, 0.05)
    house.apply(monitor(then=("alert", "roll back"), for_s=120.0), bundle="b")

    state = house.after(1, 0.05)

    (alert,) = house.alerts()
    assert state == "waiting"
    assert (alert.state, alert.resolved_why) == ("resolved", "release 1 answers no more")


def test_a_muted_monitor_tells_nobody_and_does_nothing_until_the_mute_ends(house: House) -> None:
    did: list[str] = []
    house.deeds = {"roll back": lambda alert, _: did.append(alert.id) or "done"}
    house.apply(monitor(then=("alert", "roll back")))
    house.ledger.alerts.set_mute(Mute("credit", "", house.now + 5 * MIN_US, "ada"), house.now)

    house.after(1, 0.05, 0.05)
    quiet = (house.notes, list(did), house.alerts()[0].muted)
    house.after(2, 0.05, 0.05)

    assert quiet == ([], [], True)
    assert house.notes == [("opened", "share errors"), ("acted", "share errors")]
    assert did == [house.alerts()[0].id]


def test_what_was_over_before_anybody_was_told_is_not_told(house: House) -> None:
    house.apply(monitor(cooldown_s=60.0))
    house.ledger.alerts.set_mute(Mute("credit", "", house.now + 7 * MIN_US // 2, "ada"), house.now)

    house.after(1, 0.05, 0.05, 0.01, 0.01)

    assert [one.state for one in house.alerts()] == ["resolved"]
    assert house.notes == []


def test_an_alert_that_stays_open_is_told_again_until_it_is_acknowledged(house: House) -> None:
    house.telling = Telling((Route("oncall"),), repeat_s=3600.0)
    house.apply(monitor())

    house.after(10, *[0.05] * 13)
    told = house.notes
    acknowledged: Alert = msgspec.structs.replace(
        house.alerts()[0], acknowledged_us=house.now, acknowledged_by="ada"
    )
    house.ledger.alerts.save_alert(acknowledged)
    house.after(10, *[0.05] * 13)

    assert [kind for kind, _ in told] == ["opened", "still open", "still open"]
    assert house.notes == told


def test_a_channel_hears_of_its_integrations_from_its_severity_on(house: House) -> None:
    house.telling = Telling((Route("oncall", "critical"), Route("mail", "info", ("credit-*",))))
    house.apply(monitor("small"), monitor("large", severity="critical"))
    house.apply(monitor("small", severity="info"), name="credit-card")

    house.after(1, 0.05)

    waiting = house.ledger.alerts.waiting_notes(["oncall", "mail"])
    assert sorted((one.channel, one.integration) for one in waiting) == [
        ("mail", "credit-card"), ("oncall", "credit"),
    ]  # fmt: skip


def test_an_action_is_done_once_and_said(house: House) -> None:
    did: list[str] = []
    house.deeds = {"retrain": lambda alert, _: did.append(alert.monitor) or "run 7 is asked for"}
    house.apply(monitor(then=("alert", "retrain")))

    house.after(1, 0.05, 0.05, 0.05)

    (deed,) = house.alerts()[0].deeds
    assert did == ["share errors"]
    assert (deed.state, deed.detail) == ("done", "run 7 is asked for")
    assert [kind for kind, _ in house.notes] == ["opened", "acted"]


@pytest.mark.parametrize(
    ("error", "states"),
    [
        (RefusedError("credit", got="no release to roll back to"), ["refused", "refused"]),
        (StoreError("ledger", got="nobody there"), ["wanted", "done"]),
    ],
)
def test_an_action_that_is_refused_is_over_and_one_that_fails_is_tried_again(
    house: House, error: Exception, states: list[str]
) -> None:
    errors = [error]

    def do(alert: Alert, now_us: int) -> str:
        if errors:
            raise errors.pop()
        return "release 1 answers"

    house.deeds = {"roll back": do}
    house.apply(monitor(then=("alert", "roll back")))

    seen: list[str] = []
    for _ in range(2):
        house.after(1, 0.05)
        seen.append(house.alerts()[0].deeds[0].state)

    assert seen == states


def test_what_was_acknowledged_while_an_action_ran_stays_so(house: House) -> None:
    def do(alert: Alert, now_us: int) -> str:
        now = house.ledger.alerts.alert(alert.id)
        assert now is not None
        house.ledger.alerts.save_alert(msgspec.structs.replace(now, acknowledged_by="ada"))
        return "done"

    house.deeds = {"review": do}
    house.apply(monitor(then=("alert", "review")))

    house.after(1, 0.05)

    (alert,) = house.alerts()
    assert (alert.acknowledged_by, alert.deeds[0].state, alert.wants_review) == (
        "ada",
        "done",
        True,
    )
