"""Calls and claims in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    Column,
    ColumnElement,
    Exists,
    Row,
    Select,
    and_,
    exists,
    func,
    select,
    tuple_,
    union_all,
    update,
)

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.kinds import Kinds
from splice.adapters.ledgers.payloads import SLOTS, Packed, Packer, Payload, day_of, decode, unpack
from splice.adapters.ledgers.tables import blocks, calls, claims, counters, kinds
from splice.core.call import Reason, Record, Status
from splice.core.ids import id_unix_ms
from splice.ports.stores import CallFilter, Claim

CallRow: TypeAlias = "Row[Any]"  # the driver types its columns, and CallRow's are those of `calls`

_READ = tuple(field for field in Payload.__struct_fields__ if field != "seal")
_AHEAD = 1024  # block numbers a process takes at once; unused ones are lost, and nobody minds
_AT_ONCE = 400  # ids in one statement
_BRANCHES = 64  # kinds that are looked up one by one; beyond, one scan by time is cheaper


class SqlRecords:
    """A RecordStore in SQL.

    A claim is done when the answer of the call that holds it is stored: `append` need not touch the
    claims, and no crash can leave the two at odds.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kinds = Kinds(database)
        self._packer = Packer(self._kinds.number, self._take_blocks)

    def append(self, records: Sequence[Record]) -> None:
        """Store all of them in one transaction, durable on return."""
        if records:
            self._database.append(self.packed(records))

    def packed(self, records: Sequence[Record]) -> list[Packed]:
        """Records as a transaction stores them; must not be called within one."""
        if not records:
            return []
        with self._database.place.errors():
            return self._packer.pack(records)

    def get(self, call_id: str) -> Record | None:
        """The record of a call, or None. One statement: it is what a person waits for."""
        if not _is_id(call_id):
            return None
        day = day_of(call_id)
        block = and_(blocks.c.day == day, blocks.c.id == calls.c.place // SLOTS)
        both = calls.outerjoin(blocks, block)
        query = select(calls, blocks.c.body).select_from(both).where(calls.c.id == call_id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        number = int(row.place) // SLOTS
        return self._whole([row], {} if row.body is None else {number: row.body})[0]

    def get_many(self, call_ids: Sequence[str]) -> dict[str, Record]:
        """Those of the records that are stored, by call id."""
        found: dict[str, Record] = {}
        ids = [call_id for call_id in dict.fromkeys(call_ids) if _is_id(call_id)]
        for start in range(0, len(ids), _AT_ONCE):
            query = select(calls).where(calls.c.id.in_(ids[start : start + _AT_ONCE]))
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            found.update((record.call_id, record) for record in self.whole(rows))
        return found

    def find(self, wanted: CallFilter) -> list[Record]:
        """Records newest first, without payloads."""
        numbers = self._kinds.matching(wanted)
        query = self._restricted(select(calls), wanted)
        newest = (calls.c.asked_us.desc(), calls.c.id.desc())
        if numbers is not None and wanted.entity is None and len(numbers) <= _BRANCHES:
            # The newest of each kind by its index: calls of a rare kind need no scan.
            branches = [
                query.where(calls.c.kind == number).order_by(*newest).limit(wanted.limit).subquery()
                for number in numbers
            ]
            if not branches:
                return []
            both = union_all(*(select(branch) for branch in branches)).subquery()
            query = select(both)
            newest = (both.c.asked_us.desc(), both.c.id.desc())
        elif numbers is not None:
            query = query.where(unindexed(calls.c.kind).in_(numbers))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(*newest).limit(wanted.limit)).all()
        return [self._record(row) for row in rows]

    def count(self, integration: str | None = None) -> int:
        """How many calls are stored."""
        query = select(func.count()).select_from(calls)
        if integration is not None:
            numbers = self._kinds.matching(CallFilter(integration=integration))
            query = query.where(calls.c.kind.in_(numbers or ()))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def claim(  # the port dictates the parameters
        self, integration: str, caller: str, key: str, call_id: str, body_sha256: bytes,
        now_us: int, lease_us: int,
    ) -> Claim:  # fmt: skip
        """Take an idempotency key for `call_id`, durably, or learn who holds it."""
        mine = Claim(call_id, body_sha256, done=False, mine=True)
        this = _this(integration, caller, key)
        until = {"call_id": call_id, "body_sha256": body_sha256, "until_us": now_us + lease_us}
        values = {"integration": integration, "caller": caller, "key": key, **until}
        with self._database.write() as connection:
            if connection.execute(self._database.insert_new(claims), values).rowcount == 1:
                return mine
            held = connection.execute(select(claims).where(*this).with_for_update()).one()
            done = held.archived == 1 or bool(
                connection.execute(select(_answered(held.call_id))).scalar()
            )
            if done or (held.until_us > now_us and held.call_id != call_id):
                return Claim(held.call_id, held.body_sha256, done, mine=held.call_id == call_id)
            connection.execute(update(claims).where(*this).values(**until))
            return mine

    def release_claim(self, integration: str, caller: str, key: str, call_id: str) -> None:
        """Give back a claim whose call ended without an answer."""
        held = select(claims.c.call_id).where(*_this(integration, caller, key))
        with self._database.write() as connection:
            # A claim that was taken over, or whose answer is stored after all, stays.
            if connection.execute(held.with_for_update()).scalar() != call_id:
                return
            if not connection.execute(select(_answered(call_id))).scalar():
                connection.execute(claims.delete().where(*_this(integration, caller, key)))

    def whole(self, rows: Iterable[CallRow], *, sealed: bool = False) -> list[Record]:
        """Records with their payloads, in the order of the rows; each block is unpacked once.

        With `sealed` they have the seal that proves them, which nobody else needs.
        """
        rows = list(rows)
        packed = self._blocks(sorted({(day_of(row.id), row.place // SLOTS) for row in rows}))
        return self._whole(rows, packed, sealed=sealed)

    def _whole(
        self, rows: Sequence[CallRow], packed: Mapping[int, bytes], *, sealed: bool = False
    ) -> list[Record]:
        fields = Payload.__struct_fields__ if sealed else _READ
        records: list[Record] = []
        try:
            items = {number: unpack(body) for number, body in packed.items()}
            for row in rows:
                record = self._record(row)
                block, slot = divmod(int(row.place), SLOTS)
                payload = decode(items[block][slot])
                for field in fields:
                    setattr(record, field, getattr(payload, field))
                records.append(record)
        except (ValueError, LookupError) as error:
            raise self._database.place.error(
                f"a call whose payload is missing or damaged ({error})",
                "restore the ledger from a backup, and find out what changed it",
            ) from error
        return records

    def _blocks(self, places: Sequence[tuple[int, int]]) -> dict[int, bytes]:
        bodies: dict[int, bytes] = {}
        days = {day for day, _ in places}
        for start in range(0, len(places), _AT_ONCE):
            numbers = [number for _, number in places[start : start + _AT_ONCE]]
            # The days besides the numbers, for PostgreSQL to read no other partition.
            query = select(blocks.c.id, blocks.c.body).where(
                blocks.c.day.in_(days), blocks.c.id.in_(numbers)
            )
            with self._database.read() as connection:
                bodies.update((row.id, row.body) for row in connection.execute(query))
        return bodies

    def _record(self, row: CallRow) -> Record:
        kind = self._kinds.kind(row.kind)
        integration, release, status, reason, surface, route, variant, version = kind
        return Record(
            call_id=row.id, integration=integration, release=release, asked_us=row.asked_us,
            duration_us=row.duration_us, status=Status(status), reason=Reason(reason),
            surface=surface, caller=row.caller, entity=row.entity, route=route, variant=variant,
            version=version, cost_nano=row.cost_nano,
        )  # fmt: skip

    def _restricted(self, query: Select[Any], wanted: CallFilter) -> Select[Any]:  # rows of `calls`
        if wanted.entity is not None:
            query = query.where(calls.c.entity == wanted.entity)
        if wanted.since_us is not None:
            query = query.where(calls.c.asked_us >= wanted.since_us)
        if wanted.until_us is not None:
            query = query.where(calls.c.asked_us < wanted.until_us)
        if wanted.before_id is not None and _is_id(wanted.before_id):
            asked_us = self._asked_us(wanted.before_id)
            query = query.where(
                calls.c.asked_us <= asked_us,
                tuple_(calls.c.asked_us, calls.c.id) < (asked_us, wanted.before_id),
            )
        return query

    def _asked_us(self, call_id: str) -> int:
        with self._database.read() as connection:
            found = connection.execute(
                select(calls.c.asked_us).where(calls.c.id == call_id)
            ).scalar()
        return found if found is not None else id_unix_ms(call_id) * 1000

    def _take_blocks(self) -> range:
        bump = (
            update(counters)
            .where(counters.c.name == "blocks")
            .values(next=counters.c.next + _AHEAD)
            .returning(counters.c.next)
        )
        with self._database.write() as connection:
            end = connection.execute(bump).scalar_one()
        return range(end - _AHEAD, end)


def unindexed(column: Column[int]) -> ColumnElement[int]:
    """The same value, but out of the planner's sight: by this index it would sort all there is."""
    return column + 0


def _answered(call_id: str) -> Exists:
    """Whether an answer of that call is stored; a failed or refused call leaves its key free."""
    answered = kinds.c.status == Status.ANSWERED.value
    return exists().where(calls.c.id == call_id, calls.c.kind == kinds.c.id, answered)


def _this(integration: str, caller: str, key: str) -> tuple[Any, ...]:  # SQLAlchemy's own types
    return (
        claims.c.integration == integration,
        claims.c.caller == caller,
        claims.c["key"] == key,
    )


def _is_id(call_id: str) -> bool:
    try:
        id_unix_ms(call_id)
    except ValueError:
        return False
    return True
