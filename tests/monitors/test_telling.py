"""One cause makes one message, and no message is lost, whoever is away or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from far_ends import WebEnd
from monitor_house import MIN_US, House, monitor

from splice.adapters.notifiers.slack import SlackNotifier
from splice.adapters.notifiers.webhook import WebhookNotifier
from splice.app.clock import Ids
from splice.core.alerts import Message
from splice.core.errors import BusError
from splice.monitor.rounds import Route, Telling
from splice.monitor.telling import HELD_US, Pace, Teller
from splice.ports.alerts import AlertFilter
from splice.ports.notifiers import Channel, Notifier


@pytest.fixture
def web() -> Iterator[WebEnd]:
    made = WebEnd()
    yield made
    made.close()


def notifier(web: WebEnd) -> Notifier:
    return WebhookNotifier(Channel("oncall", "webhook", web.url))


def teller(house: House, *told: Notifier, pace: Pace | None = None) -> Teller:
    names = ("oncall", "mail")
    channels = dict(zip(names, told, strict=False))
    return Teller(house.ledger.alerts, channels, pace or Pace(10.0, 300.0), Ids().new)


def look(house: House, teller: Teller, minutes: float = 1.0, times: int = 1) -> None:
    for _ in range(times):
        house.now += round(minutes * MIN_US)
        teller.look(house.now)


def kinds(web: WebEnd) -> list[list[str]]:
    return [[one["kind"] for one in body["data"]["news"]] for body in web.bodies]


def test_ten_monitors_that_fire_for_one_cause_make_one_message_a_channel(
    house: House, web: WebEnd
) -> None:
    house.telling = Telling((Route("oncall"), Route("mail")))
    house.apply(*[monitor(f"monitor {number}") for number in range(10)])
    house.apply(*[monitor(f"monitor {number}") for number in range(10)], name="churn")
    other = WebEnd()
    both = teller(house, notifier(web), SlackNotifier(Channel("mail", "slack", other.url)))

    house.after(1, *[0.05] * 5)
    look(house, both, times=5)
    other.close()

    assert sorted(body["subject"] for body in web.bodies) == ["churn", "credit"]
    assert kinds(web) == [["opened"] * 10] * 2
    assert len(other.got) == 2


def test_the_first_news_waits_for_others_and_the_next_keeps_its_distance(
    house: House, web: WebEnd
) -> None:
    house.apply(monitor("a"), monitor("b"), monitor("c"))
    one = teller(house, notifier(web), pace=Pace(30.0, 300.0))
    house.values = {"a": 0.05, "b": 0.01, "c": 0.01}

    house.after(1)
    look(house, one, 0.25)
    early = len(web.got)
    house.values["b"] = 0.05
    house.after(1)
    look(house, one, 0.25)
    first = kinds(web)
    house.values["c"] = 0.05
    house.after(1)
    look(house, one)
    close = len(web.got)
    look(house, one, times=4)

    assert (early, first, close) == (0, [["opened", "opened"]], 1)
    assert kinds(web) == [["opened", "opened"], ["opened"]]


def test_a_critical_alert_does_not_keep_its_distance(house: House, web: WebEnd) -> None:
    house.apply(monitor("a"), monitor("b", severity="critical"))
    one = teller(house, notifier(web))
    house.values = {"a": 0.05, "b": 0.01}
    house.after(1)
    look(house, one)

    house.values["b"] = 0.05
    house.after(1)
    look(house, one)

    assert len(web.got) == 2


def test_flapping_makes_few_messages(house: House, web: WebEnd) -> None:
    house.apply(*[monitor(f"monitor {number}", cooldown_s=600.0) for number in range(3)])
    one = teller(house, notifier(web))

    for _ in range(20):
        house.after(1, 0.05, 0.001)
        look(house, one, 0.1)
    house.after(1, *[0.001] * 12)
    look(house, one, times=6)

    assert kinds(web) == [["opened"] * 3, ["resolved"] * 3]


def test_a_channel_that_is_away_delays_and_loses_nothing(house: House, web: WebEnd) -> None:
    house.apply(monitor("a"), monitor("b"))
    house.values = {"a": 0.05, "b": 0.01}
    one = teller(house, notifier(web))
    web.be_busy()
    house.after(1)
    look(house, one, times=60)
    (waiting,) = house.ledger.alerts.messages()
    house.values = {"a": 0.001, "b": 0.05}
    house.after(1, *[0.0] * 10)
    look(house, one, times=60)

    web.status = 204
    look(house, one, times=40)

    assert 5 < waiting.attempts < 15  # it was asked less and less often
    assert "503" in waiting.error
    assert kinds(web) == [["opened"], ["opened", "resolved"]]
    assert house.ledger.alerts.messages() == []


def test_a_channel_that_is_away_keeps_no_other_from_being_told(house: House, web: WebEnd) -> None:
    class Away:
        asked = 0

        def tell(self, message: Message) -> None:
            self.asked += 1
            raise BusError("nowhere", got="no answer")

        def close(self) -> None:
            pass

    house.telling = Telling((Route("oncall"), Route("mail")))
    for name in ("credit", "churn", "fraud"):
        house.apply(monitor(), name=name)
    away = Away()
    both = teller(house, away, notifier(web))

    house.after(1, 0.05)
    look(house, both)

    assert (away.asked, len(web.got)) == (1, 3)


def test_a_thousand_pieces_of_news_for_one_channel_hide_none_for_another(
    house: House, web: WebEnd
) -> None:
    house.apply(monitor())
    house.telling = Telling((Route("mail"),))
    house.after(1, 0.05)
    (note,) = house.ledger.alerts.waiting_notes(["mail"])
    many = tuple(msgspec.structs.replace(note, channel="oncall") for _ in range(1001))
    house.ledger.alerts.forget(house.findings[0])
    fresh = msgspec.structs.replace(house.ledger.alerts.alerts(AlertFilter())[0], revision=0)
    house.ledger.alerts.save_alert(fresh, many)
    busy = WebEnd()
    busy.be_busy()
    both = teller(house, notifier(busy), notifier(web))

    look(house, both)
    busy.close()

    assert kinds(web) == [["opened"]]


def test_a_message_that_is_not_wanted_makes_room_for_the_next(house: House, web: WebEnd) -> None:
    house.apply(monitor("a"), monitor("b"))
    house.values = {"a": 0.05, "b": 0.01}
    one = teller(house, notifier(web))
    web.refuse()
    house.after(1)
    look(house, one, times=10)
    refused = house.ledger.alerts.messages(("refused",))

    web.status = 204
    house.values["b"] = 0.05
    house.after(1)
    look(house, one, times=6)

    assert [one.attempts for one in refused] == [5]
    assert kinds(web) == [["opened"]]


def test_two_processes_at_once_send_one_message(house: House, web: WebEnd) -> None:
    house.apply(monitor())
    house.after(1, 0.05)
    first, second = teller(house, notifier(web)), teller(house, notifier(web))
    web.hold.set()
    house.now += MIN_US
    one = threading.Thread(target=first.look, args=(house.now,))
    one.start()
    assert web.came.wait(60)
    second.look(house.now)
    web.go.set()
    one.join()

    assert len(web.got) == 1
    assert house.ledger.alerts.messages() == []


def test_a_clock_that_is_set_back_delays_no_message_for_long(house: House, web: WebEnd) -> None:
    house.apply(monitor())
    house.after(1, 0.05)
    one = teller(house, notifier(web))
    house.now -= 400 * 24 * 60 * MIN_US

    look(house, one)

    assert kinds(web) == [["opened"]]


SENDER = """
    import os, signal, sys
    from pathlib import Path
    from splice.adapters.ledgers.sql import open_ledger
    from splice.adapters.notifiers.webhook import WebhookNotifier
    from splice.app.clock import Ids
    from splice.monitor.telling import Pace, Teller
    from splice.ports.notifiers import Channel

    folder, url, now, when = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    ledger = open_ledger(f"sqlite:///{folder}/ledger.db", folder / "blobs", migrate=False)

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    class Dying(WebhookNotifier):
        def tell(self, message):
            if when == "before it is sent":
                die()
            super().tell(message)
            die()

    if when == "before it is gathered":
        ledger.alerts.gather = die
    if when == "before it is taken":
        ledger.alerts.take_message = die
    dying = Dying(Channel("oncall", "webhook", url))
    Teller(ledger.alerts, {"oncall": dying}, Pace(), Ids().new).look(now)
"""


@pytest.mark.parametrize(
    ("when", "sent"),
    [
        ("before it is gathered", 1),
        ("before it is taken", 1),
        ("before it is sent", 1),
        ("before it is noted", 2),  # nobody can know: it comes again, under the same id
    ],
)
def test_a_sender_that_is_killed_loses_nothing_and_what_comes_twice_has_one_id(
    house: House, web: WebEnd, tmp_path: Path, when: str, sent: int
) -> None:
    house.apply(monitor())
    house.after(1, 0.05)
    house.now += MIN_US
    code = textwrap.dedent(SENDER)
    killed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), web.url, str(house.now), when],
        capture_output=True, check=False, env={**os.environ},
    )  # fmt: skip
    one = teller(house, notifier(web))

    house.now += HELD_US // 2
    one.look(house.now)
    house.now += HELD_US
    one.look(house.now)
    look(house, one, times=10)

    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert len(web.got) == sent
    assert len(set(web.ids())) == 1
    assert house.ledger.alerts.messages() == []
    assert [one.state for one in house.ledger.alerts.messages(("sent",))] == ["sent"]


def test_old_messages_are_dropped_and_alerts_are_kept(house: House, web: WebEnd) -> None:
    house.apply(monitor())
    house.after(1, 0.05)
    one = teller(house, notifier(web))
    look(house, one)
    kept = len(house.ledger.alerts.messages(("sent",)))

    look(house, one, 31 * 24 * 60)

    assert (kept, len(house.ledger.alerts.messages(("sent",)))) == (1, 0)
    assert len(house.alerts()) == 1
    assert msgspec.json.encode(house.alerts()[0])
