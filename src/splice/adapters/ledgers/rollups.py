"""Rollups of calls in SQL: batches are added once, and spans that are no longer kept forgotten."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from sqlalchemy import Connection

from splice.adapters.ledgers.database import Database, Into
from splice.adapters.ledgers.kinds import Kinds
from splice.adapters.ledgers.labels import Unscored
from splice.adapters.ledgers.reviewing import Reviewing
from splice.adapters.ledgers.rolled import RolledUp
from splice.adapters.ledgers.tables import without_nul
from splice.adapters.ledgers.unrolled import Token, Unrolled
from splice.core.histograms import pack, unpack_into
from splice.core.rollups import (
    CALLER_HOURS_KEPT_S,
    DAY_S,
    HOUR_S,
    MINUTE_S,
    MINUTES_KEPT_S,
    PROFILE_HOURS_KEPT_S,
    CallerKey,
    ProfileKey,
    SpentKey,
)
from splice.ports.rollups import Batch, Damage, Rolled, TimedKey

T = TypeVar("T", TimedKey, SpentKey, CallerKey, ProfileKey)
V = TypeVar("V")
Key: TypeAlias = "tuple[Any, ...]"  # values of the columns of a primary key

_KEPT = "SELECT name, since_s FROM roll_kept"
_KEEP = """
INSERT INTO roll_kept (name, since_s) VALUES (:name, :since)
ON CONFLICT (name) DO UPDATE SET since_s = excluded.since_s
WHERE excluded.since_s > roll_kept.since_s
"""
_DAMAGED = "SELECT call_id, at_us, why FROM roll_damage ORDER BY at_us DESC, call_id LIMIT :limit"
_WAITING = "SELECT count(*) FROM (SELECT 1 FROM unrolled LIMIT 100000) w"

_GRACE_S = HOUR_S
"""Spans are told to be no longer whole so long before they go: who reads just then, reads all."""

_FORGOTTEN = {  # which spans of which tables are forgotten after how many seconds
    "minutes": (MINUTE_S, MINUTES_KEPT_S, ("roll_series", "roll_latency", "roll_cost")),
    "caller_hours": (HOUR_S, CALLER_HOURS_KEPT_S, ("roll_callers",)),
    "profile_hours": (HOUR_S, PROFILE_HOURS_KEPT_S, ("roll_profile",)),
}
_OF_A_TABLE = {
    ("roll_series", MINUTE_S): "minutes",
    ("roll_latency", MINUTE_S): "minutes",
    ("roll_cost", MINUTE_S): "minutes",
    ("roll_callers", HOUR_S): "caller_hours",
    ("roll_profile", HOUR_S): "profile_hours",
}
_MOST_FORGOTTEN = 5000  # rows in one transaction, which others wait for

_TEXT, _INT, _BIG, _BYTES = "text", "int", "bigint", "bytea"
_ADDED = {
    "roll_series": (("span", "kind", "start_s"), ("calls", "cost_nano", "costed", "duration_us")),
    "roll_cost": (
        ("span", "integration", "start_s", "release", "variant", "route", "version", "ended"),
        ("calls", "attempts", "cost_nano", "costed", "input_tokens", "output_tokens",
         "cached_tokens", "latency_us"),
    ),
    "roll_callers": (
        ("span", "integration", "start_s", "release", "variant", "caller"),
        ("calls", "attempts", "cost_nano", "costed", "input_tokens", "output_tokens",
         "cached_tokens"),
    ),
    "roll_latency": (
        ("span", "integration", "start_s", "release", "variant", "route"),
        ("durations", "first_tokens"),
    ),
    "roll_profile": (
        ("span", "integration", "start_s", "release", "variant", "segment", "field"), ("body",),
    ),
}  # fmt: skip
_TYPES = {
    "span": _INT, "kind": _INT, "release": _INT, "integration": _TEXT, "variant": _TEXT,
    "route": _TEXT, "version": _TEXT, "caller": _TEXT, "ended": _TEXT, "segment": _TEXT,
    "field": _TEXT, "durations": _BYTES, "first_tokens": _BYTES, "body": _BYTES,
}  # fmt: skip
_MOST = 1 << 57
"""No sum grows much beyond: what callers or clocks made up must not stop the others' counting."""
_LONGEST = 240  # characters of a key, which an index of PostgreSQL can hold

_SUMS = frozenset({"roll_series", "roll_cost", "roll_callers"})


def _into(table: str, least: str) -> Into:
    keys, values = _ADDED[table]
    old = f"{least}({table}.{{0}}, {_MOST}) + " if table in _SUMS else ""
    changes = ", ".join(f"{name} = {old.format(name)}excluded.{name}" for name in values)
    columns = tuple((name, _TYPES.get(name, _BIG)) for name in (*keys, *values))
    return Into(table, columns, then=f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}")


_DAMAGE = Into(
    "roll_damage", (("call_id", "uuid"), ("at_us", _BIG), ("why", _TEXT)), or_ignore=True
)


class SqlRollups(RolledUp):
    """A RollupStore in SQL.

    What is added is added once because the rows of `unrolled` go in the same transaction: whoever
    comes second finds them gone, and undoes all.
    """

    def __init__(self, database: Database, unscored: Unscored, reviewing: Reviewing) -> None:
        super().__init__(database)
        self._unscored = unscored
        self._reviewing = reviewing
        self._kinds = Kinds(database)
        self._unrolled = Unrolled(database)
        self._into = {table: _into(table, database.least) for table in _ADDED}

    def take(self, limit: int) -> Batch | None:
        """About so many calls that are in no rollup yet, or None where there are none."""
        return self._unrolled.take(limit)

    def add(
        self,
        batch: Batch,
        rolled: Rolled,
        merge_profiles: Callable[[bytes, bytes], bytes],
        now_us: int = 0,
    ) -> bool:
        """Add what a batch came to, and take its calls off; False where another did it."""
        token = cast("Token", batch.token)
        with self._database.place.errors():
            # Numbers of kinds are learnt before: that may take a transaction of its own.
            counted = {
                (span, self._kinds.number(kind), start): values
                for (span, start, kind), values in rolled.counted.items()
            }
        spent, callers = _keyed(rolled.spent, _plus), _keyed(rolled.callers, _plus)
        try:
            with self._database.write() as connection:
                self._database.lock(connection, "rollups")
                if not self._unrolled.off(connection, token):
                    raise _Overtaken
                kept = self._kept(connection)
                self._sum(connection, "roll_series", counted, kept)
                self._sum(connection, "roll_cost", spent, kept)
                self._sum(connection, "roll_callers", callers, kept)
                self._time(connection, rolled, kept)
                self._profile(connection, rolled, kept, merge_profiles)
                self._set_aside(connection, batch.damaged, now_us)
                self._unscored.put(connection, batch.records)
                self._reviewing.put(connection, batch.records, now_us)
        except _Overtaken:
            return False
        return True

    def waiting(self) -> int:
        """How many blocks of calls are in no rollup yet, as far as 100,000."""
        with self._database.read() as connection:
            return int(connection.exec_driver_sql(_WAITING).scalar_one())

    def prune(self, now_us: int) -> bool:
        """Forget spans that are no longer kept; says whether there is more to forget."""
        now_s, more = now_us // 1_000_000, False
        keep = self._database.sql(_KEEP)
        for name, (span, kept_s, tables) in _FORGOTTEN.items():
            # Whole days, or hours: the next longer span must take over where this one ends.
            longer = DAY_S if span == HOUR_S else HOUR_S
            since = (now_s - kept_s) // longer * longer
            if since <= 0:
                continue
            with self._database.write() as connection:
                connection.exec_driver_sql(keep, {"name": name, "since": since})
            for table in tables:
                more = self._forget(table, span, since - _GRACE_S) or more
        return more

    def kept_since(self) -> Mapping[str, int]:
        """The first start, in Unix seconds, from which on spans are whole."""
        with self._database.read() as connection:
            return self._kept(connection)

    def damaged(self, limit: int = 100) -> Sequence[Damage]:
        """Calls that could not be taken whole, newest first."""
        query = self._database.sql(_DAMAGED)
        with self._database.read() as connection:
            rows = self._database.rows(connection, query, {"limit": limit}, "uvv")
        return [Damage(*row) for row in rows]

    def _kept(self, connection: Connection) -> dict[str, int]:
        rows = self._database.rows(connection, _KEPT, {}, "vv")
        return {str(row[0]): int(row[1]) for row in rows}

    def _forget(self, table: str, span: int, before: int) -> bool:
        keys = ", ".join(_ADDED[table][0])
        some = f"SELECT {keys} FROM {table} WHERE span = :span AND start_s < :before LIMIT :limit"  # noqa: S608
        statement = self._database.sql(f"DELETE FROM {table} WHERE ({keys}) IN ({some})")  # noqa: S608
        params = {"span": span, "before": before, "limit": _MOST_FORGOTTEN}
        with self._database.write() as connection:
            self._database.lock(connection, "rollups")
            return self._database.run(connection, statement, params) == _MOST_FORGOTTEN

    def _sum(
        self,
        connection: Connection,
        table: str,
        rows: Mapping[Key, Sequence[int]],
        kept: Mapping[str, int],
    ) -> None:
        values: list[Any] = []
        for key, numbers in rows.items():
            if _whole(table, key, kept):
                values += key
                values += [max(-_MOST, min(number, _MOST)) for number in numbers]
        self._database.insert_rows(connection, self._into[table], values)

    def _time(self, connection: Connection, rolled: Rolled, kept: Mapping[str, int]) -> None:
        every, streamed = _keyed(rolled.durations, _joined), _keyed(rolled.first_tokens, _joined)
        keys = [key for key in every if _whole("roll_latency", key, kept)]
        values: list[Any] = []
        stored = self._stored(connection, "roll_latency", keys)
        for key in keys:
            durations, first_tokens = dict(every[key]), dict(streamed.get(key, {}))
            if key in stored:
                unpack_into(durations, [stored[key][0]])
                unpack_into(first_tokens, [stored[key][1]])
            values += (*key, pack(durations), pack(first_tokens))
        self._database.insert_rows(connection, self._into["roll_latency"], values)

    def _profile(
        self,
        connection: Connection,
        rolled: Rolled,
        kept: Mapping[str, int],
        merge: Callable[[bytes, bytes], bytes],
    ) -> None:
        parts = _keyed(rolled.profiles, operator.add)
        parts = {key: bodies for key, bodies in parts.items() if _whole("roll_profile", key, kept)}
        values: list[Any] = []
        stored = self._stored(connection, "roll_profile", [*parts])
        for key, bodies in parts.items():
            body = stored[key][0] if key in stored else b""
            for more in bodies:
                body = merge(body, more) if body else more
            values += (*key, body)
        self._database.insert_rows(connection, self._into["roll_profile"], values)

    def _stored(
        self, connection: Connection, table: str, keys: Sequence[Key]
    ) -> dict[Key, Sequence[bytes]]:
        """What the table has under these keys."""
        names, columns = _ADDED[table]
        found: dict[Key, Sequence[bytes]] = {}
        width = len(names)
        for start in range(0, len(keys), 512):
            some = keys[start : start + 512]
            among, params = self._database.among_rows([_TYPES.get(n, _BIG) for n in names], some)
            query = (
                f"SELECT {', '.join((*names, *columns))} FROM {table} "  # noqa: S608
                f"WHERE ({', '.join(names)}) {among}"
            )
            kinds = "v" * width + "b" * len(columns)
            for row in self._database.rows(connection, query, params, kinds):
                found[tuple(row[:width])] = row[width:]
        return found

    def _set_aside(self, connection: Connection, damaged: Mapping[str, str], now_us: int) -> None:
        values: list[Any] = []
        for call_id, why in damaged.items():
            values += (call_id, now_us, without_nul(why))
        self._database.insert_rows(connection, _DAMAGE, values)


class _Overtaken(Exception):
    """Another took these calls off meanwhile: nothing is added."""


def _keyed(rolled: Mapping[tuple[int, int, T], V], plus: Callable[[V, V], V]) -> dict[Key, V]:
    """By the key of the table, as it is stored."""
    found: dict[Key, V] = {}
    for (span, start, key), value in rolled.items():
        words = [_key_word(word) if isinstance(word, str) else word for word in key]
        row = (span, words[0], start, *words[1:])
        found[row] = plus(found[row], value) if row in found else value
    return found


def _key_word(word: str) -> str:
    """No NUL, and not longer than it may be; long ones that differ stay apart."""
    word = without_nul(word)
    if len(word) <= _LONGEST:
        return word
    digest = hashlib.sha256(word.encode("utf-8", "replace")).hexdigest()[:12]
    return f"{word[: _LONGEST - 13]}…{digest}"


def _plus(one: list[int], other: list[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]


def _joined(one: dict[int, int], other: dict[int, int]) -> dict[int, int]:
    return {bucket: one.get(bucket, 0) + other.get(bucket, 0) for bucket in one | other}


def _whole(table: str, key: Key, kept: Mapping[str, int]) -> bool:
    """Whether spans of that age are kept at all."""
    name = _OF_A_TABLE.get((table, key[0]))
    return name is None or key[2] >= kept.get(name, 0)
