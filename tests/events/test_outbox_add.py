"""An event is in the outbox exactly if the transaction of its business row was committed."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pydantic
import pytest
import sqlalchemy
from outbox_house import Shop, postgres_shop, postgres_url, shop, sqlite_shop
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from splice import outbox
from splice.core.errors import InputMismatch

__all__ = ["postgres_shop", "postgres_url", "shop"]


def placed(number: int = 1) -> dict[str, Any]:
    return {
        "aggregatetype": "order", "aggregateid": f"o-{number}", "type": "OrderPlaced",
        "payload": {"number": number},
    }  # fmt: skip


@pytest.mark.parametrize("commit", [True, False])
def test_the_event_is_there_exactly_if_the_business_row_is(shop: Shop, commit: bool) -> None:
    with closing(shop.connect()) as connection:
        connection.execute("INSERT INTO orders VALUES ('o-1')")
        outbox.add(connection, **placed())
        if commit:
            connection.commit()
        else:
            connection.rollback()

    assert shop.rows("SELECT count(*) FROM orders") == [(int(commit),)]
    assert shop.waiting == int(commit)


def test_a_statement_that_fails_after_the_event_takes_it_along(shop: Shop) -> None:
    shop.run("INSERT INTO orders VALUES ('o-1')")
    wrong = (sqlite3.IntegrityError, psycopg.IntegrityError)

    with closing(shop.connect()) as connection:
        outbox.add(connection, **placed())
        with pytest.raises(wrong):
            connection.execute("INSERT INTO orders VALUES ('o-1')")
        connection.rollback()

    assert shop.waiting == 0


def test_the_columns_are_those_that_debezium_reads(shop: Shop) -> None:
    with closing(shop.connect()) as connection:
        known = outbox.add(
            connection, **placed(), headers={"tenant": "blau"}, traceparent="00-ab-cd-01"
        )
        connection.commit()

    columns = "id, aggregatetype, aggregateid, type, headers, tracingspancontext"
    (row,) = shop.rows(f"SELECT {columns} FROM outbox")

    assert str(row[0]) == known
    assert row[1:4] == ("order", "o-1", "OrderPlaced")
    assert (row[4] if isinstance(row[4], dict) else msgspec.json.decode(row[4])) == {
        "tenant": "blau"
    }
    assert row[5] == "traceparent=00-ab-cd-01\n"


def test_a_connection_without_a_transaction_is_refused_and_nothing_is_stored(
    shop: Shop,
) -> None:
    ways: list[dict[str, Any]] = [{"autocommit": True}]
    if shop.kind == "sqlite":  # which has its attribute autocommit since Python 3.12
        ways = [{"isolation_level": None}, *(ways if sys.version_info >= (3, 12) else [])]

    for number, way in enumerate(ways, 1):
        _refused_outside_of_a_transaction(shop, way)

        assert shop.waiting == number


def _refused_outside_of_a_transaction(shop: Shop, way: dict[str, Any]) -> None:
    with closing(shop.connect(**way)) as connection:
        with pytest.raises(InputMismatch, match="autocommit mode, without a transaction"):
            outbox.add(connection, **placed())
        connection.execute("BEGIN")
        outbox.add(connection, **placed())
        connection.execute("COMMIT")


def engine_of(shop: Shop) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        sqlalchemy.make_url(shop.url).set(
            drivername="sqlite" if shop.kind == "sqlite" else "postgresql+psycopg"
        )
    )


def test_sqlalchemy_connections_and_sessions_carry_it_in_their_transaction(shop: Shop) -> None:
    engine = engine_of(shop)
    with engine.begin() as connection:
        outbox.add(connection, **placed(1))
    with engine.connect() as connection:
        outbox.add(connection, **placed(2))
        connection.rollback()
    with Session(engine) as session, session.begin():
        outbox.add(session, **placed(3))
    with Session(engine) as session:
        outbox.add(session, **placed(4))  # closed without a commit

    assert {row[0] for row in shop.rows("SELECT aggregateid FROM outbox")} == {"o-1", "o-3"}
    engine.dispose()


def test_sqlalchemy_in_autocommit_is_refused(shop: Shop) -> None:
    engine = engine_of(shop)

    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(InputMismatch, match="autocommit"),
    ):
        outbox.add(connection, **placed())

    assert shop.waiting == 0
    engine.dispose()


def test_sqlalchemy_that_begins_by_its_own_hand_is_not_taken_for_autocommit(
    tmp_path: Path,
) -> None:
    shop = sqlite_shop(tmp_path)  # the recipe is of sqlite3 alone
    engine = engine_of(shop)

    @sqlalchemy.event.listens_for(engine, "connect")
    def _(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def _(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    with engine.connect() as connection:
        outbox.add(connection, **placed(1))
        connection.rollback()
        outbox.add(connection, **placed(2))
        connection.commit()

    assert shop.rows("SELECT aggregateid FROM outbox") == [("o-2",)]
    engine.dispose()


@pytest.mark.postgres
async def test_asyncio_connections_carry_it_by_run_sync(postgres_shop: Shop) -> None:
    shop = postgres_shop
    engine = create_async_engine(shop.url.replace("postgresql:", "postgresql+psycopg:"))
    async with AsyncSession(engine) as session, session.begin():
        await session.run_sync(outbox.add, **placed(1))
    async with engine.connect() as connection:
        await connection.run_sync(outbox.add, **placed(2))  # rolled back

    assert await asyncio.to_thread(shop.rows, "SELECT aggregateid FROM outbox") == [("o-1",)]
    await engine.dispose()


class _Atomic:
    """Django's connection as far as it matters here: always %s, and words of its own."""

    def __init__(self, connection: psycopg.Connection[Any], *, atomic: bool) -> None:
        self._connection, self.in_atomic_block = connection, atomic

    def get_autocommit(self) -> bool:
        return True

    def cursor(self) -> Any:
        return self._connection.cursor()


@pytest.mark.postgres
def test_django_needs_an_atomic_block(postgres_shop: Shop) -> None:
    shop = postgres_shop
    with closing(shop.connect()) as connection:
        with pytest.raises(InputMismatch, match="autocommit"):
            outbox.add(_Atomic(connection, atomic=False), **placed(1))
        outbox.add(_Atomic(connection, atomic=True), **placed(2))
        connection.commit()

    assert shop.rows("SELECT aggregateid FROM outbox") == [("o-2",)]


class Order(msgspec.Struct):
    number: int


@dataclass
class Placed:
    number: int


class Model(pydantic.BaseModel):
    number: int


@pytest.mark.parametrize(
    ("payload", "stored"),
    [
        ({"number": 1}, b'{"number":1}'),
        (Order(1), b'{"number":1}'),
        (Placed(1), b'{"number":1}'),
        (Model(number=1), b'{"number":1}'),
        ('{"number": 1}', b'{"number": 1}'),
        (b"\x00\x01", b"\x00\x01"),
        (bytearray(b"\x00"), b"\x00"),
        (None, None),
        ([1, "ä"], '[1,"ä"]'.encode()),
    ],
)
def test_a_payload_is_kept_as_it_is_or_becomes_json(payload: Any, stored: bytes | None) -> None:
    kept = outbox.row(**{**placed(), "payload": payload})["payload"]

    assert (kept.encode() if isinstance(kept, str) else kept) == stored


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"aggregatetype": "or der"}, "outbox.aggregatetype"),
        ({"aggregatetype": ""}, "outbox.aggregatetype"),
        ({"aggregatetype": "x" * 201}, "outbox.aggregatetype"),
        ({"aggregatetype": 5}, "outbox.aggregatetype"),
        ({"aggregateid": ""}, "outbox.aggregateid"),
        ({"aggregateid": "a\0b"}, "outbox.aggregateid"),
        ({"type": "t" * 256}, "outbox.type"),
        ({"payload": {"amount": float("nan")}}, "outbox.payload.amount"),
        ({"payload": object()}, "outbox.payload"),
        ({"id": "seven"}, "outbox.id"),
        ({"key": "k"}, "outbox.key"),
    ],
)
def test_what_no_relay_could_send_is_refused_before_it_is_stored(
    change: dict[str, Any], where: str
) -> None:
    with pytest.raises(InputMismatch) as wrong:
        outbox.row(**{**placed(), **change})

    assert wrong.value.where == where


def test_a_column_that_is_left_out_is_named() -> None:
    with pytest.raises(InputMismatch, match=r"outbox\.payload: got nothing"):
        outbox.row(aggregatetype="order", aggregateid="1", type="Placed")  # pyright: ignore[reportCallIssue]


def test_ids_are_uuids_that_sort_by_time() -> None:
    first, second = (outbox.row(**placed())["id"] for _ in range(2))

    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first
    )
    assert first != second
    assert first[:8] <= second[:8]


@pytest.mark.parametrize("table", ["outbox; DROP TABLE orders", "", "1st", "a.b.c", 'x"y'])
def test_a_table_name_is_no_way_into_the_statement(shop: Shop, table: str) -> None:
    with (
        closing(shop.connect()) as connection,
        pytest.raises(InputMismatch, match=r"outbox\.table"),
    ):
        outbox.add(connection, table, **placed())
    with pytest.raises(InputMismatch, match=r"outbox\.table"):
        outbox.ddl("sqlite", table)


def test_what_is_no_connection_is_refused() -> None:
    with pytest.raises(InputMismatch, match=r"builtins\.str, expected a connection"):
        outbox.add("sqlite:///shop.db", **placed())
    with pytest.raises(InputMismatch, match=r"outbox\.dialect: got oracle"):
        outbox.ddl("oracle")  # pyright: ignore[reportArgumentType]


def test_the_module_loads_no_server_and_no_database() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "from splice import outbox; import sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip

    assert "splice.outbox" in said
    assert {"sqlalchemy", "starlette", "uvicorn", "asyncio", "typer"}.isdisjoint(said)
