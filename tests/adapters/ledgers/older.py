"""A ledger made older: what a migration adds is taken away again, so that it can run anew."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect, text

from splice.adapters.ledgers import migrations

MADE_BY = re.compile(r"CREATE (TABLE|SEQUENCE) (\w+)")
NOT_TABLES = {  # what a migration does beside making tables, undone
    "0002": ("DELETE FROM counters WHERE name = 'access'",),
    "0003": (
        "ALTER TABLE models DROP COLUMN card", "ALTER TABLE models DROP COLUMN lineage",
    ),
    "0004": ("DELETE FROM counters WHERE name = 'queued'",),
    "0005": ("ALTER TABLE claims DROP COLUMN archived",),
    "0009": (
        "ALTER TABLE api_keys DROP COLUMN grants", "ALTER TABLE api_keys DROP COLUMN former",
        "ALTER TABLE api_keys DROP COLUMN former_until_us",
    ),
    "0010": tuple(
        f"ALTER TABLE audit_events DROP COLUMN {name}" for name in ("before", "after", "origin")
    ),
}  # fmt: skip

PLAIN = """
CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""


def close(connection: Connection) -> None:
    """What may be opened for retention and erasure refuses every change again."""
    postgres = connection.dialect.name == "postgresql"
    for table, verb in (("calls", "UPDATE"), ("blocks", "UPDATE"), ("outcomes", "DELETE")):
        trigger = f"{table}_no_{verb.lower()}"
        does = (
            "FOR EACH ROW EXECUTE FUNCTION splice_refuse()"
            if postgres
            else f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
        connection.execute(text(f"DROP TRIGGER {trigger}" + (f" ON {table}" if postgres else "")))
        connection.execute(text(f"CREATE TRIGGER {trigger} BEFORE {verb} ON {table} {does}"))
    if postgres:
        connection.execute(text("DROP FUNCTION splice_refuse_unless_open()"))


def go_back(url: str, to: str) -> None:
    """Make a ledger what it was when that migration was the newest."""
    folder = Path(next(iter(migrations.__path__))) / "versions"
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        there = set(inspect(connection).get_table_names())
        for file in sorted(folder.glob("m0*.py"), reverse=True):
            number = file.name[1:5]
            if number <= to:
                break
            for statement in NOT_TABLES.get(number, ()):
                connection.execute(text(statement))
            if number == "0005" and connection.dialect.name == "sqlite":
                for table in ("calls", "blocks"):
                    connection.execute(text(f"DROP TRIGGER {table}_no_delete"))
                    connection.execute(text(PLAIN.format(table=table)))
            if number == "0013":
                close(connection)
            for kind, name in MADE_BY.findall(file.read_text("utf-8")):
                if kind == "TABLE" and name in there:
                    connection.execute(text(f"DROP TABLE {name}"))
                elif kind == "SEQUENCE" and connection.dialect.name == "postgresql":
                    connection.execute(text(f"DROP SEQUENCE {name}"))
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{to}'"))
    engine.dispose()
