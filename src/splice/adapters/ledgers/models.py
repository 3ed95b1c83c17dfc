"""Registered models and their aliases in SQL; their bytes in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.blobs import Blobs
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.tables import alias_events, aliases, models
from splice.core.errors import StoreError
from splice.core.release import ModelVersion, Signature
from splice.core.versions import Card, Lineage
from splice.ports.stores import AliasChange


class SqlModels:
    """A ModelStore in SQL."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def add_model(
        self,
        name: str,
        file: Path,
        version: ModelVersion,
        *,
        aliases: Sequence[str] = (),
        by: str = "",
        why: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> ModelVersion:
        """Keep a copy of the file under its hash and number it; the same bytes keep their number.

        A new version and its audit event are stored in one transaction.

        Raises:
            StoreError: The file cannot be read or kept, or is not the one that `version` hashes.
        """
        place = self._database.place
        for alias in aliases:
            self._check_alias(alias)
        try:
            kept = self._blobs.keep(file)
        except OSError as error:
            raise StoreError(
                f"model {name}",
                got=f"{error.strerror}: {error.filename or file}",
                mend="check that the file can be read, and that the folder of artifacts has room",
            ) from error
        if version.sha256 not in {"", kept.sha256}:
            raise place.error(
                f"a file of hash {kept.sha256[:12]}…",
                f"register {file} again: it changed while it was read",
                promised=f"{version.sha256[:12]}…",
            )
        same = select(models).where(models.c.name == name, models.c.sha256 == kept.sha256)
        newest = select(func.max(models.c.version)).where(models.c.name == name)
        with self._database.write() as connection:
            self._database.lock(connection, f"model {name}")
            row = connection.execute(same).one_or_none()
            if row is not None:
                stored = _version(row)
            else:
                number = (connection.execute(newest).scalar() or 0) + 1
                stored = msgspec.structs.replace(
                    version, name=name, version=number, sha256=kept.sha256, size=kept.size,
                    withdrawn="",
                )  # fmt: skip
                values = msgspec.structs.asdict(stored)
                for document in ("signature", "card", "lineage"):
                    values[document] = msgspec.json.encode(values[document]).decode()
                connection.execute(insert(models).values(values))
                self._audit_new(connection, stored, by, why, details or {})
            for alias in aliases:
                change = AliasChange(name, alias, stored.version, by, why, version.created_us)
                self._point(connection, change)
        return stored

    def _audit_new(
        self,
        connection: Connection,
        stored: ModelVersion,
        by: str,
        why: str,
        more: Mapping[str, Any],
    ) -> None:
        details = {
            **more,
            "sha256": stored.sha256,
            "size": stored.size,
            "format": stored.format,
            "source": stored.source,
            "card": msgspec.to_builtins(stored.card),
            "lineage": msgspec.to_builtins(stored.lineage),
        }
        # What runs code when it is loaded is found among all registrations by its action.
        action = "model.register_pickle" if stored.format == "pickle" else "model.register"
        append_event(
            self._database, connection, action, stored.label, by=by, now_us=stored.created_us,
            why=why, details=details,
            after={"sha256": stored.sha256, "format": stored.format, "source": stored.source},
        )  # fmt: skip

    def _point(self, connection: Connection, change: AliasChange) -> None:
        before = point(connection, change)
        if before != change.version:
            append_event(
                self._database, connection, "model.alias", f"{change.name}@{change.version}",
                by=change.by, now_us=change.at_us, why=change.why,
                details={"alias": change.alias, "before": before},
                before={change.alias: before} if before else None,
                after={change.alias: change.version},
            )  # fmt: skip

    def resolve(self, name: str, ref: str) -> ModelVersion | None:
        """The version that `champion` (an alias) or `3` (a number) names, or None."""
        if ref.isascii() and ref.isdecimal():
            number = int(ref) if len(ref) < 10 else 0
            query = select(models).where(models.c.version == number)
        else:
            query = (
                select(models)
                .join(
                    aliases,
                    (aliases.c.name == models.c.name) & (aliases.c.version == models.c.version),
                )
                .where(aliases.c.alias == ref)
            )
        with self._database.read() as connection:
            row = connection.execute(query.where(models.c.name == name)).one_or_none()
        return None if row is None else _version(row)

    def models(self, name: str | None = None) -> list[ModelVersion]:
        """All versions, of one name or of all; newest first."""
        query = select(models)
        if name is not None:
            query = query.where(models.c.name == name)
        order = (models.c.created_us.desc(), models.c.name, models.c.version.desc())
        with self._database.read() as connection:
            return [_version(row) for row in connection.execute(query.order_by(*order))]

    def aliases(self, name: str) -> dict[str, int]:
        """Alias to version number."""
        query = select(aliases.c.alias, aliases.c.version).where(aliases.c.name == name)
        with self._database.read() as connection:
            return {row.alias: row.version for row in connection.execute(query)}

    def set_alias(
        self, name: str, alias: str, version: int, *, by: str = "", why: str = "", now_us: int = 0
    ) -> None:
        """Point an alias at a version."""
        self._check_alias(alias)
        with self._database.write() as connection:
            self._database.lock(connection, f"model {name}")
            self._stored(connection, name, version)
            self._point(connection, AliasChange(name, alias, version, by, why, now_us))

    def alias_history(self, name: str, alias: str) -> list[AliasChange]:
        """Where an alias pointed, newest first."""
        query = select(alias_events).where(
            alias_events.c.name == name, alias_events.c.alias == alias
        )
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(alias_events.c.id.desc()))
            return [
                AliasChange(row.name, row.alias, row.version, row.by, row.why, row.at_us)
                for row in rows
            ]

    def withdraw(
        self, name: str, version: int, why: str, *, by: str = "", now_us: int = 0
    ) -> ModelVersion:
        """Forbid a version to every route (`why` is not empty), or allow it again (empty)."""
        with self._database.write() as connection:
            self._database.lock(connection, f"model {name}")
            stored = self._stored(connection, name, version)
            if stored.withdrawn != why:
                append_event(
                    self._database, connection, "model.withdraw" if why else "model.restore",
                    stored.label, by=by, now_us=now_us, why=why,
                    details={} if why else {"withdrawn_for": stored.withdrawn},
                    before={"withdrawn": stored.withdrawn}, after={"withdrawn": why},
                )  # fmt: skip
            connection.execute(
                update(models)
                .where(models.c.name == name, models.c.version == version)
                .values(withdrawn=why)
            )
        return msgspec.structs.replace(stored, withdrawn=why)

    def withdrawn(self) -> dict[str, str]:
        """SHA-256 of every withdrawn version, with why."""
        query = select(models.c.sha256, models.c.withdrawn).where(models.c.withdrawn != "")
        with self._database.read() as connection:
            return {row.sha256: row.withdrawn for row in connection.execute(query)}

    def file(self, sha256: str) -> Path:
        """Where the artifact's bytes are."""
        return self._blobs.path(sha256)

    def _stored(self, connection: Connection, name: str, version: int) -> ModelVersion:
        query = select(models).where(models.c.name == name, models.c.version == version)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise self._database.place.error(
                f"no version {version} of model {name}", "name one that `splice models` lists"
            )
        return _version(row)

    def _check_alias(self, alias: str) -> None:
        if not alias or alias.isdecimal():
            raise self._database.place.error(
                f"alias {alias!r}",
                "choose a name such as champion",
                promised="a name that cannot be taken for a version number",
            )


def point(connection: Connection, change: AliasChange) -> int | None:
    """Point an alias at a version, in the transaction of that connection; where it was before."""
    this = (aliases.c.name == change.name, aliases.c.alias == change.alias)
    before = connection.execute(select(aliases.c.version).where(*this)).scalar()
    if before == change.version:
        return before
    values = {"name": change.name, "alias": change.alias, "version": change.version}
    if before is None:
        connection.execute(insert(aliases).values(values))
    else:
        connection.execute(update(aliases).where(*this).values(values))
    connection.execute(insert(alias_events).values(msgspec.structs.asdict(change)))
    return before


def _version(row: Row[Any]) -> ModelVersion:  # a row of `models`
    return ModelVersion(
        name=row.name,
        version=row.version,
        sha256=row.sha256,
        size=row.size,
        format=row.format,
        signature=msgspec.json.decode(row.signature, type=Signature),
        created_us=row.created_us,
        source=row.source,
        withdrawn=row.withdrawn,
        card=msgspec.json.decode(row.card, type=Card),
        lineage=msgspec.json.decode(row.lineage, type=Lineage),
    )
