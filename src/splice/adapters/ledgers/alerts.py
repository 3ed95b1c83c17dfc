"""Findings of monitors, and alerts in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from splice.adapters.ledgers.alert_messages import SqlMessages, add_notes
from splice.adapters.ledgers.alert_tables import alerts, monitor_findings, monitor_mutes
from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.database import Database
from splice.core.alerts import Alert, Finding, Mute, Note
from splice.core.errors import Overtaken
from splice.ports.alerts import AlertFilter, Turn


class SqlAlerts(SqlMessages):
    """An AlertStore in SQL."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def findings(self, integration: str | None = None) -> list[Finding]:
        """The newest finding of each monitor, by integration and monitor."""
        query = select(monitor_findings.c.body, monitor_findings.c.revision)
        if integration is not None:
            query = query.where(monitor_findings.c.integration == integration)
        query = query.order_by(monitor_findings.c.integration, monitor_findings.c.monitor)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            msgspec.structs.replace(
                msgspec.json.decode(row.body, type=Finding), revision=row.revision
            )
            for row in rows
        ]

    def settle(self, turn: Turn) -> Finding:
        """Store a turn in one transaction; gives the finding with its new revision."""
        finding = msgspec.structs.replace(turn.finding, revision=turn.finding.revision + 1)
        with self._database.write() as connection:
            self._save_finding(connection, finding)
            for alert in turn.changed:
                _save_alert(connection, alert)
            for alert in turn.opened:
                connection.execute(insert(alerts).values(_values(alert)))
            add_notes(connection, turn.notes)
        return finding

    def _save_finding(self, connection: Connection, finding: Finding) -> None:
        values: dict[str, Any] = {
            "integration": finding.integration,
            "monitor": finding.monitor,
            "revision": finding.revision,
            "body": msgspec.json.encode(finding).decode(),
        }
        if finding.revision == 1:
            new = self._database.insert_new(monitor_findings).values(values)
            # Not every driver counts the rows of such an INSERT.
            stored = len(connection.execute(new.returning(monitor_findings.c.revision)).all())
        else:
            same = (*_named(finding), monitor_findings.c.revision == finding.revision - 1)
            stored = connection.execute(
                update(monitor_findings).where(*same).values(values)
            ).rowcount
        if stored != 1:
            raise Overtaken(
                f"{finding.integration}: {finding.monitor}",
                got="a finding that another process made meanwhile",
                mend="look again in a moment",
            )

    def forget(self, finding: Finding) -> None:
        """Drop the finding of a monitor that no live release has; nothing where it changed."""
        same = (*_named(finding), monitor_findings.c.revision == finding.revision)
        with self._database.write() as connection:
            connection.execute(delete(monitor_findings).where(*same))

    def alert(self, alert_id: str) -> Alert | None:
        """One alert."""
        query = select(alerts.c.body, alerts.c.revision).where(alerts.c.id == alert_id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _alert(row)

    def alerts(self, wanted: AlertFilter) -> list[Alert]:
        """Alerts, newest first."""
        query = select(alerts.c.body, alerts.c.revision)
        if wanted.integration is not None:
            query = query.where(alerts.c.integration == wanted.integration)
        if wanted.monitor is not None:
            query = query.where(alerts.c.monitor == wanted.monitor)
        if wanted.state is not None:
            query = query.where(alerts.c.state == wanted.state)
        if wanted.since_us is not None:
            since = wanted.since_us
            still = or_(alerts.c.state == "open", alerts.c.resolved_us >= since)
            query = query.where(or_(alerts.c.opened_us >= since, still))
        if wanted.until_us is not None:
            query = query.where(alerts.c.opened_us < wanted.until_us)
        query = query.order_by(alerts.c.opened_us.desc(), alerts.c.id.desc()).limit(wanted.limit)
        with self._database.read() as connection:
            return [_alert(row) for row in connection.execute(query)]

    def save_alert(self, alert: Alert, notes: Sequence[Note] = (), *, action: str = "") -> Alert:
        """Store what changed of the revision that was looked at, with notes."""
        with self._database.write() as connection:
            saved = _save_alert(connection, alert)
            add_notes(connection, notes)
            if action:
                append_event(
                    self._database, connection, action, alert.integration,
                    by=alert.acknowledged_by, now_us=alert.acknowledged_us,
                    why=alert.acknowledged_why,
                    details={"alert": alert.id, "monitor": alert.monitor},
                    before={"acknowledged": ""}, after={"acknowledged": alert.acknowledged_by},
                )  # fmt: skip
        return saved

    def mutes(self, now_us: int) -> list[Mute]:
        """Those that still hold."""
        query = select(monitor_mutes).where(monitor_mutes.c.until_us > now_us)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(*monitor_mutes.primary_key)).all()
        return [Mute(row.integration, row.monitor, row.until_us, row.by, row.why) for row in rows]

    def set_mute(self, mute: Mute, now_us: int) -> None:
        """Mute, or end it where `until_us` is 0; audited."""
        same = (
            monitor_mutes.c.integration == mute.integration,
            monitor_mutes.c.monitor == mute.monitor,
        )
        with self._database.write() as connection:
            self._database.lock(connection, f"mute {mute.integration}")
            kept = connection.execute(select(monitor_mutes).where(*same)).one_or_none()
            connection.execute(delete(monitor_mutes).where(*same))
            if mute.until_us:
                connection.execute(insert(monitor_mutes).values(msgspec.structs.asdict(mute)))
            append_event(
                self._database, connection, "monitor.mute" if mute.until_us else "monitor.unmute",
                mute.integration, by=mute.by, now_us=now_us, why=mute.why,
                details={"monitor": mute.monitor, "until_us": mute.until_us},
                before=None if kept is None else {"until_us": kept.until_us, "by": kept.by},
                after={"until_us": mute.until_us, "by": mute.by} if mute.until_us else None,
            )  # fmt: skip


def _named(finding: Finding) -> tuple[Any, Any]:  # conditions of SQLAlchemy
    columns = monitor_findings.c
    return columns.integration == finding.integration, columns.monitor == finding.monitor


def _save_alert(connection: Connection, alert: Alert) -> Alert:
    saved = msgspec.structs.replace(alert, revision=alert.revision + 1)
    same = (alerts.c.id == alert.id, alerts.c.revision == alert.revision)
    if connection.execute(update(alerts).where(*same).values(_values(saved))).rowcount != 1:
        raise Overtaken(
            f"alert {alert.id}", got="another revision of it",
            promised=f"revision {alert.revision}, which it had a moment ago",
            mend="look again in a moment",
        )  # fmt: skip
    return saved


def _values(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "integration": alert.integration,
        "monitor": alert.monitor,
        "state": alert.state,
        "opened_us": alert.opened_us,
        "resolved_us": alert.resolved_us,
        "revision": alert.revision,
        "body": msgspec.json.encode(alert).decode(),
    }


def _alert(row: Row[str, int]) -> Alert:  # of body and revision
    return msgspec.structs.replace(msgspec.json.decode(row.body, type=Alert), revision=row.revision)
