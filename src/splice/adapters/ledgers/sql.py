"""The ledger: its stores in one SQL database, and a folder for the bytes of models."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from splice.adapters.ledgers.alerts import SqlAlerts
from splice.adapters.ledgers.archives import SqlArchives
from splice.adapters.ledgers.audit import SqlAudit
from splice.adapters.ledgers.blobs import Blobs
from splice.adapters.ledgers.checkpoints import SqlCheckpoints
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.dead_letters import SqlDeadLetters
from splice.adapters.ledgers.duties import SqlDuties
from splice.adapters.ledgers.events import SqlEvents
from splice.adapters.ledgers.figures import SqlFigures
from splice.adapters.ledgers.keys import SqlKeys
from splice.adapters.ledgers.labels import SqlLabels, Unscored
from splice.adapters.ledgers.leases import SqlLeases
from splice.adapters.ledgers.migrate import HEAD, migrate, schema_version
from splice.adapters.ledgers.models import SqlModels
from splice.adapters.ledgers.outbox import SqlOutbox
from splice.adapters.ledgers.outcomes import SqlOutcomes
from splice.adapters.ledgers.people import SqlPeople
from splice.adapters.ledgers.pipelines import SqlPipelines
from splice.adapters.ledgers.promotions import SqlPromotions
from splice.adapters.ledgers.queue import SqlQueue
from splice.adapters.ledgers.records import SqlRecords
from splice.adapters.ledgers.releases import SqlReleases
from splice.adapters.ledgers.reviewing import Reviewing
from splice.adapters.ledgers.reviews import SqlReviews
from splice.adapters.ledgers.rollups import SqlRollups
from splice.adapters.ledgers.studies import SqlStudies
from splice.adapters.ledgers.subjects import SqlSubjects
from splice.adapters.ledgers.validations import SqlValidations
from splice.core.errors import SettingsError, StoreError


class Ledger:
    """The stores of one database. Safe for many threads; not to be carried across a fork."""

    def __init__(self, database: Database, blobs: Path) -> None:
        self._database = database
        self.records = SqlRecords(database)
        self.outcomes = SqlOutcomes(database, self.records)
        self.releases = SqlReleases(database)
        self.models = SqlModels(database, Blobs(blobs))
        self.keys = SqlKeys(database)
        self.audit = SqlAudit(database)
        self.validations = SqlValidations(database)
        self.leases = SqlLeases(database)
        self.promotions = SqlPromotions(database, self.releases)
        self.figures = SqlFigures(database, self.outcomes)
        self.pipelines = SqlPipelines(database)
        self.events = SqlEvents(database, self.records)
        self.outbox = SqlOutbox(database)
        self.dead_letters = SqlDeadLetters(database)
        self.queue = SqlQueue(database)
        self.rollups = SqlRollups(
            database, Unscored(self.releases), Reviewing(database, self.releases)
        )
        self.labels = SqlLabels(database, self.records)
        self.studies = SqlStudies(database)
        self.alerts = SqlAlerts(database)
        self.people = SqlPeople(database)
        self.checkpoints = SqlCheckpoints(database, self.records)
        self.reviews = SqlReviews(database, self.outcomes)
        self.duties = SqlDuties(database)
        self.subjects = SqlSubjects(database)
        self.archives = SqlArchives(database, self.records)

    def migrate(self) -> None:
        """Bring the schema up to date, one process at a time."""
        migrate(self._database)

    def check(self) -> str:
        """Empty if calls could be stored now, or what is wrong."""
        try:
            with self._database.read() as connection:
                version = schema_version(connection)
            if version < HEAD:
                return f"{self._database.place}: schema {version or 'missing'}, {HEAD} needed"
            return self._database.problem()
        except StoreError as error:
            return str(error)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()


def open_ledger(
    url: str, blobs: Path, *, migrate: bool = True, busy_timeout_s: float = 5.0
) -> Ledger:
    """The ledger at `sqlite:///path` or `postgresql://user:password@host/database`.

    Args:
        url: Where the records are.
        blobs: Folder where the bytes of models are.
        migrate: Whether to bring the schema up to date first.
        busy_timeout_s: How long to wait for a locked database or a free connection.

    Raises:
        SettingsError: The URL is not of a database that this ledger knows.
        StoreError: The database cannot be reached or opened.
    """
    ledger = Ledger(_database(url, busy_timeout_s), blobs)
    if migrate:
        try:
            ledger.migrate()
        except BaseException:
            ledger.close()
            raise
    return ledger


def _database(url: str, busy_s: float) -> Database:
    promised = "sqlite:///path/of/a/file or postgresql://user:password@host/database"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError("ledger.url", got="what is not a URL", promised=promised) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        from splice.adapters.ledgers.sqlite import SqliteDatabase

        return SqliteDatabase(Path(parsed.database).absolute(), busy_s=busy_s)
    if backend in {"postgresql", "postgres"}:
        try:
            # Imported here: the driver is an optional dependency.
            from splice.adapters.ledgers.postgres import PostgresDatabase
        except ImportError:
            raise SettingsError(
                "ledger.url",
                got="postgresql without its driver",
                mend="install splice-ai[postgres]",
            ) from None
        return PostgresDatabase(parsed, busy_s=busy_s)
    raise SettingsError("ledger.url", got=f"a URL of {backend}", promised=promised)
