"""Wiring: settings become objects, each handed what it needs; nothing is global."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from splice.adapters.spools.files import FileSpool
from splice.app.archiving import WithArchive, files_of
from splice.app.clock import Ids
from splice.app.encrypting import Encryption
from splice.app.gating import features_of, permits_of, validator_of
from splice.app.hosts import close as close_hosts
from splice.app.hosts import hosts_of
from splice.app.identity import bearers_of, provider_of, with_services
from splice.app.plugins import available, made, names, plugin
from splice.app.policing import detectors_of
from splice.app.providers import close as close_providers
from splice.app.providers import is_installed
from splice.app.providers import providers as make_providers
from splice.app.publishing import Outlets
from splice.app.residing import Resident, Residing
from splice.app.settings import Settings
from splice.app.signatures import loaded_models
from splice.control.apply import Control
from splice.control.locked_events import (
    LockedDeadLetters,
    LockedEvents,
    LockedOutbox,
    LockedQueue,
)
from splice.control.locked_reviews import LockedReviews
from splice.control.locked_stores import (
    LockedLabels,
    LockedOutcomes,
    LockedRecords,
    LockedRollups,
    LockedSpool,
)
from splice.control.permits import Permits
from splice.control.registry import Registry
from splice.core.errors import SettingsError
from splice.core.units import NANO
from splice.engine.compile import Compiler, Hosts, Machine
from splice.engine.engine import Engine
from splice.engine.keyring import Keyring
from splice.engine.record import Recorder
from splice.engine.reuse import Reuse
from splice.engine.routing.balanced import Balanced
from splice.engine.spend import Purse
from splice.ports.alerts import AlertStore
from splice.ports.archives import ArchiveList
from splice.ports.audit import AuditLog
from splice.ports.caches import Cache, SemanticCache
from splice.ports.checkpoints import CheckpointStore
from splice.ports.duties import DutyStore
from splice.ports.events import DeadLetterStore, EventStore, OutboxStore, QueueStore
from splice.ports.features import FeatureStore
from splice.ports.figures import FigureStore
from splice.ports.flags import Flags
from splice.ports.identity import IdentityProvider
from splice.ports.keys import KeyStore, Spending
from splice.ports.labels import LabelStore
from splice.ports.leases import LeaseStore
from splice.ports.masking import Masker
from splice.ports.meters import Meter
from splice.ports.people import PeopleStore
from splice.ports.pipelines import PipelineStore
from splice.ports.promotions import PromotionStore
from splice.ports.reviews import ReviewStore
from splice.ports.rollups import RollupStore
from splice.ports.runtimes import ModelRuntime
from splice.ports.stores import ModelStore, OutcomeStore, ReleaseStore
from splice.ports.studies import StudyStore
from splice.ports.subjects import SubjectStore
from splice.ports.telemetry import Tracer
from splice.ports.validations import ValidationStore

log = logging.getLogger("splice")

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_SHADOWS_S = 3.0
"""So long a process that ends goes on with shadows that wait for their turn."""


class Stores:
    """The ledger, open; a command that only reads needs nothing more."""

    def __init__(self, settings: Settings) -> None:
        scheme = settings.ledger_url.partition(":")[0].partition("+")[0]
        extra = "splice-ai[postgres]" if scheme == "postgresql" else ""
        open_ledger = plugin("ledgers", scheme, extra)
        self._ledger: Any = open_ledger(settings.ledger_url, settings.path(settings.models.store))
        self.archives: ArchiveList = self._ledger.archives
        self.releases: ReleaseStore = self._ledger.releases
        self.encryption = Encryption(settings, self.releases)
        locks, events = self.encryption.locks, self.encryption.events
        archived = WithArchive(
            self._ledger.records, self.archives, lambda: files_of(settings, self.archives)
        )
        self.records = LockedRecords(archived, locks)
        self.outcomes: OutcomeStore = LockedOutcomes(self._ledger.outcomes, locks)
        self.models: ModelStore = self._ledger.models
        self.keys: KeyStore = self._ledger.keys
        self.audit: AuditLog = self._ledger.audit
        self.validations: ValidationStore = self._ledger.validations
        self.leases: LeaseStore = self._ledger.leases
        self.promotions: PromotionStore = self._ledger.promotions
        self.figures: FigureStore = self._ledger.figures
        self.pipelines: PipelineStore = self._ledger.pipelines
        self.events: EventStore = LockedEvents(self._ledger.events, events)
        self.outbox: OutboxStore = LockedOutbox(self._ledger.outbox, events)
        self.dead_letters: DeadLetterStore = LockedDeadLetters(self._ledger.dead_letters, events)
        self.queue: QueueStore = LockedQueue(
            self._ledger.queue, events, self.encryption.integration_of()
        )
        self.rollups: RollupStore = LockedRollups(self._ledger.rollups, locks)
        self.labels: LabelStore = LockedLabels(self._ledger.labels, locks)
        self.studies: StudyStore = self._ledger.studies
        self.alerts: AlertStore = self._ledger.alerts
        self.subjects: SubjectStore = self._ledger.subjects
        self.duties: DutyStore = self._ledger.duties
        self.reviews: ReviewStore = LockedReviews(self._ledger.reviews, archived.get, locks)
        self.checkpoints: CheckpointStore = self._ledger.checkpoints
        self.people: PeopleStore = self._ledger.people

    def check(self) -> str:
        """Empty where the ledger can be reached, else what is wrong."""
        return self._ledger.check()

    def close(self) -> None:
        """Close every connection."""
        self.encryption.close()
        self._ledger.close()


class Services(msgspec.Struct):
    """Everything a process that answers calls holds."""

    settings: Settings
    stores: Stores
    control: Control
    registry: Registry
    compiler: Compiler
    engine: Engine
    recorder: Recorder
    providers: dict[str, Balanced]
    hosts: Hosts
    meter: Meter
    features: FeatureStore | None
    tracer: Tracer | None
    outlets: Outlets
    flags: Flags | None = None
    permits: Permits | None = None
    identity: IdentityProvider | None = None

    async def close(self) -> int:
        """Write what waits, then let go of everything. Returns how many records were lost."""
        await self.engine.shadows.wind_up(_SHADOWS_S)
        await self.engine.rest()
        await self.outlets.close()
        if self.engine.keyring.bearers is not None:
            await self.engine.keyring.bearers.close()
        if self.identity is not None:
            await self.identity.close()
        if self.engine.purse is not None:
            await self.engine.purse.close()
        lost = self.recorder.stop()
        await close_providers(self.providers)
        await self.compiler.close()
        await close_hosts(self.hosts)
        await self.engine.reuse.close()
        await self.meter.close()
        if self.features is not None:
            await self.features.close()
        if self.flags is not None:
            await self.flags.close()
        if self.tracer is not None:
            self.tracer.close()
        self.stores.close()
        return lost


def registry_of(settings: Settings, stores: Stores) -> Registry:
    """The model registry of a project."""
    runtime = available("runtimes", "onnx")
    return Registry(
        stores.models, None if runtime is None else runtime(), settings.path(settings.models.folder)
    )


def control_of(settings: Settings, stores: Stores) -> Control:
    """The control of a project: plans, applies and rolls back."""
    return _control(settings, stores, registry_of(settings, stores))


def _control(settings: Settings, stores: Stores, registry: Registry) -> Control:
    control = Resident(
        stores.releases,
        registry,
        _aliases(settings),
        settings.cost.currency,
        masker_of(settings),
        validator_of(settings, stores),
        detectors_of(settings, masker_of(settings)),
    )
    control.residing = Residing(settings)
    return control


def _aliases(settings: Settings) -> dict[str, dict[str, str]]:
    return {
        name: provider.aliases
        for name, provider in settings.providers.items()
        # The default one, which nobody asked for by name, is there only where its library is.
        if name != "local" or provider.kind != "llama" or is_installed(settings, provider)
    }


def services(settings: Settings) -> Services:
    """A whole process by its settings. Opens the ledger and migrates it where that is needed."""
    stores = Stores(settings)
    runtime = available("runtimes", "onnx")
    runtimes: dict[str, ModelRuntime] = {} if runtime is None else {"onnx": runtime()}
    providers = make_providers(settings)
    hosts = hosts_of(settings)
    meter = _meter(settings)
    features = features_of(settings)
    tracer = _tracer(settings)
    flags = _flags(settings)
    recorder = Recorder(
        stores.records,
        LockedSpool(FileSpool(settings.path(settings.ledger.spool)), stores.encryption.locks),
        flush_seconds=settings.ledger.flush_interval_ms / 1000,
        max_waiting=settings.ledger.max_waiting,
    )
    engine = Engine(
        stores.records,
        recorder,
        features=features,
        tracer=tracer,
        max_in_flight=settings.server.max_in_flight,
        keyring=_keyring(settings, meter.now_us),
        purse=_purse(settings, stores, meter),
        reuse=_reuse(settings),
        new_id=Ids().new,
    )
    registry = registry_of(settings, stores)
    return Services(
        settings=settings,
        stores=stores,
        control=_control(settings, stores, registry),
        registry=registry,
        compiler=Compiler(
            loaded_models(settings, stores.models),
            runtimes,
            providers,
            _machine(settings),
            masker_of(settings),
            hosts,
            flags,
            detectors_of(settings, masker_of(settings)),
        ),
        engine=engine,
        recorder=recorder,
        providers=providers,
        hosts=hosts,
        meter=meter,
        features=features,
        tracer=tracer,
        outlets=Outlets(settings, stores.queue, Ids().new),
        flags=flags,
        permits=permits_of(stores),
        identity=provider_of(settings),
    )


def _purse(settings: Settings, stores: Stores, meter: Meter) -> Purse:
    async def spent(since_us: int) -> Spending:
        return with_services(settings, await asyncio.to_thread(stores.keys.spending, since_us))

    return Purse(
        meter,
        when_away=settings.meters.when_away,
        unknown_price=settings.meters.unknown_price,
        currency=settings.cost.currency,
        spent=spent,
    )


def _machine(settings: Settings) -> Machine:
    hour = settings.cost.machine_hour
    return Machine(
        threads=settings.models.threads,
        max_batch=settings.models.max_batch,
        nano_per_second=None if hour is None else hour * NANO / 3600,
        threads_of=settings.models.threads_of,
        local_providers=frozenset(n for n, p in settings.providers.items() if p.kind == "llama"),
    )


def pepper_of(settings: Settings) -> bytes:
    """The secret that is mixed into the hashes of keys; empty where none is set.

    Raises:
        SettingsError: A variable is named for it, and it is not set.
    """
    variable = settings.access.pepper_env
    if variable and variable not in settings.secrets:
        raise SettingsError(
            "access.pepper_env", got=f"no variable {variable}", promised="the pepper of the keys"
        )
    return settings.secrets.get(variable, "").encode()


def _keyring(settings: Settings, clock: Callable[[], int]) -> Keyring:
    bearers, pepper = bearers_of(settings, clock), pepper_of(settings)
    return Keyring(mode=key_mode(settings), pepper=pepper, clock=clock, bearers=bearers)


def key_mode(settings: Settings) -> Literal["open", "required", "auto"]:
    """Whether a key is asked for: always, where more than this machine can reach the server."""
    if settings.access.keys == "auto" and settings.server.host not in LOOPBACK:
        return "required"
    return settings.access.keys


def masker_of(settings: Settings) -> Callable[[tuple[str, ...]], Masker]:
    """Makes maskers; its library is loaded when the first declaration asks for one."""

    def make(rules: tuple[str, ...]) -> Masker:
        masking = plugin("masking", "re2", "splice-ai[masking]")
        others = {name: plugin("finders", name)() for name in names("finders") if name in rules}
        return masking(rules, settings.masking.rules, others)

    return make


def _meter(settings: Settings) -> Meter:
    url = settings.meters.url
    if url.startswith("memory:"):
        if settings.server.workers > 1:
            log.warning("each of %d workers has budgets of its own", settings.server.workers)
        return plugin("meters", "memory")()
    return plugin("meters", url.partition(":")[0], "splice-ai[redis]")(url)


def _reuse(settings: Settings) -> Reuse:
    url = settings.cache.url
    exact: Cache
    if url.startswith("memory:"):
        exact = plugin("caches", "memory")(settings.cache.memory_mb << 20)
    else:
        exact = plugin("caches", url.partition(":")[0], "splice-ai[redis]")(url)
    semantic: SemanticCache | None = None
    if settings.cache.encoder:
        near = plugin("caches", "semantic", "splice-ai[onnx]")
        packaged = settings.cache.encoder == "packaged"
        semantic = near(None if packaged else settings.path(settings.cache.encoder))
    return Reuse(exact, semantic)


def _flags(settings: Settings) -> Flags | None:
    flags = settings.flags
    if not flags.provider:
        return None
    reader = plugin("flags", "openfeature", "splice-ai[openfeature]")
    return reader(flags.provider, flags.options, flags.timeout_ms / 1000)


def _tracer(settings: Settings) -> Tracer | None:
    if not settings.telemetry.endpoint:
        return None
    telemetry = settings.telemetry
    return made("telemetry", "otlp", "splice-ai[otel]", telemetry.endpoint, telemetry.service)


def modules_of(settings: Settings) -> tuple[Path, tuple[str, ...]]:
    """The folder that imports start from, and the modules that declare integrations.

    Raises:
        SettingsError: There is no such folder.
    """
    root = settings.path(settings.project.source)
    if not root.is_dir():
        raise SettingsError("project.source", got=str(root), promised="a folder")
    # Declarations import what stands beside them that is not theirs, as any program would.
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return root, settings.project.modules or ("integrations",)
