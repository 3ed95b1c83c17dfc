"""Releases, bundles and heads in SQL."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import zstandard
from sqlalchemy import Connection, Row, func, insert, select, update

from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.tables import bundles, heads, release_events, releases
from splice.core.errors import Overtaken
from splice.core.release import Bundle, Live, Manifest, Release
from splice.ports.stores import PLAIN_CHANGE, LiveChange


class SqlReleases:
    """A ReleaseStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_bundle(self, bundle: Bundle) -> str:
        """Store a bundle once; returns its SHA-256."""
        sha256 = bundle.sha256
        body = zstandard.ZstdCompressor().compress(msgspec.json.encode(bundle))
        with self._database.write() as connection:
            new = self._database.insert_new(bundles)
            connection.execute(new, {"sha256": sha256, "body": body})
        return sha256

    def bundle(self, sha256: str) -> Bundle:
        """The bundle."""
        with self._database.read() as connection:
            body = connection.execute(
                select(bundles.c.body).where(bundles.c.sha256 == sha256)
            ).scalar()
        if body is None:
            raise self._database.place.error(
                f"no bundle {sha256[:12]}…", "apply the declaration again"
            )
        found = _bundle(body)
        if found is None or found.sha256 != sha256:
            raise self._database.place.error(
                f"a bundle {sha256[:12]}… whose content has another hash",
                "it was changed or damaged: restore the ledger, or apply the declaration again",
            )
        return found

    def add_release(
        self,
        manifest: Manifest,
        *,
        by: str,
        why: str,
        now_us: int,
        go_live: bool = True,
        change: LiveChange = PLAIN_CHANGE,
    ) -> Release:
        """Number the manifest as the integration's next release and, if asked, make it live."""
        name = manifest.integration
        with self._database.write() as connection:
            self._database.lock(connection, f"release {name}")
            self._check_live(connection, name, change)
            release = _add(connection, manifest, by=by, why=why, now_us=now_us)
            if go_live:
                self._set_head(
                    connection, name, release.number, by=by, why=why, now_us=now_us, change=change
                )
        return release

    def repin(
        self,
        connection: Connection,
        manifest: Manifest,
        *,
        by: str,
        why: str,
        now_us: int,
        change: LiveChange,
    ) -> Release:
        """Within a transaction, make a manifest live: under its old number where it had one."""
        name = manifest.integration
        self._database.lock(connection, f"release {name}")
        self._check_live(connection, name, change)
        same = select(releases).where(
            releases.c.integration == name, releases.c.digest == manifest.digest
        )
        row = connection.execute(same.order_by(releases.c.number.desc()).limit(1)).one_or_none()
        release = (
            _add(connection, manifest, by=by, why=why, now_us=now_us)
            if row is None
            else _release(row)
        )
        self._set_head(
            connection, name, release.number, by=by, why=why, now_us=now_us, change=change
        )
        return release

    def release(self, integration: str, number: int) -> Release | None:
        """One release, or None."""
        query = select(releases).where(
            releases.c.integration == integration, releases.c.number == number
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _release(row)

    def releases(self, integration: str) -> list[Release]:
        """All releases of an integration, newest first."""
        query = select(releases).where(releases.c.integration == integration)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(releases.c.number.desc())).all()
        return [_release(row) for row in rows]

    def go_live(
        self,
        integration: str,
        number: int,
        *,
        by: str,
        why: str,
        now_us: int,
        change: LiveChange = PLAIN_CHANGE,
    ) -> Live:
        """Make a stored release the one that answers."""
        query = select(releases.c.number).where(
            releases.c.integration == integration, releases.c.number == number
        )
        with self._database.write() as connection:
            self._database.lock(connection, f"release {integration}")
            self._check_live(connection, integration, change)
            if connection.execute(query).scalar() is None:
                raise self._database.place.error(
                    f"no release {number} of {integration}", "name one that `splice releases` lists"
                )
            return self._set_head(
                connection, integration, number, by=by, why=why, now_us=now_us, change=change
            )

    def _check_live(self, connection: Connection, integration: str, change: LiveChange) -> None:
        if change.expect is None:
            return
        head = _head(connection, integration)
        live = 0 if head is None else head.number
        if live != change.expect:
            raise Overtaken(
                integration,
                got=f"release {live}, which is live now",
                promised=f"release {change.expect}, which this change was made for",
                mend="look again at what is live, and then decide",
            )

    def set_stopped(self, integration: str, why: str, *, by: str, now_us: int) -> Live:
        """Switch an integration off (`why` is not empty) or on again (`why` is empty)."""
        with self._database.write() as connection:
            self._database.lock(connection, f"release {integration}")
            head = _head(connection, integration)
            if head is None:
                raise self._database.place.error(
                    f"no live release of {integration}",
                    "nothing answers, so nothing can be stopped",
                )
            live = Live(integration, head.number, head.generation + 1, why)
            _store_head(connection, live)
            event = "stop" if why else "start"
            ended = f"ends the stop: {head.stopped}" if head.stopped else ""
            _store_event(connection, live, event, {"by": by, "why": why, "at_us": now_us})
            append_event(
                self._database, connection, f"integration.{event}", integration, by=by,
                now_us=now_us, why=why or ended, details={"release": head.number},
                before={"stopped": head.stopped}, after={"stopped": why},
            )  # fmt: skip
        return live

    def live_again_us(self, integration: str) -> int:
        """When the live release became live, if it had been live before."""
        this = (
            release_events.c.integration == integration,
            release_events.c.event == "go_live",
            release_events.c.number == heads.c.number,
            heads.c.integration == integration,
        )
        query = select(release_events.c.at_us).where(*this).order_by(release_events.c.id.desc())
        with self._database.read() as connection:
            times = connection.execute(query.limit(2)).scalars().all()
        return times[0] if len(times) > 1 else 0

    def live(self) -> list[Live]:
        """What is live now, of all integrations: one query over one row each."""
        with self._database.read() as connection:
            rows = connection.execute(select(heads).order_by(heads.c.integration)).all()
        return [_live(row) for row in rows]

    def _set_head(
        self, connection: Connection, integration: str, number: int, *, by: str, why: str,
        now_us: int, change: LiveChange,
    ) -> Live:  # fmt: skip
        """A release goes live; an integration that is stopped stays stopped."""
        head = _head(connection, integration)
        if head is None:
            live = Live(integration, number, 1)
            connection.execute(insert(heads).values(**msgspec.structs.asdict(live)))
        else:
            live = Live(integration, number, head.generation + 1, head.stopped)
            _store_head(connection, live)
        _store_event(connection, live, "go_live", {"by": by, "why": why, "at_us": now_us})
        before = 0 if head is None else head.number
        append_event(
            self._database, connection, change.action, integration, by=by, now_us=now_us, why=why,
            details={"release": number, "before": before, **change.details},
            before=_pinned(connection, integration, before) if before else None,
            after=_pinned(connection, integration, number),
        )  # fmt: skip
        return live


def _add(connection: Connection, manifest: Manifest, *, by: str, why: str, now_us: int) -> Release:
    """The next release; whoever holds the lock of the integration may add it."""
    name = manifest.integration
    newest = select(func.max(releases.c.number)).where(releases.c.integration == name)
    number = (connection.execute(newest).scalar() or 0) + 1
    digest = manifest.digest
    values = {
        "integration": name,
        "number": number,
        "manifest": msgspec.json.encode(manifest).decode(),
        "digest": digest,
        "created_us": now_us,
        "by": by,
        "why": why,
    }
    connection.execute(insert(releases).values(values))
    return Release(number, manifest, now_us, by, why, digest)


def _pinned(connection: Connection, integration: str, number: int) -> dict[str, Any]:
    """A release as the audit log tells it: by the digest of all that it pins."""
    this = releases.c.integration == integration, releases.c.number == number
    digest = connection.execute(select(releases.c.digest).where(*this)).scalar()
    return {"release": number, "digest": digest}


def _head(connection: Connection, integration: str) -> Live | None:
    row = connection.execute(select(heads).where(heads.c.integration == integration)).one_or_none()
    return None if row is None else _live(row)


def _store_head(connection: Connection, live: Live) -> None:
    connection.execute(
        update(heads)
        .where(heads.c.integration == live.integration)
        .values(number=live.number, generation=live.generation, stopped=live.stopped)
    )


def _store_event(connection: Connection, live: Live, event: str, who: dict[str, str | int]) -> None:
    connection.execute(
        insert(release_events).values(
            integration=live.integration,
            event=event,
            number=live.number,
            generation=live.generation,
            **who,
        )
    )


def _live(row: Row[Any]) -> Live:  # a row of `heads`
    return Live(row.integration, row.number, row.generation, row.stopped)


def _release(row: Row[Any]) -> Release:  # a row of `releases`
    manifest = msgspec.json.decode(row.manifest, type=Manifest)
    # Of the text, not of what this version of the product reads in it: that may know more fields.
    sorted_text = msgspec.json.encode(msgspec.json.decode(row.manifest), order="sorted")
    digest = hashlib.sha256(sorted_text).hexdigest()
    return Release(row.number, manifest, row.created_us, row.by, row.why, digest)


def _bundle(body: bytes) -> Bundle | None:
    try:
        return msgspec.json.decode(zstandard.ZstdDecompressor().decompress(body), type=Bundle)
    except (zstandard.ZstdError, msgspec.MsgspecError):
        return None
