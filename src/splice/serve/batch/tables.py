"""Tables: rows from a database, in the order of a key, a page at a time behind the last one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias, cast
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import (
    FromClause,
    Select,
    TextClause,
    bindparam,
    column,
    func,
    literal,
    select,
    table,
    text,
)  # fmt: skip
from sqlalchemy.engine import Engine
from sqlalchemy.engine.reflection import Inspector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import NullType

from splice.core.errors import InputMismatch, MalformedBody, SettingsError
from splice.declare.codec import Codec
from splice.serve.batch.databases import Place, connect, found, said
from splice.serve.batch.rows import Input, Last, Row, check_columns, is_broken, request_schema

PAGE = 1000

Key: TypeAlias = "int | str | UUID | date | Decimal"  # a datetime is a date


class Bounds(msgspec.Struct, frozen=True):
    """The last key that belongs to a job, and what kind of value keys are; none of no rows."""

    until: int | str | None
    kind: str


class TableRows:
    """The rows of a table or a query; see `Rows`.

    Those are read whose keys were there, or could have been, when the job began: up to the highest
    key of then. Each page is read by itself, so that no lock and no snapshot is held for long, and
    a row is asked as it is when its page is read.

    Args:
        place: Where they are.
        request: The request type.
        where: Path of the input in errors.
        query: A SELECT, instead of a table.
        ignore_extra: Leave out columns that the request type has not, instead of refusing them;
            the key may be one in any case.

    Raises:
        SettingsError: The database, the table or the key is not there, or the key is no key.
        StoreError: The database cannot be reached.
    """

    def __init__(
        self,
        place: Place,
        request: Codec,
        where: str,
        *,
        query: str = "",
        ignore_extra: bool = False,
    ) -> None:
        self._engine = connect(place, read_only=True)
        self._place = place
        self._query = query.strip().rstrip(";")
        self._request = request
        self._where = where
        self.name = place.shown
        inspector = None if query else found(place, self._engine)
        columns = self._columns(inspector)
        self._key, self._is_unique = _key_of(place, inspector, columns)
        properties = request_schema(request).get("properties", {})
        fit = [name for name in columns if name in properties or name != self._key]
        check_columns(self.name, fit, request, extra_is_fine=ignore_extra)
        self._fields = {name: properties[name] for name in columns if name in properties}
        self._until = self._highest()

    @property
    def keys_are_numbers(self) -> bool:
        """See `Rows`."""
        return isinstance(self._until, int)

    def begin(self) -> Input:
        """See `Rows`."""
        wanted = [self.name, self._query, self._key, *self._fields]
        digest = hashlib.sha256(msgspec.json.encode(wanted)).hexdigest()
        until = None if self._until is None else _plain(self._until)
        bounds = Bounds(until, type(self._until).__name__)
        return Input(self.name, 0, digest, msgspec.to_builtins(bounds))

    def read(self, begun: Input, after: Last | None) -> Iterator[Row]:
        """See `Rows`."""
        if begun.bounds is UNSET:
            return
        bounds = msgspec.convert(begun.bounds, Bounds)
        if bounds.until is None:
            return
        until = _key_from(bounds.until, bounds.kind)
        number, last = (0, None) if after is None else (after.number + 1, after.key)
        total = number + self._count(last, until, bounds.kind)
        while True:
            page = self._page(None if last is None else _key_from(last, bounds.kind), until)
            for *_, key in page:
                plain = self._checked(key)
                if plain == last:
                    raise self._twice(plain)
                last = plain
            for values in page:
                done = min(1.0, (number + 1) / max(1, total))
                yield self._row(
                    number,
                    _plain(values[-1]),
                    dict(zip(self._fields, values[:-1], strict=True)),
                    done,
                )
                number += 1
            if len(page) < PAGE:
                return

    def end(self, begun: Input) -> None:
        """See `Rows`: a table may change."""

    def _row(self, number: int, key: int | str, values: Mapping[str, Any], done: float) -> Row:
        at = f"{self._where}[{key}]"
        try:
            row: dict[str, Any] = {}
            for name, value in values.items():
                if value is not None:  # a missing value, as the empty cell of a CSV
                    row[name] = self._value(f"{at}.{name}", self._fields[name], value)
            return Row(number, self._request.encode(self._request.convert(row, at)), done, key=key)
        except (InputMismatch, MalformedBody) as error:
            return Row(number, b"", done, error, key)

    def _value(self, at: str, schema: Mapping[str, Any], value: Any) -> Any:
        """A column's value as the field of the request wants it: the types of two worlds differ."""
        if isinstance(value, str) and is_broken(value):
            raise MalformedBody(at, got="bytes that are not UTF-8", promised="UTF-8")
        kinds = [schema, *schema.get("anyOf", ())]
        if isinstance(value, Decimal) and all(one.get("format") != "decimal" for one in kinds):
            is_whole = value.is_finite() and value == value.to_integral_value()
            return int(value) if is_whole else float(value)
        if self._place.kind == "sqlite" and value in (0, 1):  # it has no booleans
            types = {one.get("type") for one in kinds}
            return (
                bool(value) if "boolean" in types and not types & {"integer", "number"} else value
            )
        return value

    def _columns(self, inspector: Inspector | None) -> list[str]:
        try:
            if inspector is not None:
                schema, name = self._place.named
                return [one["name"] for one in inspector.get_columns(name, schema=schema)]
            with self._engine.connect() as connection:
                nothing = select(literal(1)).where(literal(1) == 0).exists()
                statement = select(text("*")).select_from(self._source).where(nothing)
                names = list(connection.execute(statement).keys())
        except SQLAlchemyError as error:
            raise SettingsError(
                "--query", got=str(said(self._place, error).detail), promised="a SELECT"
            ) from None
        if len(set(names)) != len(names):
            raise SettingsError(
                "--query", got=f"the columns {', '.join(names)}"[:300], promised="each name once"
            )
        return names

    @property
    def _source(self) -> FromClause | TextClause:
        if not self._query:
            schema, name = self._place.named
            return table(name, schema=schema)
        return text(f"({self._query.replace(':', chr(92) + ':')}) AS asked")

    def _highest(self) -> Key | None:
        """The highest key; None where there are no rows.

        Raises:
            SettingsError: A key is NULL, or is there twice.
        """
        key = _column(self._key)
        source = self._source
        with self._reading() as rows_of:
            if rows_of(select(literal(1)).select_from(source).where(key.is_(None)).limit(1)):
                raise SettingsError(
                    self.name, got=f"rows whose {self._key} is NULL",
                    promised="a key that names each row", mend="leave them out with --query",
                )  # fmt: skip
            if not self._is_unique:
                many = select(key).select_from(source).group_by(key).having(func.count() > 1)
                if twice := rows_of(many.limit(1)):
                    raise self._twice(twice[0][0])
            highest = rows_of(select(key).select_from(source).order_by(key.desc()).limit(1))
        if not highest:
            return None
        self._checked(highest[0][0])
        return cast("Key", highest[0][0])

    def _count(self, last: int | str | None, until: Key, kind: str) -> int:
        statement = select(func.count()).select_from(self._source)
        statement = self._between(statement, None if last is None else _key_from(last, kind), until)
        with self._reading() as rows_of:
            return rows_of(statement)[0][0]

    def _page(self, last: Key | None, until: Key) -> list[Any]:
        key = _column(self._key)
        names = [_column(name) for name in self._fields]
        columns = cast("Select[Any]", select(*names, key.label("splice_key")))
        statement = columns.select_from(self._source)
        with self._reading() as rows_of:
            return rows_of(self._between(statement, last, until).order_by(key).limit(PAGE))

    def _between(self, statement: Select[Any], last: Key | None, until: Key) -> Select[Any]:
        key = _column(self._key)
        # Without a type the value goes as the driver has it, and the database compares like keys.
        if last is not None:
            statement = statement.where(key > bindparam("last", last, NullType()))
        return statement.where(key <= bindparam("until", until, NullType()))

    def _reading(self) -> _Reading:
        return _Reading(self._place, self._engine)

    def _checked(self, key: Any) -> int | str:
        if isinstance(key, bool) or not isinstance(key, (int, str, UUID, date, Decimal)):
            raise SettingsError(
                self.name,
                got=f"a key {self._key} of type {type(key).__name__}",
                promised="whole numbers, texts, UUIDs, dates, times or decimals",
            )
        if isinstance(key, str) and is_broken(key):
            raise SettingsError(self.name, got=f"a key {self._key} that is not UTF-8")
        return _plain(key)

    def _twice(self, key: object) -> SettingsError:
        return SettingsError(
            self.name,
            got=f"more than one row whose {self._key} is {str(key)[:100]}",
            promised="a key that names each row",
            mend="name another column: …?key=NAME",
        )


class _Reading:
    """One connection, for as long as a page takes."""

    def __init__(self, place: Place, engine: Engine) -> None:
        self._place = place
        self._engine = engine

    def __enter__(self) -> Any:  # a function from a SELECT to its rows
        try:
            self._connection = self._engine.connect()
        except SQLAlchemyError as error:
            raise said(self._place, error) from None
        return self._rows

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _rows(self, statement: Select[Any]) -> list[Any]:
        try:
            return list(self._connection.execute(statement).fetchall())
        except SQLAlchemyError as error:
            raise said(self._place, error) from None


def _key_of(place: Place, inspector: Inspector | None, columns: list[str]) -> tuple[str, bool]:
    """The column that names the rows, and whether the database keeps it unique."""
    if inspector is None:
        if place.key not in columns:
            raise SettingsError(
                "--query", got=f"no column {place.key}" if place.key else "no key",
                promised="a column that names each row", mend="name it in the URL: …?key=id",
            )  # fmt: skip
        return place.key, False
    schema, name = place.named
    try:
        primary = inspector.get_pk_constraint(name, schema=schema)["constrained_columns"]
        unique = [primary]
        unique += [one["column_names"] for one in inspector.get_unique_constraints(name, schema)]
        unique += [
            one["column_names"]
            for one in inspector.get_indexes(name, schema)
            if one["unique"] and not one.get("dialect_options", {}).get(f"{place.kind}_where")
        ]
    except SQLAlchemyError as error:
        raise said(place, error) from None
    key = place.key or (primary[0] if len(primary) == 1 else "")
    if key not in columns:
        raise SettingsError(
            place.shown,
            got=f"no column {key}" if key else "no single primary key",
            promised="a column that names each row",
            mend="name it in the URL: …&key=id",
        )
    return key, [key] in unique


def _column(name: str) -> Any:
    """A column of whatever type: values come as the driver has them."""
    return cast("Any", column(name))


def _plain(key: Key) -> int | str:
    """A key as JSON has it, the same in every session."""
    if isinstance(key, datetime):
        return (key if key.tzinfo is None else key.astimezone(UTC)).isoformat()
    if isinstance(key, date):
        return key.isoformat()
    return key if isinstance(key, (int, str)) else str(key)


_KINDS: dict[str, Any] = {
    "UUID": UUID,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "Decimal": Decimal,
}


def _key_from(plain: int | str, kind: str) -> Key:
    """The key that `_plain` made it of."""
    return _KINDS[kind](plain) if kind in _KINDS else plain
