"""What goes wrong around events: full disks, locks, servers that leave, odd bytes, odd tables."""

from __future__ import annotations

import random
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from older import go_back
from sqlalchemy import create_engine, event, make_url, text
from test_postgres import Proxy

from splice.adapters.ledgers import begun, events, outbox, queued_sql
from splice.adapters.ledgers.payloads import day_of
from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.adapters.ledgers.sqlite import SqliteDatabase
from splice.core.errors import SettingsError, StoreError
from splice.core.events import Event, Message, Origin, Settled
from splice.testing.contracts.events import LEASE_US, NOW_US, call_of, dead_of, event_of, settled
from splice.testing.contracts.records import DAY_MS, NOON_MS, call_id


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def ledger(url: str, tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    yield ledger
    ledger.close()


def run(ledger: Ledger, statement: str) -> list[tuple[object, ...]]:
    """Rows of a query, or nothing."""
    with ledger._database.read() as connection:
        found = connection.execute(text(statement))
        return [tuple(row) for row in found] if found.returns_rows else []


def batch_of(count: int, seed: int = 1) -> list[Settled]:
    """Events of a topic with a message each."""
    rng = random.Random(seed)
    return [
        settled(event_of(n), rng, [Message(f"m{n}", "kafka:out", b"k", b"{}")])
        for n in range(count)
    ]


def assert_empty(ledger: Ledger) -> None:
    """Nothing of any batch is there."""
    for table in ("calls", "inbox", "queued", "queued_bodies", "dead_letters"):
        assert run(ledger, f"SELECT count(*) FROM {table}") == [(0,)], table


def test_a_full_disk_settles_nothing_of_a_batch(sqlite_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url, tmp_path)
    database = ledger._database
    assert isinstance(database, SqliteDatabase)
    pages = run(ledger, "PRAGMA page_count")[0][0]
    database.engine.dispose()
    limit = f"PRAGMA max_page_count = {int(str(pages)) + 6}"
    event.listen(database.engine, "connect", lambda c, _: c.execute(limit))

    with pytest.raises(StoreError, match=r"full disk.*Free space on the volume"):
        ledger.events.settle(batch_of(300), now_us=NOW_US)
    with pytest.raises(StoreError, match="full disk"):
        ledger.queue.put("q", [event_of(n) for n in range(1000)], now_us=NOW_US)

    assert_empty(ledger)
    ledger.close()


def test_a_locked_file_settles_nothing_and_harms_nothing(sqlite_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url, tmp_path, busy_timeout_s=0.2)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    batch = batch_of(3)

    with pytest.raises(StoreError, match="locked"):
        ledger.events.settle(batch, now_us=NOW_US)
    with pytest.raises(StoreError, match="locked"):
        ledger.queue.put("q", [event_of(1)], now_us=NOW_US)
    assert ledger.queue.take("q", 1, "me", now_us=NOW_US, lease_us=1) == []  # reading goes on
    other.execute("ROLLBACK")
    other.close()

    assert_empty(ledger)
    assert list(ledger.events.settle(batch, now_us=NOW_US)) == []
    ledger.close()


@pytest.mark.postgres
def test_a_server_that_left_in_mid_settle_is_asked_again_without_doubling(
    postgres_url: str, tmp_path: Path
) -> None:
    """As a consumer does it: the same batch again and again, until it is known to be stored."""
    proxy = Proxy(postgres_url)
    url = make_url(postgres_url).set(host="127.0.0.1", port=proxy.port, query={})
    through = url.render_as_string(hide_password=False)
    ledger = open_ledger(through, tmp_path, busy_timeout_s=2)
    batch, rng, stop = batch_of(200), random.Random(1), threading.Event()

    def cut() -> None:
        while not stop.wait(rng.random() * 0.05):
            proxy.cut()
            proxy.restore()

    cutting = threading.Thread(target=cut)
    cutting.start()
    late, failed, start = 0, 0, 0
    while start < 200 or failed < 5:
        try:
            late += len(ledger.events.settle(batch[start % 200 :][:10], now_us=NOW_US))
            start += 10
        except StoreError:
            failed += 1
            if failed == 50:
                stop.set()
    stop.set()
    cutting.join()

    assert late == 0
    assert run(ledger, "SELECT count(*) FROM calls") == [(200,)]
    ids = [waiting.message.id for waiting in ledger.outbox.outbox(limit=1000)]
    assert ids == [f"m{n}" for n in range(200)]
    ledger.close()
    proxy.cut()


def test_text_with_nul_and_bytes_that_are_no_text_are_kept(ledger: Ledger) -> None:
    letter = dead_of(1)
    letter.detail, letter.where, letter.event.value = "a\0b", "x\0", b"\0\xff"
    headers = (("a\0b", b"\xff\0"),)
    sent = Message("id\0", "kafka:a", b"\0", b"\0\xff", headers)
    written = Message("row\0", "table:decisions", b"\xff\0", b'{"a":"\xff\0"}', headers)
    one = settled(event_of(1), random.Random(1), [sent, written])
    one.dead = letter

    assert list(ledger.events.settle([one], now_us=NOW_US)) == []
    assert list(ledger.events.settle([one], now_us=NOW_US)) == []

    (found,) = ledger.dead_letters.dead_letters()
    assert found.detail in ("a\0b", "a␀b")
    whole = ledger.dead_letters.dead_letter(found.id)
    assert whole is not None
    assert whole.event.value == b"\0\xff"
    assert [waiting.message for waiting in ledger.outbox.outbox()] == [sent]
    (row,) = run(ledger, "SELECT id, key, value FROM decisions")
    assert [str(value).replace("␀", "") for value in row] == ["row", "�", '{"a":"�"}']


def test_an_event_of_20_mb_is_taken_alone_and_settled(ledger: Ledger) -> None:
    large = random.Random(1).randbytes(20_000_000)
    some = [Event(Origin("", 0, 0), None, value) for value in (large, b"small")]
    ledger.queue.put("q", some, now_us=NOW_US)

    first, second = (
        ledger.queue.take("q", 10, "me", now_us=NOW_US, lease_us=LEASE_US) for _ in range(2)
    )

    assert [one.value == large for one in first] == [True]  # any next to it would be too much
    assert [one.value for one in second] == [b"small"]
    one = settled(first[0], random.Random(1))
    assert one.record is not None
    one.record.input = large
    one.dead = dead_of(1)
    one.dead.event.value = large
    assert list(ledger.events.settle([one], now_us=NOW_US)) == []
    assert ledger.records.get(call_of(one)) == one.record
    (letter,) = ledger.dead_letters.dead_letters()
    whole = ledger.dead_letters.dead_letter(letter.id)
    assert whole is not None
    assert whole.event.value == large


def test_events_of_several_days_are_settled_together(ledger: Ledger) -> None:
    batch, rng = batch_of(6), random.Random(2)
    for n, one in enumerate(batch):
        assert one.record is not None
        one.record.call_id = call_id(rng, NOON_MS + n % 3 * DAY_MS)

    assert list(ledger.events.settle(batch, now_us=NOW_US)) == []

    found = ledger.records.get_many([call_of(one) for one in batch])
    assert [found[call_of(one)] for one in batch] == [one.record for one in batch]


@pytest.mark.postgres
def test_a_day_that_was_dropped_is_settled_into_again(postgres_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(postgres_url, tmp_path)
    first, second = batch_of(2)
    ledger.events.settle([first], now_us=NOW_US)
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for table in ("calls", "blocks"):
            connection.execute(text(f"DROP TABLE {table}_day_{day_of(call_of(first))}"))
    engine.dispose()

    assert list(ledger.events.settle([second], now_us=NOW_US)) == []

    assert ledger.records.get(call_of(second)) == second.record
    assert run(ledger, "SELECT count(*) FROM inbox") == [(2,)]
    assert ledger.outbox.outbox_size() == 2
    ledger.close()


def test_a_message_is_one_row_of_its_table_however_often_it_comes(ledger: Ledger) -> None:
    rng = random.Random(1)
    message = Message("d-1", "table:decisions", b"k", b'{"action":"ship"}', (("ce-id", b"7"),))
    first = settled(event_of(1), rng, [message, message])
    ledger.events.prepare(["kafka:x", "table:decisions"])

    ledger.events.settle([first], now_us=NOW_US)
    ledger.events.settle([settled(event_of(2), rng, [message])], now_us=NOW_US + 5)
    ledger.events.settle([first], now_us=NOW_US + 5)

    columns = "id, call_id, at_us, key, value, headers"
    assert run(ledger, f"SELECT {columns} FROM decisions") == [
        ("d-1", call_of(first), NOW_US, "k", '{"action":"ship"}', '{"ce-id":"7"}')
    ]


def test_a_table_that_was_dropped_is_made_again(ledger: Ledger) -> None:
    first, second = (
        settled(event_of(n), random.Random(n), [Message(f"{n}", "table:t", None, b"")])
        for n in range(2)
    )
    ledger.events.settle([first], now_us=NOW_US)
    run(ledger, "DROP TABLE t")

    with pytest.raises(StoreError):
        ledger.events.settle([second], now_us=NOW_US)
    ledger.events.settle([second], now_us=NOW_US)

    assert run(ledger, "SELECT id FROM t") == [("1",)]


def test_a_table_of_somebody_else_is_not_written_into(ledger: Ledger) -> None:
    run(ledger, "CREATE TABLE customers (id TEXT, name TEXT)")
    one = settled(event_of(1), random.Random(1), [Message("1", "table:customers", None, b"")])

    for refused in (
        lambda: ledger.events.prepare(["table:customers"]),
        lambda: ledger.events.settle([one], now_us=NOW_US),
    ):
        with pytest.raises(SettingsError, match=r"table:customers: got a table without .*call_id"):
            refused()

    assert_empty(ledger)


def test_no_statement_of_events_reads_a_whole_table(sqlite_url: str, tmp_path: Path) -> None:
    """A queue of a million rows is as quick as one of ten."""
    ledger = open_ledger(sqlite_url, tmp_path)
    statements = {
        f"{module.__name__}.{name}": value
        for module in (queued_sql, outbox, events, begun)
        for name, value in vars(module).items()
        if isinstance(value, str) and re.match(r"\s*(SELECT|WITH|UPDATE|DELETE)\b", value)
    }
    statements |= {f"delete {place}": text for place, text in enumerate(queued_sql.DELETES)}
    del statements["splice.adapters.ledgers.outbox._COUNT"]  # it counts all there are
    for part in ("_ROWS", "_LEASE"):  # of statements, which say themselves which rows
        del statements[f"splice.adapters.ledgers.queued_sql.{part}"]
    scans: list[str] = []
    whole = re.compile(r"SCAN (queued\w*|inbox|[a-z])(?! VIRTUAL)\b")
    for name, statement in statements.items():
        sql = ledger._database.sql(statement)
        names = set(re.findall(r":(\w+)", sql))
        with ledger._database.read() as connection:
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {sql}", dict.fromkeys(names, "[]")
            )
            scans += [f"{name}: {row[3]}" for row in plan if whole.match(row[3])]

    assert len(statements) > 20
    assert scans == []
    ledger.close()


def test_a_backlog_is_in_no_index_by_key(ledger: Ledger) -> None:
    ledger.queue.put("q", [event_of(n, b"%d" % (n % 5)) for n in range(400)], now_us=NOW_US)

    taken = ledger.queue.take("q", 20, "me", now_us=NOW_US, lease_us=LEASE_US)

    assert run(ledger, "SELECT count(*) FROM queued WHERE held IS NOT NULL") == [(20,)]
    ledger.events.settle([Settled(one) for one in taken], now_us=NOW_US)
    assert run(ledger, "SELECT count(*) FROM queued WHERE held IS NOT NULL") == [(0,)]


def test_a_ledger_of_the_release_before_gets_the_tables_of_events(
    url: str, ledger: Ledger, tmp_path: Path
) -> None:
    batch = batch_of(2)
    assert batch[0].record is not None
    ledger.records.append([batch[0].record])
    go_back(url, "0003")

    new = open_ledger(url, tmp_path)
    new.events.settle(batch, now_us=NOW_US)

    assert new.check() == ""
    assert new.records.count() == 2
    assert new.outbox.outbox_size() == 2
    new.close()
