"""Decisions in a table: each line of a job is a row, named by the job and the source's key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    inspect,
    select,
)  # fmt: skip
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from splice.core.errors import SettingsError
from splice.declare.codec import Codec
from splice.serve.batch.databases import Place, connect, said
from splice.serve.batch.plan import Plan
from splice.serve.batch.rows import request_schema
from splice.serve.batch.targets import flat, lines_of

FIXED = ("job", "key", "row", "call_id", "status", "route", "reason", "cost", "error")
NAMED_BY = ["job", "key"]
_CHUNK = 1000
_TYPES = {"number": Float(53), "integer": BigInteger(), "boolean": Boolean(), "string": Text()}


class TableTarget:
    """A table of a database; see `Target`.

    It is made if it is not there: `job` and `key` are its primary key, so that a line that is
    written again changes nothing, and each field of the reply is a column. In a table that is there
    the columns may have other types, and there may be more of them.

    Args:
        place: Where it is.
        reply: The reply type.
        parts: The folder of what a run that is cut short leaves for the next.
        numbered: Whether whole numbers name the rows.
        append: Add to a table that has rows of other jobs.
    """

    def __init__(
        self, place: Place, reply: Codec, parts: Path, *, numbered: bool, append: bool
    ) -> None:
        self.name = place.shown
        self.parts = parts
        self._place = place
        self._numbered = numbered
        self._append = append
        self._engine = connect(place, read_only=False)
        self._wanted = _columns(reply, numbered=numbered)
        self._table = Table("none", MetaData())
        self._job = ""

    def begin(self, plan: Plan, *, resumed: bool) -> None:
        """See `Target`."""
        self._job = plan.name[:16]
        schema, name = self._place.named
        wanted = Table(
            name, MetaData(), *self._wanted, PrimaryKeyConstraint(*NAMED_BY), schema=schema
        )
        try:
            wanted.create(self._engine, checkfirst=True)
            self._table = Table(name, MetaData(), schema=schema, autoload_with=self._engine)
            unique = _unique(self._engine, schema, name)
            with self._engine.connect() as connection:
                others = connection.execute(
                    select(self._table.c[next(iter(self._table.c.keys()))]).limit(1)
                ).first()
        except SQLAlchemyError as error:
            raise said(self._place, error) from None
        lacking = [one.name for one in self._wanted if one.name not in self._table.c]
        if lacking or NAMED_BY not in unique:
            raise SettingsError(
                self.name,
                got=f"no column {', '.join(lacking)}" if lacking else "another primary key",
                promised="a table whose primary key is (job, key), with a column for each field",
                mend="name another table: it is made",
            )
        if others is not None and not resumed and not self._append:
            raise SettingsError(
                self.name, got="a table that has rows already",
                mend="add --append: each row names its job; or name another",
            )  # fmt: skip

    def add(self, lines: Sequence[dict[str, Any]]) -> None:
        """See `Target`."""
        if not lines:
            return
        rows = [self._row(line) for line in lines]
        try:
            with self._engine.begin() as connection:
                connection.execute(self._insert(), rows)
        except (DataError, IntegrityError) as error:
            raise SettingsError(
                self.name, got=str(said(self._place, error).detail)[:400],
                promised="columns that hold the replies",
                mend=f"change the table; the same command goes on, or remove {self.parts.name}",
            ) from None  # fmt: skip
        except SQLAlchemyError as error:
            raise said(self._place, error) from None

    def end(self, parts: Sequence[Path]) -> None:
        """See `Target`: a line that somebody took away while the job ran is there again."""
        try:
            with self._engine.connect() as connection:
                there = self._count(connection)
        except SQLAlchemyError as error:
            raise said(self._place, error) from None
        if there < sum(1 for _ in lines_of(parts)):
            for part in parts:
                self.add(list(lines_of([part])))

    def _count(self, connection: Connection) -> int:
        statement = select(func.count()).select_from(self._table)
        return connection.execute(statement.where(self._table.c.job == self._job)).scalar_one()

    def _insert(self) -> Any:  # of the dialect
        dialect = postgresql if self._place.kind == "postgresql" else sqlite
        return dialect.insert(self._table).on_conflict_do_nothing(index_elements=NAMED_BY)

    def _row(self, line: Mapping[str, Any]) -> dict[str, Any]:
        key = line.get("key", line["row"])
        whole = {**line, "job": self._job, "key": key if self._numbered else str(key)}
        fields = flat(whole, FIXED)
        return {
            one.name: _value(self._table.c[one.name], fields.get(one.name)) for one in self._wanted
        }


def _columns(reply: Codec, *, numbered: bool) -> list[Column[Any]]:
    types: dict[str, Any] = {
        "job": Text(), "key": BigInteger() if numbered else Text(), "row": BigInteger(),
        "call_id": Text(), "status": Text(), "route": Text(), "reason": Text(),
        "cost": Float(53), "error": Text(),
    }  # fmt: skip
    properties = request_schema(reply).get("properties")
    if properties is None:
        types["reply"] = Text()
    else:
        for name, schema in properties.items():
            types[name if name not in FIXED else f"reply_{name}"] = _type(schema)
    return [Column(name, kind, nullable=name not in NAMED_BY) for name, kind in types.items()]


def _type(schema: Mapping[str, Any]) -> Any:  # of a column
    kinds = {one.get("type") for one in (schema, *schema.get("anyOf", ()))} - {None, "null"}
    return _TYPES.get(str(next(iter(kinds))), Text()) if len(kinds) == 1 else Text()


def _value(column: Column[Any], value: Any) -> Any:
    if isinstance(column.type, JSON) or value is None:
        return value
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    if isinstance(column.type, Text) and not isinstance(value, str):
        return msgspec.json.encode(value).decode()  # a field that may be of several types
    # PostgreSQL holds no NUL in a text.
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _unique(engine: Engine, schema: str | None, name: str) -> list[list[str]]:
    inspector = inspect(engine)
    found = [inspector.get_pk_constraint(name, schema=schema)["constrained_columns"]]
    found += [one["column_names"] for one in inspector.get_unique_constraints(name, schema)]
    return [list(one) for one in found]
