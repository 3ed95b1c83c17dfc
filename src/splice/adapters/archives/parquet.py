"""Calls in Parquet files, one a day and integration, read by DuckDB.

Columns are those of a call; JSON stays as its bytes; what has a structure of its own (attempts,
look-ups, the problem, the trace) is msgpack in `rest`. A file is written beside its name, synced,
read back, and only then renamed: it is there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from splice.core.archives import Archived, Digest
from splice.core.call import Attempt, Gathered, Problem, Reason, Record, Status, Trace
from splice.core.errors import StoreError
from splice.core.ids import id_unix_ms
from splice.core.policies import PolicyRun
from splice.ports.archives import ArchiveList
from splice.ports.stores import CallFilter

# Typed by nobody: PyArrow has no types of its own.
pa: Any = import_module("pyarrow")
pq: Any = import_module("pyarrow.parquet")

_DAY_S = 86_400
_BLOB, _TEXT, _BIG = pa.binary(), pa.string(), pa.int64()
_TYPES: dict[str, Any] = {  # PyArrow's types of columns
    "call_id": _TEXT, "integration": _TEXT, "release": pa.int32(), "asked_us": _BIG,
    "duration_us": _BIG, "status": _TEXT, "reason": _TEXT, "surface": _TEXT, "caller": _TEXT,
    "entity": _TEXT, "route": _TEXT, "variant": _TEXT, "version": _TEXT, "cost_nano": _BIG,
    "key": _TEXT, "shadow_of": _TEXT, "input": _BLOB, "context": _BLOB, "prediction": _BLOB,
    "reply": _BLOB, "rest": _BLOB,
}  # fmt: skip
_PLAIN = tuple(name for name in _TYPES if name != "rest")
_SHORT = _PLAIN[:14]  # what a list of calls shows
_SCHEMA = pa.schema([pa.field(name, kind) for name, kind in _TYPES.items()])


class _Rest(msgspec.Struct, array_like=True, frozen=True):
    """The order is the format: add at the end only, with a default."""

    gathered: tuple[Gathered, ...]
    attempts: tuple[Attempt, ...]
    problem: Problem | None
    trace: Trace | None
    notes: tuple[str, ...] = ()
    policies: tuple[PolicyRun, ...] = ()
    locked: bytes = b""
    seal: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_rest = msgspec.msgpack.Decoder(_Rest).decode


class ParquetArchive:
    """ArchiveFiles in a folder.

    Args:
        folder: Where the files are; it is made with the first of them.
        files: The list of the files.
    """

    def __init__(self, folder: Path, files: ArchiveList) -> None:
        self._folder = folder
        self._files = files
        self._duck = duckdb.connect(":memory:", config=_CONFIG)

    def write(
        self, day: int, integration: str, part: int, pages: Iterable[Sequence[Record]]
    ) -> Archived:
        """Write a file, durable and read back on return."""
        name = f"{_date(day)}/{_safe(integration)}.{part}.parquet"
        path = self._folder / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
            try:
                return self._write(temporary, path, (day, integration, part, name), pages)
            finally:
                with suppress(FileNotFoundError):
                    temporary.unlink()
        except (OSError, pa.ArrowException) as error:
            raise self._error(name, f"a file that could not be written ({error})") from None

    def ids(self, file: Archived) -> Iterator[Sequence[str]]:
        """The ids of the calls in a file, in their order."""
        try:
            with pq.ParquetFile(self._path(file)) as opened:
                for batch in opened.iter_batches(1000, columns=["call_id"]):
                    yield batch.column(0).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise self._error(file.file, f"a file that cannot be read ({error})") from None

    def get(self, call_id: str) -> Record | None:
        """A call that is in a file of the list, or None."""
        try:
            day = id_unix_ms(call_id) // 1000 // _DAY_S
        except ValueError:
            return None
        paths = [self._path(one) for one in self._files.files(day=day)]
        rows = self._query([*_TYPES], paths, ["call_id = $call_id"], {"call_id": call_id}, 1)
        if not rows:
            return None
        record = _record(rows[0])
        record.seal = b""  # as from the ledger: only who proves a call needs it
        return record

    def sealed(self, call_ids: Sequence[str]) -> dict[str, Record]:
        """Those of the calls that are in files of the list, whole, with their seals."""
        days: dict[int, list[str]] = {}
        for call_id in call_ids:
            days.setdefault(id_unix_ms(call_id) // 1000 // _DAY_S, []).append(call_id)
        found: dict[str, Record] = {}
        for day, ids in days.items():
            paths = [self._path(one) for one in self._files.files(day=day)]
            # The bounds besides the ids: by them whole groups of rows are passed over.
            among = [
                "call_id BETWEEN $low AND $high", "call_id IN (SELECT unnest($ids::VARCHAR[]))",
            ]  # fmt: skip
            params = {"low": min(ids), "high": max(ids), "ids": ids}
            rows = self._query([*_TYPES], paths, among, params, len(ids))
            found.update((record.call_id, record) for record in map(_record, rows))
        return found

    def find(self, wanted: CallFilter) -> list[Record]:
        """Calls that are in files of the list, newest first, without payloads."""
        conditions, params = _restricted(wanted)
        found: list[Record] = []
        days: dict[int, list[Path]] = {}
        for one in self._files.files(wanted.integration):
            if wanted.since_us is None or one.last_us >= wanted.since_us:
                days.setdefault(one.day, []).append(self._path(one))
        for day in sorted(days, reverse=True):
            if len(found) >= wanted.limit:
                break
            left = wanted.limit - len(found)
            rows = self._query([*_SHORT], days[day], conditions, params, left)
            found += [_short(row) for row in rows]
        return found

    def _write(
        self,
        temporary: Path,
        path: Path,
        named: tuple[int, str, int, str],
        pages: Iterable[Sequence[Record]],
    ) -> Archived:
        written, read = Digest(), Digest()
        first_us, last_us = 1 << 62, -(1 << 62)
        with temporary.open("wb") as file:
            with pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
                for page in pages:
                    writer.write_batch(_batch(page))
                    written.add(page)
                    first_us = min(first_us, *(one.asked_us for one in page))
                    last_us = max(last_us, *(one.asked_us for one in page))
            file.flush()
            os.fsync(file.fileno())
        with pq.ParquetFile(temporary) as again:
            for batch in again.iter_batches(1000):
                read.add(_record(tuple(row.values())) for row in batch.to_pylist())
        if read.value != written.value:
            raise self._error(named[3], "a file that reads otherwise than it was written")
        body = temporary.read_bytes()
        temporary.replace(path)
        _sync(path.parent)
        _sync(self._folder)
        day, integration, part, name = named
        return Archived(
            day, integration, part, name, written.calls, len(body),
            hashlib.sha256(body).hexdigest(), first_us, last_us,
        )  # fmt: skip

    def _query(
        self,
        columns: Sequence[str],
        paths: Sequence[Path],
        conditions: Sequence[str],
        params: dict[str, Any],
        limit: int,
    ) -> list[tuple[Any, ...]]:
        if not paths:
            return []
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise self._error(missing[0].name, "no such file")
        where = " AND ".join(conditions) or "true"
        query = (
            f"SELECT {', '.join(columns)} FROM read_parquet($paths) WHERE {where} "  # noqa: S608
            "ORDER BY asked_us DESC, call_id DESC LIMIT $limit"
        )
        values = {**params, "paths": [str(path) for path in paths], "limit": limit}
        try:
            # A cursor each: a connection is for one thread at a time.
            with self._duck.cursor() as cursor:
                return cursor.execute(query, values).fetchall()
        except duckdb.Error as error:
            raise self._error(paths[0].name, f"a file that cannot be read ({error})") from None

    def _path(self, one: Archived) -> Path:
        return self._folder / one.file

    def _error(self, name: str, got: str) -> StoreError:
        return StoreError(
            f"{self._folder}/{name}",
            got=got,
            mend="look into the folder of the archive; calls that are not in a file stay "
            "in the ledger",
        )


# Nothing is fetched from anywhere, and no other core is taken from those who serve.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": "1", "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
    "memory_limit": "512MB",
}  # fmt: skip


def _batch(records: Sequence[Record]) -> Any:
    columns: dict[str, list[Any]] = {
        name: [getattr(one, name) for one in records] for name in _PLAIN
    }
    for name in ("status", "reason"):
        columns[name] = [value.value for value in columns[name]]
    columns["rest"] = [
        _encode(
            _Rest(
                one.gathered,
                one.attempts,
                one.problem,
                one.trace,
                one.notes,
                one.policies,
                one.locked,
                one.seal,
            )
        )
        for one in records
    ]
    arrays = [pa.array(columns[name], kind) for name, kind in _TYPES.items()]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _record(row: Sequence[Any]) -> Record:
    values = dict(zip(_TYPES, row, strict=True))
    rest = _rest(values.pop("rest"))
    values["status"], values["reason"] = Status(values["status"]), Reason(values["reason"])
    return Record(
        **values, gathered=rest.gathered, attempts=rest.attempts, problem=rest.problem,
        trace=rest.trace, notes=rest.notes, policies=rest.policies,
        locked=rest.locked, seal=rest.seal,
    )  # fmt: skip


def _short(row: Sequence[Any]) -> Record:
    values = dict(zip(_SHORT, row, strict=True))
    values["status"], values["reason"] = Status(values["status"]), Reason(values["reason"])
    return Record(**values)


def _restricted(wanted: CallFilter) -> tuple[list[str], dict[str, Any]]:
    given = {
        "integration": wanted.integration, "entity": wanted.entity, "route": wanted.route,
        "variant": wanted.variant, "release": wanted.release,
        "status": None if wanted.status is None else wanted.status.value,
        "reason": None if wanted.reason is None else wanted.reason.value,
    }  # fmt: skip
    params: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    conditions = [f"{name} = ${name}" for name in params]
    if wanted.since_us is not None:
        conditions.append("asked_us >= $since")
        params["since"] = wanted.since_us
    if wanted.before_id is not None:
        conditions.append("call_id < $before")
        params["before"] = wanted.before_id
    return conditions, params


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY_S, UTC).date().isoformat()


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", lambda found: f"%{ord(found[0]):x}", name)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
