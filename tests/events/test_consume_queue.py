"""Real processes on the embedded queue: killed, in numbers, with events that kill them."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from stream_house import DECLARED, StreamProject, order, wrong_order

TOML = """
[consume.orders]
targets = ["queue:answers", "table:answers"]
backoff_seconds = 0.05
lease_seconds = 4
attempts = 3
max_batch = 50
[ledger]
url = "{url}"
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> StreamProject:
    url = "sqlite:///.splice/ledger.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_database")
    return StreamProject(tmp_path / "project", TOML.format(url=url))


def answers(project: StreamProject) -> list[tuple[str, int]]:
    """What was decided, in the order in which it was stored."""
    with project.stores() as stores:
        taken = stores.queue.take(
            "answers", 100_000, "t", now_us=time.time_ns() // 1000, lease_us=3_600_000_000
        )
    replies = [json.loads(one.value or b"") for one in taken]
    return [(one["key"], one["number"]) for one in replies]


def events(count: int, keys: int, does: str = "") -> list:
    return [(f"k{n % keys}".encode(), order(f"k{n % keys}", n, does), ()) for n in range(count)]


def test_workers_that_are_killed_lose_double_and_reorder_nothing(project: StreamProject) -> None:
    project.put(*events(1500, 40, "linger"))
    chance = random.Random(1)
    with project.consume(workers=2) as running:
        for _ in range(6):
            time.sleep(chance.uniform(0.05, 0.5))
            running.kill_worker()
        project.until_no_more_than(0)
        assert running.stop() == 0

    got = answers(project)
    assert wrong_order(got) == []
    assert sorted(number for _, number in got) == list(range(1500))
    assert "started again" in running.text


def test_an_event_that_kills_its_process_becomes_a_dead_letter_and_the_others_are_answered(
    project: StreamProject,
) -> None:
    settings = project.folder / "splice.toml"  # it waits three times for a lease to end
    settings.write_text(settings.read_text().replace("lease_seconds = 4", "lease_seconds = 1"))
    some = events(40, 8)
    some[13] = (b"k5", order("k5", 13, "die"), ())
    project.put(*some)
    with project.consume() as running:
        project.until_no_more_than(0)
        running.stop()

    with project.stores() as stores:
        (letter,) = stores.dead_letters.dead_letters()
        whole = stores.dead_letters.dead_letter(letter.id)
    assert (letter.code, letter.attempts) == ("attempts_exhausted", 3)
    assert whole is not None
    assert whole.event.value == order("k5", 13, "die")
    got = answers(project)
    assert wrong_order(got) == []
    assert sorted(number for _, number in got) == [n for n in range(40) if n != 13]


def test_dead_letters_are_shown_replayed_and_dropped_by_the_command(
    project: StreamProject,
) -> None:
    project.put((b"k", b'{"key": "k", "number": "many"}', (("x", b"\xff"),)))
    assert project.run("consume", "--until-empty").returncode == 0

    listed = json.loads(project.run("events", "list", "--json").stdout)
    number = str(listed[0]["number"])
    shown = json.loads(project.run("events", "show", number).stdout)
    replayed = project.run("events", "replay", number, "--yes")
    again = project.run("events", "replay", number, "--yes")
    depth = project.depth()
    assert project.run("consume", "--until-empty").returncode == 0
    second = json.loads(project.run("events", "list", "--json").stdout)
    dropped = project.run("events", "drop", str(second[0]["number"]), "--why", "a test", "--yes")
    left = json.loads(project.run("events", "list", "--state", "all", "--json").stdout)

    assert [one["code"] for one in listed] == ["input_mismatch"]
    assert shown["value"] == {"key": "k", "number": "many"}
    assert shown["headers"] == [{"name": "x", "value": {"base64": "/w=="}}]
    assert shown["where"] == "orders.input.number"
    assert (replayed.returncode, again.returncode, depth) == (0, 1, 1)
    assert dropped.returncode == 0
    assert sorted(one["state"] for one in left) == ["dropped", "replayed"]
    audit = json.loads(project.run("audit", "list", "--subject", "orders", "--json").stdout)
    assert [one["action"] for one in audit][-2:] == ["event.replay", "event.drop"]


def test_what_was_answered_before_is_not_answered_again(project: StreamProject) -> None:
    named = tuple(
        (f"ce_{name}", value)
        for name, value in (
            ("specversion", b"1.0"), ("id", b"e-1"), ("source", b"/shop"), ("type", b"order"),
        )
    )  # fmt: skip
    project.put((b"k", order("k", 1), named), (b"k", order("k", 1), named))
    assert project.run("consume", "--until-empty").returncode == 0
    project.put((b"k", order("k", 1), named), (b"k", order("k", 2), named))
    again = project.run("consume", "--until-empty")

    assert again.returncode == 0
    told = "orders  0 answered, 1 answered before, 1 dead letter (splice events list)"
    assert told in again.stderr
    with project.stores() as stores:
        assert stores.records.count() == 1
        assert [one.code for one in stores.dead_letters.dead_letters()] == ["event_id_reused"]
    assert answers(project) == [("k", 1)]


def test_a_consumer_ends_well_when_it_is_told_to_and_goes_on_where_it_was(
    project: StreamProject,
) -> None:
    project.put(*events(400, 10, "linger"))
    with project.consume() as running:
        project.until_no_more_than(349)
        code = running.stop()
    left = project.depth()
    assert project.run("consume", "--until-empty").returncode == 0

    assert code == 0
    assert 0 < left < 400
    got = answers(project)
    assert wrong_order(got) == []
    assert len(got) == 400


FLAKY = """
    failed = {}

    def context(self, order: Order, look: splice.Lookup) -> dict:
        if order.number % 7 == 3 and self.failed.setdefault(order.number, 0) < 2:
            self.failed[order.number] += 1
            raise OSError("not yet")
        return {"number": order.number, "does": ""}
"""


def test_events_that_fail_for_a_while_keep_the_order_of_their_keys(
    project: StreamProject,
) -> None:
    project.declare(DECLARED + FLAKY)
    assert project.run("release", "apply", "--yes").returncode == 0
    project.put(*events(600, 12))
    assert project.run("consume", "--until-empty").returncode == 0

    with project.stores() as stores:
        assert stores.dead_letters.dead_letters() == []
    got = answers(project)
    assert wrong_order(got) == []
    assert sorted(number for _, number in got) == list(range(600))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_tells_what_consumers_in_its_folder_counted(tmp_path: Path, workers: int) -> None:
    project = StreamProject(tmp_path / "project", TOML.format(url="sqlite:///.splice/ledger.db"))
    project.put(*events(5, 5))
    with project.serve(workers=workers) as server:
        assert project.run("consume", "--until-empty").returncode == 0

        told = server.get("/metrics").body.decode()

    assert 'splice_events_total{integration="orders",ended="answered"} 5' in told
    assert 'surface="events"' in told
