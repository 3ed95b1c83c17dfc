"""Numbers for the combinations of integration, release, status, route … that calls have in common.

A process learns each number once. The rows are never changed or deleted, so what is learnt stays
true; there are as many as the declarations allow, whatever callers do.
"""

from __future__ import annotations

import threading

from sqlalchemy import select

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.payloads import Kind
from splice.adapters.ledgers.tables import kinds
from splice.ports.stores import CallFilter

_COLUMNS = tuple(column for column in kinds.c if column.name != "id")


class Kinds:
    """Kind to number and back."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: dict[Kind, int] = {}
        self._kinds: dict[int, Kind] = {}
        self._learning = threading.Lock()

    def number(self, kind: Kind) -> int:
        """The number of a kind; a new one is stored first, in a transaction of its own."""
        found = self._numbers.get(kind)
        return found if found is not None else self._learn(kind)

    def kind(self, number: int) -> Kind:
        """The kind of a number."""
        found = self._kinds.get(number)
        if found is None:
            with self._database.read() as connection:
                row = connection.execute(select(*_COLUMNS).where(kinds.c.id == number)).one()
            found = self._kinds[number] = _kind(tuple(row))
        return found

    def matching(self, wanted: CallFilter) -> list[int] | None:
        """Numbers of the kinds that a filter allows; None where it allows all."""
        query = select(kinds.c.id)
        if wanted.integration is not None:
            query = query.where(kinds.c.integration == wanted.integration)
        if wanted.status is not None:
            query = query.where(kinds.c.status == wanted.status.value)
        if wanted.route is not None:
            query = query.where(kinds.c.route == wanted.route)
        if wanted.variant is not None:
            query = query.where(kinds.c.variant == wanted.variant)
        if wanted.reason is not None:
            query = query.where(kinds.c.reason == wanted.reason.value)
        if wanted.release is not None:
            query = query.where(kinds.c.release == wanted.release)
        if query.whereclause is None:
            return None
        with self._database.read() as connection:
            return [row.id for row in connection.execute(query)]

    def _learn(self, kind: Kind) -> int:
        values = {column.name: value for column, value in zip(_COLUMNS, _kind(kind), strict=True)}
        same = [column == values[column.name] for column in _COLUMNS]
        with self._learning:
            with self._database.write() as connection:
                connection.execute(self._database.insert_new(kinds), values)
                number = connection.execute(select(kinds.c.id).where(*same)).scalar_one()
            self._numbers[kind] = number
        return number


def _kind(values: tuple[str, int, str, str, str, str, str, str]) -> Kind:
    """The same with plain text: enumerations are text too, but drivers do not all think so."""
    integration, release, *rest = values
    status, reason, surface, route, variant, version = (str(word) for word in rest)
    return integration, release, status, reason, surface, route, variant, version
