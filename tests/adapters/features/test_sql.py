"""SqlFeatureStore, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from splice.adapters.features.sql import SqlFeatureStore
from splice.core.errors import SettingsError, StoreError
from splice.testing.contracts.features import FeatureStoreContract

NOW = 1_800_000_000.0
COLUMNS = "age, income, country, vip, note, as_of"
CUSTOMER = f"SELECT {COLUMNS} FROM customers WHERE id = :entity"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "features.db"
    with sqlite3.connect(file) as connection:
        connection.execute(
            "CREATE TABLE customers (id TEXT PRIMARY KEY, age INTEGER, income REAL, country TEXT,"
            " vip BOOLEAN, note TEXT, as_of TEXT, photo BLOB)"
        )
        an_hour_ago = datetime.fromtimestamp(NOW - 3600, UTC).isoformat()
        connection.execute(
            "INSERT INTO customers VALUES ('c1', 41, 52000.5, 'DE', 1, NULL, ?, x'00ff')",
            [an_hour_ago],
        )
    connection.close()
    return file


def of(database: Path, sql: str) -> SqlFeatureStore:
    return SqlFeatureStore(f"sqlite:///{database}", {"v": sql}, now=lambda: NOW)


class TestSqlite(FeatureStoreContract):
    @pytest.fixture
    async def store(self, database: Path) -> AsyncIterator[SqlFeatureStore]:
        made = SqlFeatureStore(f"sqlite:///{database}", {"customer": CUSTOMER}, now=lambda: NOW)
        yield made
        await made.close()


@pytest.mark.postgres
class TestPostgres(FeatureStoreContract):
    @pytest.fixture
    def table(self) -> Iterator[str]:
        name = f"customers_{uuid.uuid4().hex[:12]}"
        engine = create_engine(self.url())
        with engine.begin() as connection:
            connection.execute(
                text(
                    f"CREATE TABLE {name} (id text PRIMARY KEY, age int, income numeric(12, 2),"
                    " country text, vip boolean, note text, as_of timestamptz)"
                )
            )
            connection.execute(
                text(f"INSERT INTO {name} VALUES ('c1', 41, 52000.5, 'DE', true, NULL, :at)"),
                {"at": datetime.fromtimestamp(NOW, UTC) - timedelta(hours=1)},
            )
        yield name
        with engine.begin() as connection:
            connection.execute(text(f"DROP TABLE {name}"))
        engine.dispose()

    @pytest.fixture
    async def store(self, table: str) -> AsyncIterator[SqlFeatureStore]:
        views = {
            "customer": f"SELECT {COLUMNS} FROM {table} WHERE id = :entity",
            "grow": f"INSERT INTO {table} (id) VALUES (:entity) RETURNING id",
            "whole": f"SELECT age FROM {table} WHERE age = :entity",
            "odd": "SELECT ARRAY[1, 2] AS some, '{\"a\": [1.5]}'::jsonb AS tree,"
            " '1 day'::interval AS lasts, :entity || '' AS key",
        }
        made = SqlFeatureStore(self.url(), views, now=lambda: NOW)
        yield made
        await made.close()

    def url(self) -> str:
        found = os.environ.get("SPLICE_TEST_POSTGRES")
        if not found:
            pytest.skip("SPLICE_TEST_POSTGRES is not set")
        return found.replace("postgresql://", "postgresql+psycopg://")

    async def test_a_view_cannot_write(self, store: SqlFeatureStore) -> None:
        with pytest.raises(StoreError, match="read-only"):
            await store.read("grow", "c2")

    async def test_a_key_may_be_compared_with_a_number(self, store: SqlFeatureStore) -> None:
        assert (await store.read("whole", "41")).values == {"age": 41}

        with pytest.raises(StoreError) as raised:
            await store.read("whole", "secret-person")
        assert "secret-person" not in str(raised.value)

    async def test_rich_types_become_json(self, store: SqlFeatureStore) -> None:
        assert (await store.read("odd", "k")).values == {
            "some": [1, 2],
            "tree": {"a": [1.5]},
            "lasts": 86400.0,
            "key": "k",
        }


async def test_a_view_cannot_write(database: Path) -> None:
    store = of(database, "INSERT INTO customers (id) VALUES (:entity) RETURNING id")

    with pytest.raises(StoreError, match="readonly"):
        await store.read("v", "c2")
    await store.close()


async def test_bytes_are_refused(database: Path) -> None:
    store = of(database, "SELECT photo FROM customers WHERE id = :entity")

    with pytest.raises(StoreError, match=r"features\.v\.photo: got bytes"):
        await store.read("v", "c1")
    await store.close()


async def test_an_infinity_is_refused(database: Path) -> None:
    store = of(database, "SELECT 9e999 AS much FROM customers WHERE id = :entity")

    with pytest.raises(StoreError, match="finite"):
        await store.read("v", "c1")
    await store.close()


async def test_more_than_one_row_is_refused(database: Path) -> None:
    store = of(database, "SELECT 1 AS a UNION SELECT 2 FROM customers WHERE id = :entity")

    with pytest.raises(StoreError, match="LIMIT 1"):
        await store.read("v", "c1")
    await store.close()


@pytest.mark.parametrize(
    ("as_of", "age"),
    [
        (str(int(NOW) - 60), 60.0),
        (str(int(NOW) + 60), 0.0),
        ("'2027-01-15T07:59:00'", 60.0),
        ("'2027-01-15 07:59:00+00:00'", 60.0),
        ("NULL", None),
    ],
)
async def test_ages_are_read_from_what_databases_hold(
    database: Path, as_of: str, age: float | None
) -> None:
    store = of(database, f"SELECT 1 AS a, {as_of} AS as_of FROM customers WHERE id = :entity")

    features = await store.read("v", "c1")
    await store.close()

    assert features.values == {"a": 1}
    assert features.age_s == age


async def test_an_age_that_is_no_time_is_said(database: Path) -> None:
    store = of(database, "SELECT 'lately' AS as_of FROM customers WHERE id = :entity")

    with pytest.raises(StoreError, match=r"as_of.*no time"):
        await store.read("v", "c1")
    await store.close()


async def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    store = of(tmp_path / "gone.db", CUSTOMER)

    with pytest.raises(StoreError, match="no database"):
        await store.read("v", "c1")
    await store.close()

    assert not (tmp_path / "gone.db").exists()


async def test_a_missing_table_is_said_without_the_key(database: Path) -> None:
    store = of(database, "SELECT a FROM missing WHERE id = :entity")

    with pytest.raises(StoreError, match="no such table: missing") as raised:
        await store.read("v", "secret-person")
    await store.close()

    assert "secret-person" not in str(raised.value)


@pytest.mark.parametrize(
    "sql", ["SELECT 1", "SELECT a FROM t WHERE id = 'x'", "SELECT :entity, :other"]
)
def test_a_view_that_does_not_ask_by_entity_alone_is_refused(sql: str) -> None:
    with pytest.raises(SettingsError, match=r"features\.views\.v"):
        SqlFeatureStore("sqlite:///x.db", {"v": sql})


@pytest.mark.parametrize("url", ["not a url, password=hunter2", "nodb://u:hunter2@h/x"])
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        SqlFeatureStore(url, {})

    assert "hunter2" not in str(raised.value)


def test_the_password_is_in_no_repr() -> None:
    store = SqlFeatureStore("postgresql+psycopg://u:hunter2@127.0.0.1:1/x", {})

    assert "hunter2" not in repr(store)


async def test_a_database_that_is_away_is_a_store_error() -> None:
    store = SqlFeatureStore(
        "postgresql+psycopg://u:hunter2@127.0.0.1:1/x", {"v": "SELECT 1 AS a WHERE '' = :entity"}
    )

    with pytest.raises(StoreError) as raised:
        await store.read("v", "c1")
    await store.close()

    assert "hunter2" not in str(raised.value)
