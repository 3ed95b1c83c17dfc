"""`splice relay` as processes: commands, kill -9 in the middle, and a real Kafka."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka_house import Topics, read, reader
from outbox_house import Shop, postgres_shop, postgres_url, shop, sqlite_shop

from splice.adapters.ledgers.sql import open_ledger
from splice.core.events import Event

__all__ = ["postgres_shop", "postgres_url", "shop"]

PATIENCE_S = 90
TOML = """
[relay.shop]
url_env = "SHOP_URL"
targets = [{targets}]
batch = 10
poll_seconds = 0.01
[kafka]
servers = "{servers}"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def declare(folder: Path, *targets: str, servers: str = "") -> None:
    named = ", ".join(f'"{target}"' for target in targets)
    (folder / "splice.toml").write_text(TOML.format(targets=named, servers=servers))


@contextmanager
def relay(folder: Path, shop: Shop, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "splice.cli.main", "--project", str(folder), "relay"]
    environment = {**os.environ, "SHOP_URL": shop.url}
    with subprocess.Popen(
        [*command, *arguments], env=environment, stderr=subprocess.PIPE
    ) as running:
        yield running
        if running.poll() is None:
            running.kill()


def emptied(folder: Path, shop: Shop) -> str:
    """Runs until nothing is left; gives what it said."""
    with relay(folder, shop, "--until-empty") as running:
        _, said = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, said.decode()
    return said.decode()


def queued(folder: Path, queue: str) -> list[Event]:
    """What is in an embedded queue, as a consumer gets it."""
    ledger = open_ledger(f"sqlite:///{folder}/.splice/ledger.db", folder)
    now_us = time.time_ns() // 1000
    events: list[Event] = []
    while some := ledger.queue.take(queue, 10_000, "test", now_us=now_us, lease_us=10**12):
        events += some
    ledger.close()
    return events


def until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < give_up, "it did not become true"
        time.sleep(0.02)


def test_the_command_sends_what_waits_into_the_queues_of_the_ledger(
    project: Path, tmp_path: Path
) -> None:
    shop = sqlite_shop(tmp_path)
    declare(project, "queue:{aggregatetype}")
    ids = shop.add(("o-1", {"n": 1}), ("o-2", {"n": 2}), kind="orders")
    shop.add(("c-1", {}), kind="customers")

    said = emptied(project, shop)

    assert "sent 3 events" in said
    assert shop.waiting == 0
    orders = queued(project, "orders")
    assert [dict(one.headers)["ce_id"].decode() for one in orders] == ids
    assert [one.key for one in orders] == [b"o-1", b"o-2"]
    assert len(queued(project, "customers")) == 1


def test_relays_that_are_killed_in_the_middle_lose_nothing_and_keep_each_keys_order(
    project: Path, shop: Shop
) -> None:
    declare(project, "queue:orders")
    rng = random.Random(5)
    done = threading.Event()

    def write() -> None:
        n = 0
        while not done.is_set():
            shop.add(*((f"k{key}", {"n": n}) for key in range(5)))
            n += 1
            time.sleep(0.002)

    def head() -> int:
        """The number of the first row that was not sent."""
        return shop.rows("SELECT coalesce(min(seq), 0) FROM outbox")[0][0]

    writer = threading.Thread(target=write)
    writer.start()
    with ExitStack() as relays:
        running = [relays.enter_context(relay(project, shop)) for _ in range(4)]
        for doomed in running:  # the first sends; when it is dead, one of the others does
            before = head()
            until(lambda: head() > before + 20)  # noqa: B023
            time.sleep(rng.uniform(0.0, 0.02))
            doomed.send_signal(signal.SIGKILL)
            doomed.wait()
    done.set()
    writer.join()
    emptied(project, shop)

    events = queued(project, "orders")
    written = {}
    for key in range(5):
        mine = [one for one in events if one.key == b"k%d" % key]
        numbers = [msgspec.json.decode(one.value or b"")["n"] for one in mine]
        written[key] = list(dict.fromkeys(numbers))
        ids = {dict(one.headers)["ce_id"] for one in mine}
        assert len(ids) == len(written[key]), "one that comes twice has one id"
        assert written[key] == list(range(len(written[key])))
    assert len({len(numbers) for numbers in written.values()}) == 1
    assert len(written[0]) > 10


def test_sigterm_ends_a_relay_between_two_batches(project: Path, tmp_path: Path) -> None:
    shop = sqlite_shop(tmp_path)
    declare(project, "queue:orders")

    with relay(project, shop) as running:
        shop.add(("k", {"n": 1}))
        until(lambda: shop.waiting == 0)
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=PATIENCE_S)

    assert running.returncode == 0
    assert b"sent 1 event" in said


@pytest.mark.parametrize(
    ("toml", "environment", "said"),
    [
        ("", {}, "relay: got none"),
        ('[relay.a]\nurl_env = "SHOP_URL"\n', {}, "relay.a.url_env: got no variable SHOP_URL"),
        ('[relay.a]\nurl_env = "SHOP_URL"\n', {"SHOP_URL": "sqlite:///x.db"}, "kafka.servers"),
        ('[relay.a]\nurl_env = "U"\ntargets = ["https://x"]\n', {"U": "u"}, "relay.a.targets"),
    ],
)
def test_what_is_missing_is_said_at_once(
    command: Any, monkeypatch: pytest.MonkeyPatch, toml: str, environment: dict[str, str], said: str
) -> None:
    command.settings(toml)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    ran = command("relay")

    assert ran.code == 2
    assert said in ran.err


def test_the_statements_that_are_printed_make_the_table(command: Any, tmp_path: Path) -> None:
    import sqlite3

    ran = command("outbox", "ddl", "sqlite", "--table", "events_out")

    connection = sqlite3.connect(":memory:")
    connection.executescript(ran.out)
    assert connection.execute("SELECT count(*) FROM events_out").fetchone() == (0,)
    connection.close()
    assert "GENERATED ALWAYS AS IDENTITY" in command("outbox", "ddl", "postgresql").out
    assert command("outbox", "ddl", "oracle").code == 2


@pytest.mark.kafka
def test_rows_come_to_the_topic_of_their_type_in_a_real_kafka(
    project: Path, tmp_path: Path, kafka: str, topics: Topics
) -> None:
    shop = sqlite_shop(tmp_path)
    topic = topics.make(partitions=3)
    prefix, kind = topic[:-4], topic[-4:]
    declare(project, f"kafka:{prefix}${{routedByValue}}", servers=kafka)
    ids = shop.add(*((f"k{n % 5}", {"n": n}) for n in range(50)), kind=kind)

    emptied(project, shop)

    with reader(kafka, topic) as consumer:
        messages = read(consumer, 50)
    assert {dict(m.headers() or ())["id"].decode() for m in messages} == set(ids)
    for key in range(5):
        mine = [m for m in messages if m.key() == b"k%d" % key]
        assert len({m.partition() for m in mine}) == 1
        numbers = [msgspec.json.decode(m.value() or b"")["n"] for m in mine]
        assert numbers == list(range(key, 50, 5))
    headers = dict(messages[0].headers() or ())
    assert headers["ce_type"] == b"Changed"
    assert headers["ce_specversion"] == b"1.0"


@pytest.mark.kafka
def test_a_topic_that_is_not_there_keeps_its_rows_and_holds_up_no_other(
    project: Path, tmp_path: Path, kafka: str, topics: Topics
) -> None:
    shop = sqlite_shop(tmp_path)
    topic = topics.make()
    declare(project, "kafka:{aggregatetype}", servers=kafka)
    shop.add(("k", {}), kind="splice-test-nobody-makes-this")
    shop.add(("k", {}), kind=topic)

    with relay(project, shop):
        until(lambda: shop.rows("SELECT DISTINCT aggregatetype FROM outbox")
              == [("splice-test-nobody-makes-this",)])  # fmt: skip
