"""API keys, budgets, and what was spent, in SQL."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, func, insert, select, update

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.tables import api_keys, budgets, calls, counters, kinds
from splice.core.access import Budget, BudgetScope, Key, Period
from splice.ports.keys import Access, Spending

_CALLER = "key:"
_LISTS = ("integrations", "models", "addresses")
_FIXED = ("id", "created_us", "by", "revoked_us")  # what a change leaves as it is
_WORDS = msgspec.json.Decoder(tuple[str, ...])
_generation = counters.c.name == "access"


class SqlKeys:
    """A KeyStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_key(self, key: Key) -> None:
        """Store a new key."""
        with self._database.write() as connection:
            _changed(connection)
            new = self._database.insert_new(api_keys).values(_columns(key))
            if connection.execute(new.returning(api_keys.c.id)).first() is None:
                raise self._database.place.error(
                    f"a second key {key.id}", "make it anew: each gets an id of its own"
                )

    def key(self, key_id: str) -> Key | None:
        """One key, revoked or not, or None."""
        with self._database.read() as connection:
            return _one(connection, key_id)

    def update_key(self, key: Key) -> Key:
        """Change what a key may do, or its digest."""
        changed = {name: value for name, value in _columns(key).items() if name not in _FIXED}
        with self._database.write() as connection:
            _changed(connection)
            self._stored(connection, key.id)
            connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(changed))
            return self._stored(connection, key.id)

    def revoke_key(self, key_id: str, now_us: int) -> Key:
        """End a key for good; the first time counts."""
        this = (api_keys.c.id == key_id, api_keys.c.revoked_us.is_(None))
        with self._database.write() as connection:
            _changed(connection)
            connection.execute(update(api_keys).where(*this).values(revoked_us=now_us))
            return self._stored(connection, key_id)

    def put_budget(self, budget: Budget) -> None:
        """Set a budget; there is one for each scope, name and period."""
        amount = {"amount_nano": budget.amount_nano}
        with self._database.write() as connection:
            _changed(connection)  # and so nobody else writes between the next two
            this = update(budgets).where(*_this(budget))
            if not connection.execute(this.values(amount)).rowcount:
                names = {
                    "scope": budget.scope.value,
                    "of": budget.of,
                    "period": budget.period.value,
                }
                connection.execute(insert(budgets).values({**names, **amount}))

    def delete_budget(self, budget: Budget) -> bool:
        """Take a budget away, whatever its amount; False where there is none."""
        with self._database.write() as connection:
            _changed(connection)
            return bool(connection.execute(budgets.delete().where(*_this(budget))).rowcount)

    def generation(self) -> int:
        """A number that grows with every change."""
        with self._database.read() as connection:
            return _now(connection)

    def access(self) -> Access:
        """Everything. What changes meanwhile may be in it, but not yet in its generation."""
        with self._database.read() as connection:
            # The number first: a change after it is read again at the next look.
            number = _now(connection)
            keys = tuple(_key(row) for row in connection.execute(_ALL_KEYS))
            given = tuple(_budget(row) for row in connection.execute(_ALL_BUDGETS))
        return Access(number, keys, given)

    def spending(self, since_us: int) -> Spending:
        """What the calls cost that were asked since then."""
        cost = func.sum(calls.c.cost_nano).label("cost")
        by = (calls.c.caller, calls.c.kind)
        costs = (
            select(*by, cost)
            .where(calls.c.asked_us >= since_us, calls.c.cost_nano.is_not(None))
            .group_by(*by)
        )
        names = select(kinds.c.id, kinds.c.integration)
        with self._database.read() as connection:
            rows = connection.execute(costs).all()
            integrations = {row.id: row.integration for row in connection.execute(names)}
            teams = {row.id: row.team for row in connection.execute(_ALL_KEYS)}
        by_key: dict[str, int] = defaultdict(int)
        by_team: dict[str, int] = defaultdict(int)
        by_integration: dict[str, int] = defaultdict(int)
        total = 0
        for row in rows:
            amount = int(row.cost)
            total += amount
            by_integration[integrations[row.kind]] += amount
            if row.caller.startswith(_CALLER):
                key_id = row.caller.removeprefix(_CALLER)
                by_key[key_id] += amount
                if team := teams.get(key_id):
                    by_team[team] += amount
        return Spending(dict(by_key), dict(by_team), dict(by_integration), total)

    def _stored(self, connection: Connection, key_id: str) -> Key:
        key = _one(connection, key_id)
        if key is None:
            raise self._database.place.error(
                f"no key {key_id}", "name one that `splice keys list` shows"
            )
        return key


_ALL_KEYS = select(api_keys).order_by(api_keys.c.created_us, api_keys.c.id)
_ALL_BUDGETS = select(budgets).order_by(budgets.c.scope, budgets.c.of, budgets.c.period)


def _changed(connection: Connection) -> None:
    """Counts a change.

    First in its transaction: writers then come one after the other, and the order of the numbers
    is that in which their changes can be seen.
    """
    connection.execute(update(counters).where(_generation).values(next=counters.c.next + 1))


def _now(connection: Connection) -> int:
    return connection.execute(select(counters.c.next).where(_generation)).scalar_one()


def _one(connection: Connection, key_id: str) -> Key | None:
    query: Select[Any] = select(api_keys).where(api_keys.c.id == key_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _key(row)


def _this(budget: Budget) -> tuple[Any, ...]:  # SQLAlchemy's own types
    return (
        budgets.c.scope == budget.scope.value,
        budgets.c.of == budget.of,
        budgets.c.period == budget.period.value,
    )


def _columns(key: Key) -> dict[str, Any]:  # what the driver takes
    values = msgspec.structs.asdict(key)
    for name in _LISTS:
        values[name] = msgspec.json.encode(values[name]).decode()
    return values


def _key(row: Row[Any]) -> Key:  # a row of `api_keys`
    values: dict[str, Any] = dict(row._mapping)  # pyright: ignore[reportPrivateUsage]
    for name in _LISTS:
        values[name] = _WORDS.decode(values[name])
    return Key(**values)


def _budget(row: Row[Any]) -> Budget:  # a row of `budgets`
    return Budget(BudgetScope(row.scope), row.of, Period(row.period), row.amount_nano)
