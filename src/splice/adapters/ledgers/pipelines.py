"""Runs of pipelines in SQL."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, select, update

from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.tables import pipeline_runs, pipeline_slots
from splice.core.errors import Overtaken
from splice.core.pipeline import PipelineRun, RunState

_TOLD = 500  # characters of an error in an audit event


class SqlPipelines:
    """A PipelineStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_run(self, run: PipelineRun, *, action: str) -> PipelineRun:
        """Store a new run, or give the one that waits already."""
        with self._database.write() as connection:
            self._lock(connection, run)
            return self._added(connection, run, action)

    def take_slot(self, run: PipelineRun, *, action: str) -> PipelineRun | None:
        """Store the run of a moment of a schedule; None where it was taken before."""
        with self._database.write() as connection:
            self._lock(connection, run)
            taken = connection.execute(_slot(run.integration, run.schedule)).scalar()
            known = select(pipeline_runs.c.id).where(pipeline_runs.c.id == run.id)
            if taken is not None and taken >= run.slot_us:
                return None
            self._mark(connection, run.integration, run.schedule, run.slot_us)
            if connection.execute(known).scalar() is not None:
                return None
            return self._added(connection, run, action)

    def _lock(self, connection: Connection, run: PipelineRun) -> None:
        # Before the audit log's lock, as everywhere: two writers never wait in a ring.
        self._database.lock(connection, f"pipeline {run.integration}")

    def _added(self, connection: Connection, run: PipelineRun, action: str) -> PipelineRun:
        if run.state == "asked":
            asked = select(pipeline_runs.c.body, pipeline_runs.c.revision).where(
                pipeline_runs.c.integration == run.integration, pipeline_runs.c.state == "asked"
            )
            waiting = connection.execute(asked.order_by(pipeline_runs.c.asked_us)).first()
            if waiting is not None:
                return _run(waiting.body, waiting.revision)
        run = msgspec.structs.replace(run, revision=1)
        connection.execute(pipeline_runs.insert(), _values(run))
        self._tell(connection, run, action, run.asked_us, before=None)
        return run

    def save_run(self, run: PipelineRun, *, action: str = "", now_us: int = 0) -> PipelineRun:
        """Store what changed of the revision that was looked at."""
        saved = msgspec.structs.replace(run, revision=run.revision + 1)
        same = (pipeline_runs.c.id == run.id, pipeline_runs.c.revision == run.revision)
        with self._database.write() as connection:
            was = connection.execute(select(pipeline_runs.c.state).where(*same)).scalar()
            changed = update(pipeline_runs).where(*same).values(_values(saved))
            if connection.execute(changed).rowcount != 1:
                raise Overtaken(
                    f"run {run.id}", got="another revision of it, or none",
                    promised=f"revision {run.revision}, which it had a moment ago",
                    mend=f"another process took it up: splice retrain show {run.id}",
                )  # fmt: skip
            if action:
                self._tell(connection, saved, action, now_us, before={"state": was})
        return saved

    def _tell(
        self, connection: Connection, run: PipelineRun, action: str, now_us: int,
        *, before: dict[str, Any] | None,
    ) -> None:  # fmt: skip
        failed = run.steps[-1].step if run.state == "failed" and run.steps else ""
        details = {
            "run": run.id, "data": run.data_sha256, "training": run.tracked,
            "version": run.version, "schedule": run.schedule, "failed": failed,
            # What a user's code raises may name a customer, and here it could never be taken out.
            "refused": run.error[:_TOLD] if run.state == "refused" else "",
        }  # fmt: skip
        append_event(
            self._database, connection, action, run.integration, by=run.by, now_us=now_us,
            why=run.why, details={name: value for name, value in details.items() if value},
            before=before, after={"state": run.state},
        )  # fmt: skip

    def run(self, run_id: str) -> PipelineRun | None:
        """One run."""
        query = select(pipeline_runs.c.body, pipeline_runs.c.revision)
        with self._database.read() as connection:
            row = connection.execute(query.where(pipeline_runs.c.id == run_id)).one_or_none()
        return None if row is None else _run(row.body, row.revision)

    def runs(
        self,
        integration: str | None = None,
        states: Collection[RunState] = (),
        limit: int = 100,
    ) -> list[PipelineRun]:
        """Runs of one integration or of all, in these states or in any, newest first."""
        query = select(pipeline_runs.c.body, pipeline_runs.c.revision)
        if integration is not None:
            query = query.where(pipeline_runs.c.integration == integration)
        if states:
            query = query.where(pipeline_runs.c.state.in_(states))
        newest = (pipeline_runs.c.asked_us.desc(), pipeline_runs.c.id.desc())
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(*newest).limit(limit))
            return [_run(row.body, row.revision) for row in rows]

    def slot(self, integration: str, schedule: str) -> int | None:
        """The newest moment of a schedule that was taken."""
        with self._database.read() as connection:
            return connection.execute(_slot(integration, schedule)).scalar()

    def set_slot(self, integration: str, schedule: str, slot_us: int) -> None:
        """Let a schedule count from there on."""
        with self._database.write() as connection:
            self._mark(connection, integration, schedule, slot_us)

    def _mark(self, connection: Connection, integration: str, schedule: str, at_us: int) -> None:
        values = {"integration": integration, "schedule": schedule, "slot_us": at_us}
        if connection.execute(self._database.insert_new(pipeline_slots), values).rowcount != 1:
            named = (
                pipeline_slots.c.integration == integration,
                pipeline_slots.c.schedule == schedule,
            )
            connection.execute(update(pipeline_slots).where(*named).values(slot_us=at_us))


def _slot(integration: str, schedule: str) -> Select[Any]:  # of one integer
    return select(pipeline_slots.c.slot_us).where(
        pipeline_slots.c.integration == integration, pipeline_slots.c.schedule == schedule
    )


def _values(run: PipelineRun) -> dict[str, str | int]:
    return {
        "id": run.id,
        "integration": run.integration,
        "state": run.state,
        "asked_us": run.asked_us,
        "revision": run.revision,
        "body": msgspec.json.encode(run).decode(),
    }


def _run(body: str, revision: int) -> PipelineRun:
    run = msgspec.json.decode(body, type=PipelineRun)
    return msgspec.structs.replace(run, revision=revision)
