"""`splice batch` from tables and into tables, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from tables_house import PASSWORD, Database, database_of

from splice.declare.codec import codec
from splice.serve.batch import job, tables
from splice.serve.batch.databases import place_of
from splice.serve.batch.decisions import TableTarget
from splice.serve.batch.plan import Plan
from splice.serve.batch.tables import TableRows


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with database_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def project(orders):
    """A project with a live integration."""
    orders("release", "apply", "-y")
    return orders


def lines(command, name: str = "out.jsonl") -> list[dict]:
    return [json.loads(line) for line in (command.folder / name).read_text().splitlines()]


def ask(command, *arguments: str, out: str = "out.jsonl"):
    return command("batch", "order-screening", *arguments, "-o", out, "--json")


def calls(command) -> int:
    return len(command("calls", "list", "--json", "--limit", "1000").json)


def test_every_row_is_answered_in_the_order_of_its_key(project, database, monkeypatch) -> None:
    monkeypatch.setattr(tables, "PAGE", 7)
    keys = [f"o-{n % 10}{n}" for n in range(40)] + ["Ö", "a b", "A"]
    database.orders(keys)
    database.run("UPDATE shop SET amount_eur = -1, customer = '' WHERE id = 'o-33'")

    ran = ask(project, database.at("shop", "id"))

    assert ran.code == 0, ran.err
    assert (ran.json["rows"], ran.json["answered"], ran.json["invalid"]) == (43, 42, 1)
    replies = lines(project)
    assert [one["row"] for one in replies] == list(range(43))
    assert [one["key"] for one in replies] == [
        key for (key,) in database.rows("SELECT id FROM shop ORDER BY id")
    ]
    bad = next(one for one in replies if one["status"] == "invalid")
    assert bad["key"] == "o-33"
    assert "order-screening.input[o-33].customer" in bad["error"]
    assert calls(project) == 42


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("BIGINT", [-5, 0, 9, 10, 2**40]),
        ("UUID", [f"{n:08x}-0000-4000-8000-000000000000" for n in (1, 2, 9, 10, 11)]),
        ("TIMESTAMPTZ", [f"2026-01-0{n}T0{n}:00:00.00000{n}+00:00" for n in range(1, 6)]),
        ("DATE", [f"2026-01-0{n}" for n in range(1, 6)]),
        ("NUMERIC(30, 2)", ["1.50", "2.25", "9.00", "10.00", "123456789012345678901.25"]),
    ],
)
@pytest.mark.postgres
def test_a_key_may_be_of_any_type_that_has_an_order(
    project, tmp_path, monkeypatch, kind: str, keys: list
) -> None:
    monkeypatch.setattr(tables, "PAGE", 2)
    with database_of("postgresql", tmp_path) as database:
        database.run(f"CREATE TABLE shop (id {kind} PRIMARY KEY, customer TEXT, amount_eur REAL)")
        for key in keys:
            database.run(f"INSERT INTO shop VALUES ('{key}', 'c', 1)")

        ran = ask(project, database.at("shop"))

        assert ran.code == 0, ran.err
        assert [one["key"] for one in lines(project)] == keys


class Rich(msgspec.Struct, forbid_unknown_fields=True):
    a_bool: bool
    a_time: str
    an_int: int
    a_float: float
    missing: str = "its default"


def test_columns_become_the_types_of_the_request(database: Database) -> None:
    database.run(
        "CREATE TABLE rich (id INTEGER PRIMARY KEY, a_bool BOOLEAN, a_time TIMESTAMP,"
        " an_int NUMERIC(9), a_float NUMERIC(9, 3), missing TEXT)"
    )
    database.run("INSERT INTO rich VALUES (1, true, '2026-01-02 03:04:05', 7, 1.5, NULL)")
    database.run("INSERT INTO rich VALUES (2, NULL, NULL, 7, 1.5, NULL)")
    found = TableRows(place_of(database.at("rich")), codec(Rich), "r.input")

    good, bad = found.read(found.begin(), None)

    row = msgspec.json.decode(good.body)
    assert row["a_time"].replace("T", " ") == "2026-01-02 03:04:05"
    del row["a_time"]
    assert row == {"a_bool": True, "an_int": 7, "a_float": 1.5, "missing": "its default"}
    assert good.body.count(b'"an_int":7,') == 1
    assert "r.input[2]" in str(bad.wrong)


def test_bytes_that_are_not_text_are_a_mistake_of_their_row(project, tmp_path) -> None:
    with database_of("sqlite", tmp_path) as database:
        database.orders(["a", "b", "c"])
        database.run("UPDATE shop SET customer = CAST(x'FF61' AS TEXT) WHERE id = 'b'")

        ran = ask(project, database.at("shop"))

    assert [one["status"] for one in lines(project)] == ["answered", "invalid", "answered"]
    assert "not UTF-8" in lines(project)[1]["error"]
    assert ran.code == 0


def test_a_query_gives_rows_too(project, database: Database) -> None:
    database.orders(["a:x", "b", "c"])
    query = (
        "SELECT id AS number, customer, amount_eur FROM shop"
        " WHERE customer LIKE 'c%' AND (id LIKE '%:x' OR id = 'c');"
    )

    ran = ask(project, database.keyed("number"), "--query", query)

    assert ran.code == 0, ran.err
    assert [one["key"] for one in lines(project)] == ["a:x", "c"]


def test_a_query_is_a_select(project, database: Database) -> None:
    database.orders(["a"])

    ran = ask(project, database.keyed("id"), "--query", "DELETE FROM shop RETURNING *")

    assert ran.code == 2
    assert "--query" in ran.err
    assert database.rows("SELECT id FROM shop") == [("a",)]


@pytest.mark.postgres
def test_a_query_cannot_write(project, tmp_path: Path) -> None:
    with database_of("postgresql", tmp_path) as database:
        database.orders(["a"])
        database.run("CREATE SEQUENCE numbers")
        query = "SELECT id, customer, nextval('numbers')::float AS amount_eur FROM shop"

        ran = ask(project, database.keyed("id"), "--query", query)

        assert ran.code != 0
        assert "read-only" in ran.err
        assert database.rows("SELECT is_called FROM numbers") == [(False,)]
    assert calls(project) == 0


@pytest.mark.parametrize(
    ("change", "key", "code", "said"),
    [
        ("", "nothing", 2, "no column nothing"),
        ("DROP TABLE shop", "id", 2, "no such table"),
        ("INSERT INTO shop VALUES ('x', 'c1', 1)", "customer", 2, "more than one row whose cust"),
        ("INSERT INTO shop VALUES ('x', NULL, 1)", "customer", 2, "rows whose customer is NULL"),
        ("ALTER TABLE shop RENAME COLUMN customer TO who", "id", 2, "the request has not: who"),
        ("ALTER TABLE shop DROP COLUMN customer", "id", 2, "no column customer"),
        ("ALTER TABLE shop ADD COLUMN weight REAL", "id", 2, "--ignore-extra"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_before_the_first_call(
    project, database: Database, change: str, key: str, code: int, said: str
) -> None:
    database.orders(["a", "b", "c"])
    if change:
        database.run(change)

    extra = ["--ignore-extra"] if key == "customer" else []
    ran = ask(project, database.at("shop", key), *extra)

    assert ran.code == code
    assert said in " ".join(ran.err.split())
    assert PASSWORD not in ran.err
    assert calls(project) == 0
    assert not list(project.folder.glob("*.parts"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mysql://u:canary-5f1d0c77e2@h/d?table=t",), "sqlite or postgresql"),
        (("sqlite:///:nowhere:/x.db?table=t",), "no database at"),
        (("postgresql://u:canary-5f1d0c77e2@/nowhere?host=/nowhere&table=t",), "connection"),
        (("://canary-5f1d0c77e2@/?table=t",), "cannot be read"),
        (("sqlite:///x.db?table=t&table=u",), "table twice"),
        (("sqlite:///x.db",), "neither a table nor a query"),
        (("sqlite:///x.db?table=t", "--query", "SELECT 1"), "a table and a query"),
        (("in.csv", "--query", "SELECT 1"), "a database as the source"),
        (("in.csv", "--append"), "a table as the target"),
        (("env:NOT_THERE?table=t",), "no such variable"),
        (("sqlite:///here.db?table=t", "--offline"), "no such table"),
    ],
)
def test_what_names_no_table_is_refused(project, arguments: tuple[str, ...], said: str) -> None:
    project.write("in.csv", "customer,amount_eur\n")
    project.write("here.db", "")

    ran = ask(project, *arguments)

    assert ran.code != 0
    assert said in " ".join(ran.err.split())
    assert PASSWORD not in ran.err + ran.out


def cut_short(command, monkeypatch, arguments: list[str], after: int) -> None:
    """A job that dies when it writes its nth part."""
    monkeypatch.setattr(job, "CHUNK", 10)
    real, written = job.write_whole, Counter[str]()

    def dying(file: Path, content: bytes) -> None:
        written["parts"] += file.suffix == ".jsonl"
        if written["parts"] > after:
            raise KeyboardInterrupt
        real(file, content)

    with monkeypatch.context() as patch:
        patch.setattr(job, "write_whole", dying)
        command(*arguments)


def test_a_table_may_change_while_it_is_read(project, database: Database, monkeypatch) -> None:
    monkeypatch.setattr(tables, "PAGE", 10)
    database.orders([f"k{n:02}" for n in range(10, 60)])
    arguments = ["batch", "order-screening", database.at("shop"), "-o", "out.jsonl"]
    cut_short(project, monkeypatch, arguments, after=2)
    database.run("DELETE FROM shop WHERE id IN ('k12', 'k45')")  # one read, one not
    database.add(["k00", "k41a", "k99"])  # before, ahead, and behind the last of then
    database.run("UPDATE shop SET amount_eur = 900")

    ran = project(*arguments, "--json")

    keys = [one["key"] for one in lines(project)]
    assert keys == sorted({*(f"k{n}" for n in range(10, 60)), "k41a"} - {"k45"})
    assert [one["row"] for one in lines(project)] == list(range(50))
    # Ten rows had been asked without a part: they keep their answers.
    assert ran.json["resumed"] == 30
    risky = [one["key"] for one in lines(project) if one["reply"]["risk"] == 0.9]
    assert risky == keys[30:]
    assert calls(project) == 50


def test_a_job_does_not_go_on_over_another_table(project, database, monkeypatch) -> None:
    database.orders([f"k{n:02}" for n in range(30)])
    database.orders([f"k{n:02}" for n in range(30)], name="other")
    arguments = ["batch", "order-screening", database.at("shop"), "-o", "out.jsonl"]
    cut_short(project, monkeypatch, arguments, after=1)

    ran = ask(project, database.at("other"))

    assert ran.code == 2
    assert "Put them back, or remove out.jsonl.parts" in ran.err


def test_decisions_go_into_a_table_that_is_made(project, database: Database) -> None:
    database.orders([f"k{n}" for n in range(5)])
    database.run("UPDATE shop SET customer = '' WHERE id = 'k3'")

    ran = ask(project, database.at("shop"), out=database.at("decisions"))

    assert ran.code == 0, ran.err
    said = database.rows('SELECT key, "row", status, risk, action FROM decisions ORDER BY key')
    assert said[0] == ("k0", 0, "answered", 0.1, "ship")
    assert said[3] == ("k3", 3, "invalid", None, None)
    assert len(said) == 5
    ((jobs, ids),) = database.rows("SELECT count(DISTINCT job), count(call_id) FROM decisions")
    assert (jobs, ids) == (1, 4)
    assert not list(project.folder.glob("*.parts"))


def test_rows_of_a_file_are_named_by_their_numbers(project, database: Database) -> None:
    project.write("in.csv", "customer,amount_eur\nc1,1\nc2,2\n")

    ask(project, "in.csv", out=database.at("decisions"))

    assert database.rows("SELECT key, action FROM decisions ORDER BY key") == [
        (0, "ship"), (1, "ship"),
    ]  # fmt: skip


def test_a_second_job_says_that_it_adds_to_the_table(project, database: Database) -> None:
    database.orders(["a", "b"])
    ask(project, database.at("shop"), out=database.at("decisions"))

    refused = ask(project, database.at("shop"), out=database.at("decisions"))
    replaced = ask(project, database.at("shop"), "--overwrite", out=database.at("decisions"))
    added = ask(project, database.at("shop"), "--append", out=database.at("decisions"))

    assert (refused.code, replaced.code, added.code) == (2, 2, 0)
    assert "Add --append" in refused.err
    assert calls(project) == 4
    assert database.rows("SELECT key, count(DISTINCT job) FROM decisions GROUP BY key") == [
        ("a", 2), ("b", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("CREATE TABLE decisions (job TEXT, key TEXT, PRIMARY KEY (job, key))", "no column row"),
        (
            'CREATE TABLE decisions (job TEXT, key TEXT, "row" BIGINT, call_id TEXT, status TEXT,'
            " route TEXT, reason TEXT, cost REAL, error TEXT, risk REAL, action TEXT)",
            "another primary key",
        ),
    ],
)
def test_a_table_that_cannot_take_them_is_refused_before_the_first_call(
    project, database: Database, made: str, said: str
) -> None:
    database.orders(["a", "b"])
    database.run(made)

    ran = ask(project, database.at("shop"), out=database.at("decisions"))

    assert ran.code == 2
    assert said in " ".join(ran.err.split())
    assert calls(project) == 0


def test_a_run_that_goes_on_doubles_no_row_of_the_table(project, database, monkeypatch) -> None:
    database.orders([f"k{n:02}" for n in range(50)])
    out = database.at("decisions")
    cut_short(
        project, monkeypatch, ["batch", "order-screening", database.at("shop"), "-o", out], after=2
    )
    # The third was written there, and not here.
    assert database.rows("SELECT count(*) FROM decisions") == [(30,)]
    database.run("DELETE FROM decisions WHERE key = 'k03'")

    ran = ask(project, database.at("shop"), out=out)

    assert (ran.json["rows"], ran.json["resumed"]) == (50, 30)
    assert calls(project) == 50
    assert database.rows("SELECT count(*), count(DISTINCT key) FROM decisions") == [(50, 50)]
    assert not list(project.folder.glob("*.parts"))


def test_no_password_is_printed_or_kept(project, database, monkeypatch) -> None:
    database.orders([f"k{n:02}" for n in range(30)])
    monkeypatch.setenv("SHOP_URL", database.url)
    source, out = "env:SHOP_URL?table=shop", "env:SHOP_URL?table=decisions"

    cut_short(project, monkeypatch, ["batch", "order-screening", source, "-o", out], after=1)
    kept = (project.folder / "decisions.parts" / "job.json").read_text()
    ran = project("batch", "order-screening", source, "-o", out)

    assert ran.code == 0, ran.err
    assert "?table=shop" in kept
    assert "@" not in kept
    for file in project.folder.rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes()
    assert PASSWORD not in ran.out + ran.err + kept
    assert PASSWORD not in repr(place_of(database.at("shop")))


class Mixed(msgspec.Struct):
    whole: int | None
    tags: list[str]
    either: int | str
    key: str
    state: Literal["a", "b"] = "a"


def test_every_field_of_a_reply_has_a_column(database: Database, tmp_path: Path) -> None:
    target = TableTarget(
        place_of(database.at("mixed")), codec(Mixed), tmp_path, numbered=False, append=False
    )
    target.begin(Plan("mixed", 1, "x", 1, "", 1), resumed=False)
    reply = {"whole": None, "tags": ["x", "ü"], "either": 5, "key": "k\0k", "state": "b"}

    target.add([{"row": 0, "status": "answered", "reply": reply}])
    target.add([{"row": 0, "status": "answered", "reply": {**reply, "whole": 3}}])

    fields = "key, whole, tags, either, reply_key, state"
    ((key, whole, tags, either, reply_key, state),) = database.rows(f"SELECT {fields} FROM mixed")
    assert (key, whole, tags, either, state) == ("0", None, '["x","ü"]', "5", "b")
    assert reply_key == "k\ufffdk"


ROWS = 6000


@pytest.mark.postgres
def test_kills_lose_no_row_and_double_none(project, tmp_path: Path) -> None:
    slow = (project.folder / "integrations.py").read_text()
    context = (
        "    async def context(self, order: Order, look: splice.Lookup) -> dict:\n"
        "        await asyncio.sleep(0.01)\n"
        '        return {"amount_eur": order.amount_eur}\n\n    def decide'
    )
    slow = "import asyncio\n" + slow.replace("    def decide", context).replace("200 ms", "60 s")
    (project.folder / "integrations.py").write_text(slow)
    project("release", "apply", "-y")
    with database_of("postgresql", tmp_path) as database:
        database.orders(range(ROWS), kind="BIGINT")
        source, out = database.at("shop"), database.at("decisions")
        arguments = [sys.executable, "-m", "splice.cli.main", "batch", "order-screening",
                     source, "-o", out]  # fmt: skip
        parts = project.folder / "decisions.parts"
        for turn in range(4):
            running = subprocess.Popen(
                arguments, cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            while running.poll() is None and len(list(parts.glob("*.jsonl"))) <= turn:
                time.sleep(0.001)
            ended = running.poll()
            os.kill(running.pid, signal.SIGKILL)
            _, said = running.communicate()
            assert ended is None, said.decode()[-2000:]

        ran = ask(project, source, out=out)

        assert (ran.json["rows"], ran.json["answered"]) == (ROWS, ROWS)
        ((rows, keys, ids),) = database.rows(
            "SELECT count(*), count(DISTINCT key), count(DISTINCT call_id) FROM decisions"
        )
        assert (rows, keys, ids) == (ROWS, ROWS, ROWS)
    from splice.app.settings import load
    from splice.app.wiring import Stores

    stores = Stores(load(project.folder))
    assert stores.records.count() == ROWS
    stores.close()
