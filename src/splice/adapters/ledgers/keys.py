"""API keys, budgets, and what was spent, in SQL."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, func, insert, select, update

from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.tables import api_keys, budgets, calls, counters, kinds
from splice.core.access import Budget, BudgetScope, Change, Grant, Key, Period
from splice.ports.keys import Access, Spending

_CALLER, _SERVICE = "key:", "service:"
_LISTS = ("integrations", "models", "addresses")
_FIXED = ("id", "created_us", "by", "revoked_us")  # what a change leaves as it is
_WORDS = msgspec.json.Decoder(tuple[str, ...])
_GRANTS = msgspec.json.Decoder(tuple[Grant, ...])
_SECRETS = ("digest", "former")  # of no use to whoever reads the audit log
_NOBODY = "unknown"
_generation = counters.c.name == "access"


class SqlKeys:
    """A KeyStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_key(self, key: Key, change: Change | None = None) -> None:
        """Store a new key."""
        with self._database.write() as connection:
            _changed(connection)
            new = self._database.insert_new(api_keys).values(_columns(key))
            if connection.execute(new.returning(api_keys.c.id)).first() is None:
                raise self._database.place.error(
                    f"a second key {key.id}", "make it anew: each gets an id of its own"
                )
            self._told(connection, "key.create", f"key {key.id}", change, None, _shown(key))

    def key(self, key_id: str) -> Key | None:
        """One key, revoked or not, or None."""
        with self._database.read() as connection:
            return _one(connection, key_id)

    def update_key(self, key: Key, change: Change | None = None) -> Key:
        """Change what a key may do, or its digest."""
        changed = {name: value for name, value in _columns(key).items() if name not in _FIXED}
        with self._database.write() as connection:
            _changed(connection)
            before = self._stored(connection, key.id)
            connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(changed))
            stored = self._stored(connection, key.id)
            action = "key.change" if before.digest == stored.digest else "key.rotate"
            old, new = _shown(before), _shown(stored)
            self._told(connection, action, f"key {key.id}", change, old, new)
            return stored

    def revoke_key(self, key_id: str, now_us: int, change: Change | None = None) -> Key:
        """End a key for good; the first time counts."""
        this = (api_keys.c.id == key_id, api_keys.c.revoked_us.is_(None))
        with self._database.write() as connection:
            _changed(connection)
            before = self._stored(connection, key_id)
            connection.execute(update(api_keys).where(*this).values(revoked_us=now_us))
            stored = self._stored(connection, key_id)
            if before.revoked_us is None:
                change = change or Change(_NOBODY, now_us)
                old, new = _shown(before), _shown(stored)
                self._told(connection, "key.revoke", f"key {key_id}", change, old, new)
            return stored

    def put_budget(self, budget: Budget, change: Change | None = None) -> None:
        """Set a budget; there is one for each scope, name and period."""
        amount = {"amount_nano": budget.amount_nano}
        with self._database.write() as connection:
            _changed(connection)  # and so nobody else writes between the next two
            before = connection.execute(select(budgets).where(*_this(budget))).one_or_none()
            if before is not None:
                connection.execute(update(budgets).where(*_this(budget)).values(amount))
            else:
                names = {
                    "scope": budget.scope.value,
                    "of": budget.of,
                    "period": budget.period.value,
                }
                connection.execute(insert(budgets).values({**names, **amount}))
            old = None if before is None else _budget(before)
            self._told(connection, "budget.set", _whose(budget), change, old, budget)

    def delete_budget(self, budget: Budget, change: Change | None = None) -> bool:
        """Take a budget away, whatever its amount; False where there is none."""
        with self._database.write() as connection:
            _changed(connection)
            row = connection.execute(select(budgets).where(*_this(budget))).one_or_none()
            if row is None:
                return False
            connection.execute(budgets.delete().where(*_this(budget)))
            self._told(connection, "budget.delete", _whose(budget), change, _budget(row), None)
            return True

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
            if row.caller.startswith((_CALLER, _SERVICE)):
                # What stands for the key of a service is called as its caller is.
                key_id = row.caller.removeprefix(_CALLER)
                by_key[key_id] += amount
                if team := teams.get(key_id):
                    by_team[team] += amount
        return Spending(dict(by_key), dict(by_team), dict(by_integration), total)

    def _told(
        self, connection: Connection, action: str, subject: str, change: Change | None,
        before: Any, after: Any,  # what JSON is made of
    ) -> None:  # fmt: skip
        change = change or Change(_NOBODY, time.time_ns() // 1000)
        append_event(
            self._database, connection, action, subject, by=change.by, now_us=change.at_us,
            why=change.why, before=msgspec.to_builtins(before), after=msgspec.to_builtins(after),
        )  # fmt: skip

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
    for name in (*_LISTS, "grants"):
        values[name] = msgspec.json.encode(values[name]).decode()
    return values


def _shown(key: Key) -> dict[str, Any]:  # JSON
    """A key as the audit log shows it."""
    return {name: value for name, value in msgspec.to_builtins(key).items() if name not in _SECRETS}


def _whose(budget: Budget) -> str:
    return f"budget {budget.scope} {budget.of}".strip()


def _key(row: Row[Any]) -> Key:  # a row of `api_keys`
    values: dict[str, Any] = dict(row._mapping)  # pyright: ignore[reportPrivateUsage]
    for name in _LISTS:
        values[name] = _WORDS.decode(values[name])
    values["grants"] = _GRANTS.decode(values["grants"])
    return Key(**values)


def _budget(row: Row[Any]) -> Budget:  # a row of `budgets`
    return Budget(BudgetScope(row.scope), row.of, Period(row.period), row.amount_nano)
