"""Promotions in SQL: one transaction over aliases, releases, heads and the audit log."""

from __future__ import annotations

from sqlalchemy import Connection, select

from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.models import point
from splice.adapters.ledgers.releases import SqlReleases
from splice.adapters.ledgers.tables import aliases, models
from splice.core.errors import Overtaken
from splice.core.release import Release
from splice.ports.promotions import Promoted, Promotion
from splice.ports.stores import AliasChange, LiveChange

CHAMPION = "champion"


class SqlPromotions:
    """A PromotionStore in SQL."""

    def __init__(self, database: Database, releases: SqlReleases) -> None:
        self._database = database
        self._releases = releases

    def promote(self, promotion: Promotion) -> Promoted:
        """Do all of it in one transaction."""
        one, made = promotion, list[Release]()
        repins = sorted(one.repins, key=lambda repin: repin.integration)
        with self._database.write() as connection:
            # All of them first, the audit log's last, and always in this order: two writers never
            # wait in a ring.
            self._database.lock(connection, f"model {one.model}")
            for repin in repins:
                self._database.lock(connection, f"release {repin.integration}")
            self._check(connection, one)
            point(
                connection,
                AliasChange(one.model, CHAMPION, one.version, one.by, one.why, one.at_us),
            )
            for repin in repins:
                change = LiveChange(f"release.{one.action.rpartition('.')[2]}", repin.seen)
                made.append(
                    self._releases.repin(
                        connection, repin.manifest, by=one.by, why=one.why, now_us=one.at_us,
                        change=change,
                    )
                )  # fmt: skip
            releases = {release.integration: release.number for release in made}
            event = append_event(
                self._database, connection, one.action, f"{one.model}@{one.version}",
                by=one.by, now_us=one.at_us, why=one.why,
                details={**one.details, "before": one.seen, "releases": releases},
                before={CHAMPION: one.seen} if one.seen else None,
                after={CHAMPION: one.version, "releases": releases},
            )  # fmt: skip
        return Promoted(tuple(made), event)

    def _check(self, connection: Connection, one: Promotion) -> None:
        named = (aliases.c.name == one.model, aliases.c.alias == CHAMPION)
        champion = connection.execute(select(aliases.c.version).where(*named)).scalar() or 0
        if champion != one.seen:
            raise Overtaken(
                f"{one.model}@{CHAMPION}",
                got=f"version {champion or 'none'}",
                promised=f"version {one.seen or 'none'}, which it was a moment ago",
                mend="somebody promoted or rolled back meanwhile: look, and do it again",
            )
        which = (models.c.name == one.model, models.c.version == one.version)
        row = connection.execute(
            select(models.c.sha256, models.c.withdrawn).where(*which)
        ).one_or_none()
        if row is None or row.sha256 != one.sha256 or row.withdrawn:
            raise Overtaken(
                f"{one.model}@{one.version}",
                got="a version that is gone, changed or withdrawn",
                promised="the one that was looked at",
            )
