"""Calls that are in no rollup yet: read whole, in the order in which they were stored.

A row of `unrolled` names the calls of one block. Only those whose place is in that block count: a
repeated append leaves a block that belongs to nobody. Calls from before there were rollups are in
`unrolled_history`, one row that moves on by call id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import Connection

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.kinds import Kinds
from splice.adapters.ledgers.payloads import SLOTS, Payload, day_of, decode, unpack
from splice.core.call import Reason, Record, Status
from splice.core.ids import ID_BYTES, id_bytes, ids_texts, split_ids
from splice.ports.rollups import Batch

_PAGE = 256  # rows of `unrolled` in one statement
_AT_ONCE = 1024  # ids in one statement
_NO_PAYLOAD = "its payload is missing or damaged"
_NOTHING = Payload(b"", (), None, (), None, None, None, None, None)

_NEAR = 2  # a span of ids is read whole where it has no more than so many times its calls
_COLUMNS = "kind, asked_us, duration_us, caller, entity, cost_nano, place"
_KINDS = "vvvvvvv"
_PLACE = 6  # which of them is the place
_WAITING = """
SELECT block, ids FROM unrolled WHERE block > :after ORDER BY block LIMIT :limit
"""
_HISTORY = "SELECT below, after FROM unrolled_history LIMIT 1"
_SPAN = f"""
SELECT {_COLUMNS} FROM calls WHERE id >= :first AND id <= :last LIMIT :limit
"""  # noqa: S608 - names of columns
_OLDER = f"""
SELECT {_COLUMNS}, id FROM calls WHERE id > :after AND place < :below ORDER BY id LIMIT :limit
"""  # noqa: S608 - names of columns
_BODIES = (
    "SELECT id, body FROM blocks WHERE day = :day AND id IN (SELECT n.value FROM each(:ids) n)"
)
_OFF = "DELETE FROM unrolled WHERE block IN (SELECT n.value FROM each(:blocks) n)"
_MOVE = "UPDATE unrolled_history SET after = :to WHERE below = :below AND after = :after"
_END = "DELETE FROM unrolled_history WHERE below = :below AND after = :after"

_Kind: TypeAlias = "tuple[str, int, Status, Reason, str, str, str, str]"

CallRow = Sequence[Any]  # columns of a call, in the order of _COLUMNS, and the text of its id


class Token(msgspec.Struct):
    """What a batch takes off: blocks, and a step in the history (from, to, whether it ends)."""

    blocks: list[int]
    below: int = 0
    after: bytes = b""
    to: bytes = b""


class Unrolled:
    """Reads what waits, and takes it off within the transaction that adds it to the rollups."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kinds = Kinds(database)
        sql = database.sql
        self._waiting, self._history, self._older = sql(_WAITING), sql(_HISTORY), sql(_OLDER)
        self._span = sql(_SPAN)
        self._bodies, self._off = sql(_BODIES), sql(_OFF)
        self._move, self._end = sql(_MOVE), sql(_END)

    def take(self, limit: int) -> Batch | None:
        """About so many calls: those that wait, then those from before."""
        with self._database.read() as connection:
            ids = self._next(connection, limit)
            count = sum(map(len, ids.values())) // ID_BYTES
            rows = self._calls(connection, ids)
            token, more = Token(list(ids)), count >= limit
            if not more and (older := self._step(connection, token, limit - count)) is not None:
                rows += older
                more = True
            if not ids and not token.below:
                return None
            bodies = self._blocks(connection, rows)
        damaged: dict[str, str] = {}
        return Batch(self._whole(rows, bodies, damaged), token, damaged, more)

    def off(self, connection: Connection, token: Token) -> bool:
        """Take them off; False where another did it, or a part of it, before."""
        database = self._database
        if token.blocks:
            params = {"blocks": database.ints(token.blocks)}
            if database.run(connection, self._off, params) != len(token.blocks):
                return False
        if not token.below:
            return True
        params = {"below": token.below, "after": database.id_param(token.after)}
        if token.to:
            params["to"] = database.id_param(token.to)
        return database.run(connection, self._move if token.to else self._end, params) == 1

    def _next(self, connection: Connection, limit: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        after = count = 0
        while count < limit:
            params = {"after": after, "limit": _PAGE}
            page = self._database.rows(connection, self._waiting, params, "vb")
            for after, ids in page:
                found[after] = ids
                count += len(ids) // ID_BYTES
                if count >= limit:
                    break
            if len(page) < _PAGE:
                break
        return found

    def _calls(self, connection: Connection, ids: dict[int, bytes]) -> list[CallRow]:
        # In order: no call is in the span of two parts.
        every = sorted(set(split_ids(b"".join(ids.values()))))
        rows: list[CallRow] = []
        for start in range(0, len(every), _AT_ONCE):
            rows += self._among(connection, every[start : start + _AT_ONCE])
        texts = {block: ids_texts(body) for block, body in ids.items()}
        found: list[CallRow] = []
        for row in rows:
            block, slot = divmod(int(row[_PLACE]), SLOTS)
            # A block's ids are in the order of its slots.
            if (of_block := texts.get(block)) is not None and slot < len(of_block):
                found.append((*row, of_block[slot]))
        return found

    def _among(self, connection: Connection, ids: Sequence[bytes]) -> Sequence[CallRow]:
        """Those calls, and perhaps others that lie between them. The ids are in order.

        Ids are in order of time, so those of a block are neighbours as a rule: to read all from
        the first to the last takes three fifths of looking for each.
        """
        database, limit = self._database, _NEAR * len(ids)
        first, last = database.id_param(ids[0]), database.id_param(ids[-1])
        params = {"first": first, "last": last, "limit": limit}
        rows = database.rows(connection, self._span, params, _KINDS)
        if len(rows) < limit:
            return rows
        among, values = database.among_ids(ids)
        query = f"SELECT {_COLUMNS} FROM calls WHERE id {among}"  # noqa: S608
        return database.rows(connection, query, values, _KINDS)

    def _step(self, connection: Connection, token: Token, limit: int) -> list[CallRow] | None:
        """The next calls from before; None where there are none, or all have been taken."""
        database = self._database
        history = database.rows(connection, self._history, {}, "vu")
        if not history:
            return None
        below, after = history[0]
        token.below, token.after = below, id_bytes(after)
        params = {
            "after": database.id_param(token.after), "below": below * SLOTS, "limit": limit,
        }  # fmt: skip
        rows = [*database.rows(connection, self._older, params, f"{_KINDS}u")]
        if len(rows) == limit:
            token.to = id_bytes(rows[-1][-1])
        return rows

    def _blocks(self, connection: Connection, rows: Iterable[CallRow]) -> dict[int, bytes]:
        days: dict[int, set[int]] = {}
        for number, call_id in {row[_PLACE] // SLOTS: row[-1] for row in rows}.items():
            days.setdefault(day_of(call_id), set()).add(number)  # of one day is a block
        found: dict[int, bytes] = {}
        for day, numbers in days.items():
            ordered = sorted(numbers)
            for start in range(0, len(ordered), _AT_ONCE):
                ids = self._database.ints(ordered[start : start + _AT_ONCE])
                params = {"day": day, "ids": ids}
                rows_of = self._database.rows(connection, self._bodies, params, "vb")
                found.update((int(row[0]), row[1]) for row in rows_of)
        return found

    def _whole(
        self, rows: Iterable[CallRow], bodies: dict[int, bytes], damaged: dict[str, str]
    ) -> list[Record]:
        unpacked: dict[int, list[bytes]] = {}
        for number, body in bodies.items():
            with suppress(ValueError):  # a damaged one is as good as missing
                unpacked[number] = unpack(body)
        records: list[Record] = []
        known: dict[int, _Kind] = {}
        for number, asked_us, duration_us, caller, entity, cost_nano, place, call_id in rows:
            kind = known.get(number)
            if kind is None:
                kind = known[number] = self._kind(number)
            integration, release, status, reason, surface, route, variant, version = kind
            block, slot = divmod(int(place), SLOTS)
            try:
                p = decode(unpacked[block][slot])
            except (ValueError, LookupError):
                damaged[call_id] = _NO_PAYLOAD
                p = _NOTHING
            # By place, in the order of its fields: by name it would take half as long again.
            records.append(Record(
                call_id, integration, release, asked_us, duration_us, status, reason, surface,
                caller, entity, p.key, route, variant, version, cost_nano, p.input, p.gathered,
                p.context, p.attempts, p.prediction, p.reply, p.problem, p.trace, p.notes,
                p.shadow_of, p.policies, "", p.locked,
            ))  # fmt: skip
        return records

    def _kind(self, number: int) -> _Kind:
        integration, release, status, reason, *rest = self._kinds.kind(number)
        surface, route, variant, version = rest
        of = Status(status), Reason(reason)
        return integration, release, *of, surface, route, variant, version
