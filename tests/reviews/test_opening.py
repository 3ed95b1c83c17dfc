"""Reviews are opened once for each call that needs one, whatever is killed when."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.app.reviewing import open_behind
from splice.core.alerts import Alert, Measured
from splice.core.call import Reason, Record, Status
from splice.core.choosing import chosen
from splice.core.ids import uuid7
from splice.core.monitors import PinnedMonitor
from splice.core.release import Manifest, PinnedRoute
from splice.core.reviews import PinnedCondition, PinnedReview, Review, Terms
from splice.core.rollout import place
from splice.monitor.rolling import Roller
from splice.ports.reviews import ReviewFilter

NOW_US = 1_795_000_000_000_000
ROLLER = Path(__file__).parents[1] / "adapters" / "ledgers" / "roller.py"
WHEN = ((PinnedCondition("reply.action", "is", ("review",)),),)
PINNED = PinnedReview(WHEN, 1000, Terms(within_s=3600.0))


def manifest(review: PinnedReview | None) -> Manifest:
    route = PinnedRoute("rule:score", "rule", 0, 1.0, "score source 1", function="score")
    return Manifest(
        "claims", "m:C", "a" * 64, "Settle.", "limited", 1.0, (route,), {}, {}, review=review
    )


def call(number: int, action: str = "pay", **changes: Any) -> Record:
    at = NOW_US + number * 1_000_000
    reply = msgspec.json.encode({"action": action, "chance": number / 1000})
    made = Record(
        uuid7(at // 1000, random.Random(number).getrandbits(74)), "claims", 1, at, 100,
        Status.ANSWERED, Reason.FIRST, "http", route="rule:score", version="score source 1",
        input=b'{"amount": 1}', prediction=b'{"score": 0.5}', reply=reply,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(url: str, tmp_path: Path) -> Iterator[Ledger]:
    made = open_ledger(url, tmp_path / "blobs")
    made.releases.add_release(manifest(PINNED), by="a", why="", now_us=NOW_US)
    yield made
    made.close()


def roll(ledger: Ledger) -> None:
    roller = Roller(ledger.rollups)
    while roller.step(NOW_US):
        pass


def opened(ledger: Ledger) -> list[Review]:
    return ledger.reviews.reviews(ReviewFilter(limit=100_000))


def test_of_all_calls_those_enter_the_queue_that_the_release_names(ledger: Ledger) -> None:
    records = [call(n, "review" if n % 7 == 0 else "pay") for n in range(300)]
    ledger.records.append(records)

    roll(ledger)

    found = {one.call_id: one.origin for one in opened(ledger)}
    named = {one.call_id for n, one in enumerate(records) if n % 7 == 0}
    by_chance = {one.call_id for one in records if place("review", one.call_id) < 1000} - named
    assert {key for key, origin in found.items() if origin == "reply"} == named
    assert {key for key, origin in found.items() if origin == "sample"} == by_chance
    assert 10 < len(by_chance) < 50


def test_killed_in_the_middle_no_call_is_missed_or_opened_twice(
    url: str, ledger: Ledger, tmp_path: Path
) -> None:
    records = [call(n, "review" if n % 3 == 0 else "pay") for n in range(4000)]
    wanted = {one.id for record in records if (one := chosen(record, PINNED, NOW_US)) is not None}
    folding = [sys.executable, str(ROLLER), url, str(tmp_path / "blobs")]
    chance, kills = random.Random(3), 0
    for start in range(0, 4000, 1000):
        ledger.records.append(records[start : start + 1000])
        rollers = [subprocess.Popen(folding, stdout=subprocess.PIPE) for _ in range(2)]
        for process in rollers:
            assert process.stdout is not None
            process.stdout.readline()
        before = len(opened(ledger))
        most = len(wanted)
        while len(opened(ledger)) < min(before + chance.randrange(1, 100), most):
            if ledger.rollups.waiting() == 0:
                break
        for process in rollers:
            process.kill()
            process.communicate()
            kills += 1

    roll(ledger)

    assert kills == 8
    assert sorted(one.id for one in opened(ledger)) == sorted(wanted)


@pytest.mark.parametrize(
    ("change", "opens"),
    [
        ({}, True),
        ({"shadow_of": call(1).call_id}, False),
        ({"status": Status.FAILED}, False),
        ({"reply": None}, True),  # nobody can tell: a person looks
        ({"reply": b"masked, and no JSON"}, False),
    ],
)
def test_whether_a_call_needs_a_person(change: dict[str, Any], opens: bool) -> None:
    record = call(5, "review", **change)

    assert (chosen(record, PinnedReview(WHEN), NOW_US) is not None) == opens


@pytest.mark.parametrize(
    ("path", "test", "values", "holds"),
    [
        ("reply.action", "is", ("pay",), True),
        ("reply.action", "is", ("review", "pay"), True),
        ("reply.action", "is not", ("pay",), False),
        ("reply.chance", "<", (0.5,), True),
        ("reply.chance", ">=", (0.5,), False),
        ("prediction.score", ">=", (0.5,), True),
        ("prediction.score", ">", (0.5,), False),
        ("request.amount", "is", (1.0,), True),
        ("request.amount", "is", (True,), False),
        ("request.amount", "is", ("1",), False),
        ("reply.nothing", "is", ("x",), False),
        ("reply.nothing", "is not", ("x",), True),
        ("reply.nothing", "<", (1.0,), False),
        ("reply.action", "<", (1.0,), False),
        ("reply.action.deeper", "is", ("pay",), False),
    ],
)
def test_when_a_condition_holds(path: str, test: Any, values: Any, holds: bool) -> None:
    pinned = PinnedReview(((PinnedCondition(path, test, values),),))

    assert (chosen(call(5), pinned, NOW_US) is not None) == holds


def test_a_call_of_a_release_without_reviews_opens_none(url: str, ledger: Ledger) -> None:
    number = ledger.releases.add_release(manifest(None), by="a", why="", now_us=NOW_US).number
    ledger.records.append([call(n, "review", release=number) for n in range(20)])

    roll(ledger)

    assert opened(ledger) == []


def alert(calls: tuple[str, ...], count: int = 40) -> Alert:
    asked = PinnedMonitor(
        "drift psi", "drift", "psi", 600.0, 60.0, 0.0, 0.0, 1, "warning", ("alert", "review"),
        above=0.2,
    )  # fmt: skip
    since, until = NOW_US - 1, NOW_US + count * 1_000_000
    measured = Measured(0.4, count, since, until, beyond=True, calls=calls)
    return Alert(
        uuid7(NOW_US // 1000, 9), "claims", "drift psi", "firing", "open", "warning", 1, until,
        "drift", asked, measured,
    )  # fmt: skip


def test_a_monitor_opens_the_calls_behind_its_alert_and_others_of_its_window_once(
    ledger: Ledger,
) -> None:
    records = [call(n) for n in range(40)]
    ledger.records.append(records)
    shows = tuple(one.call_id for one in records[:3])

    first = open_behind(ledger, alert(shows), NOW_US)  # type: ignore[arg-type]
    again = open_behind(ledger, alert(shows), NOW_US + 5)  # type: ignore[arg-type]

    found = opened(ledger)
    assert first == "20 calls are to be reviewed"
    assert again == "0 calls are to be reviewed, 20 were open or decided before"
    assert len(found) == 20
    assert set(shows) <= {one.call_id for one in found}
    assert {(one.origin, one.why, one.alert) for one in found} == {
        ("monitor", "alert: drift psi", alert(shows).id)
    }
    assert {one.terms.within_s for one in found} == {3600.0}
    assert {one.due_us for one in found} == {NOW_US + 3600 * 1_000_000}
