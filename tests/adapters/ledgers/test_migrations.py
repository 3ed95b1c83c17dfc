"""The migrations, the tables and the number of the newest migration agree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from splice.adapters.ledgers import migrate, migrations, tables
from splice.adapters.ledgers.sql import open_ledger


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


def driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def test_the_head_is_the_newest_migration() -> None:
    folder = Path(next(iter(migrations.__path__))) / "versions"
    numbers = sorted(file.name[1:5] for file in folder.glob("m0*.py"))

    assert numbers[-1] == migrate.HEAD
    assert numbers == [f"{n:04d}" for n in range(1, len(numbers) + 1)]


def test_the_migrated_tables_are_those_of_the_code(url: str) -> None:
    engine = create_engine(driver(url))
    inspector = inspect(engine)
    for table in tables.metadata.sorted_tables:
        columns = {column["name"]: column for column in inspector.get_columns(table.name)}

        assert list(columns) == [column.name for column in table.c], table.name
        for column in table.c:
            assert columns[column.name]["nullable"] is column.nullable, column
    engine.dispose()


def test_a_ledger_that_is_up_to_date_opens_without_alembic(sqlite_url: str, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from splice.adapters.ledgers.sql import open_ledger;"
        f"open_ledger({sqlite_url!r}, Path({str(tmp_path)!r})).close();"
        "sys.exit('alembic' in sys.modules or 'psycopg' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_ledger_of_a_newer_version_is_left_alone(url: str, tmp_path: Path) -> None:
    engine = create_engine(driver(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    ledger = open_ledger(url, tmp_path)

    assert ledger.check() == ""
    ledger.close()
    with engine.connect() as connection:
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
        )
    engine.dispose()


def test_a_ledger_without_tables_is_not_ready(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", tmp_path, migrate=False)

    assert ledger.check().endswith(f"schema missing, {migrate.HEAD} needed")
    ledger.close()


@pytest.mark.parametrize("table", ["calls", "releases", "outcomes", "blocks", "release_events"])
def test_what_is_stored_cannot_be_changed_by_sql(url: str, tmp_path: Path, table: str) -> None:
    import random

    from splice.testing.contracts.outcomes import outcome_of
    from splice.testing.contracts.records import simple_record
    from splice.testing.contracts.releases import add, manifest

    ledger = open_ledger(url, tmp_path)
    record = simple_record(random.Random(1))
    ledger.records.append([record])
    ledger.outcomes.append_outcomes([outcome_of(record)], 1)
    add(ledger.releases, manifest())
    ledger.close()
    first = next(iter(tables.metadata.tables[table].c)).name
    engine = create_engine(driver(url))

    for statement in (f"UPDATE {table} SET {first} = {first}", f"DELETE FROM {table}"):
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text(statement))

    engine.dispose()
