"""Rollups read in SQL: sums over spans of time, one statement a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from splice.adapters.ledgers.database import Database
from splice.core.rollout import SHADOW
from splice.core.rollups import (
    Caller,
    Counted,
    Kind,
    Profiled,
    ProfileKey,
    Spent,
    SpentKey,
    Timed,
    Wanted,
)
from splice.ports.rollups import Piece

_KIND = "integration, release, status, reason, surface, route, variant, version"
_COUNTS = ("calls", "cost_nano", "costed", "duration_us")
_SPENT = (
    "calls", "attempts", "cost_nano", "costed", "input_tokens", "output_tokens", "cached_tokens",
    "latency_us",
)  # fmt: skip

_CALLED = _SPENT[:-1]


class RolledUp:
    """The part of a RollupStore that reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def counted(
        self, wanted: Wanted, pieces: Sequence[Piece], step_s: int = 0
    ) -> Sequence[Counted]:
        """Calls by kind within the pieces, and by step."""
        where, params = _restricted(wanted, ("integration", "release", "variant", "route"))
        kinds = f"kind IN (SELECT id FROM call_kinds{' WHERE ' + where if where else ''})"  # noqa: S608
        columns = f"kind, {_step(step_s)} AS step, {', '.join(_COUNTS)}"
        inner = _pieces("roll_series", columns, kinds, pieces, params)
        grouped = f"SELECT kind, step, {self._sums(_COUNTS)} FROM ({inner}) s GROUP BY kind, step"  # noqa: S608
        query = (
            f"SELECT {_KIND}, step, {', '.join(_COUNTS)} FROM ({grouped}) g "  # noqa: S608
            "JOIN call_kinds k ON k.id = g.kind"
        )
        rows = self._rows(query, pieces, params, "v" * 13)
        return [Counted(Kind(*row[:8]), *row[8:]) for row in rows]

    def timed(self, wanted: Wanted, pieces: Sequence[Piece], step_s: int = 0) -> Sequence[Timed]:
        """Latencies within the pieces; a key may come many times."""
        names = ("integration", "release", "variant", "route")
        where, params = _restricted(wanted, names)
        columns = f"{', '.join(names)}, {_step(step_s)} AS step, durations, first_tokens"
        query = _pieces("roll_latency", columns, _of(wanted, where), pieces, params)
        return [Timed(*row) for row in self._rows(query, pieces, params, "vvvvvbb")]

    def spent(self, wanted: Wanted, pieces: Sequence[Piece], step_s: int = 0) -> Sequence[Spent]:
        """Attempts within the pieces, and by step."""
        where, params = _restricted(wanted, ("integration", "release", "variant", "route"))
        names = "integration, release, variant, route, version, ended"
        columns = f"{names}, {_step(step_s)} AS step, {', '.join(_SPENT)}"
        inner = _pieces("roll_cost", columns, _of(wanted, where), pieces, params)
        query = (
            f"SELECT {names}, step, {self._sums(_SPENT)} FROM ({inner}) s GROUP BY {names}, step"  # noqa: S608
        )
        rows = self._rows(query, pieces, params, "v" * 15)
        return [Spent(SpentKey(*row[:6]), *row[6:]) for row in rows]

    def callers(self, wanted: Wanted, pieces: Sequence[Piece]) -> Sequence[Caller]:
        """By caller, most calls first; shadow calls only where `wanted` names them."""
        where, params = _restricted(wanted, ("integration", "release", "variant"))
        if wanted.variant is None:
            where = f"{where} AND variant <> :shadow" if where else "variant <> :shadow"
            params["shadow"] = SHADOW
        columns = f"caller, {', '.join(_CALLED)}"
        inner = _pieces("roll_callers", columns, _of(wanted, where), pieces, params)
        query = (
            f"SELECT caller, {self._sums(_CALLED)} FROM ({inner}) s "  # noqa: S608
            "GROUP BY caller ORDER BY 2 DESC, caller"
        )
        return [Caller(*row) for row in self._rows(query, pieces, params, "v" * 8)]

    def profiles(
        self,
        wanted: Wanted,
        pieces: Sequence[Piece],
        columns: Sequence[str] | None = None,
        segment: str | None = None,
    ) -> Sequence[Profiled]:
        """Profiles within the pieces, oldest first."""
        where, params = _restricted(wanted, ("integration", "release", "variant"))
        conditions = [_of(wanted, where)]
        if segment is not None:
            conditions.append("segment = :segment")
            params["segment"] = segment
        if columns is not None:
            names = [f"column_{place}" for place in range(len(columns))]
            params.update(zip(names, columns, strict=True))
            conditions.append(f"field IN ({', '.join(f':{n}' for n in names) or 'NULL'})")
        shown = "integration, release, variant, segment, field, start_s, body"
        inner = _pieces("roll_profile", shown, " AND ".join(conditions), pieces, params)
        query = f"SELECT * FROM ({inner}) s ORDER BY start_s"  # noqa: S608
        rows = self._rows(query, pieces, params, "vvvvvvb")
        return [Profiled(ProfileKey(*row[:5]), *row[5:]) for row in rows]

    def integrations(self) -> Sequence[str]:
        """All that ever had a call, in order of name."""
        query = "SELECT DISTINCT integration FROM call_kinds ORDER BY integration"
        with self._database.read() as connection:
            return [name for (name,) in connection.exec_driver_sql(query)]

    def _sums(self, names: Sequence[str]) -> str:
        return ", ".join(f"{self._database.sum.format(name)} AS {name}" for name in names)

    def _rows(
        self, query: str, pieces: Sequence[Piece], params: dict[str, Any], kinds: str
    ) -> Sequence[Sequence[Any]]:
        if not pieces:
            return ()
        with self._database.read() as connection:
            return self._database.rows(connection, self._database.sql(query), params, kinds)


def _restricted(wanted: Wanted, names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    given = {name: getattr(wanted, name) for name in names}
    params = {name: value for name, value in given.items() if value is not None}
    return " AND ".join(f"{name} = :{name}" for name in params), params


def _of(wanted: Wanted, where: str) -> str:
    """Without an integration, all of them by name: so the index is good for a stretch of time."""
    if wanted.integration is not None:
        return where
    every = "integration IN (SELECT DISTINCT integration FROM call_kinds)"
    return f"{every} AND {where}" if where else every


def _step(step_s: int) -> str:
    return f"start_s / {step_s:d} * {step_s:d}" if step_s else "0"


def _pieces(
    table: str, columns: str, where: str, pieces: Sequence[Piece], params: dict[str, Any]
) -> str:
    selects: list[str] = []
    for place, piece in enumerate(pieces):
        params |= {f"since_{place}": piece.since_s, f"until_{place}": piece.until_s}
        selects.append(
            f"SELECT {columns} FROM {table} WHERE span = {piece.span_s:d} AND {where} "  # noqa: S608
            f"AND start_s >= :since_{place} AND start_s < :until_{place}"
        )
    return " UNION ALL ".join(selects)
