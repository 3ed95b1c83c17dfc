"""Wiring: settings become objects, each handed what it needs; nothing is global."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from splice.adapters.providers.openai import OpenAISettings
from splice.adapters.providers.prices import Price
from splice.adapters.spools.files import FileSpool
from splice.app.plugins import available, plugin
from splice.app.settings import PriceSettings, ProviderSettings, Settings
from splice.control.apply import Control
from splice.control.registry import Registry
from splice.core.errors import SettingsError
from splice.core.units import NANO
from splice.engine.compile import Compiler, Machine
from splice.engine.engine import Engine
from splice.engine.record import Recorder
from splice.ports.features import FeatureStore
from splice.ports.providers import Provider
from splice.ports.runtimes import ModelRuntime
from splice.ports.stores import ModelStore, OutcomeStore, RecordStore, ReleaseStore
from splice.ports.telemetry import Tracer


class Stores:
    """The ledger, open; a command that only reads needs nothing more."""

    def __init__(self, settings: Settings) -> None:
        scheme = settings.ledger_url.partition(":")[0].partition("+")[0]
        open_ledger = plugin("ledgers", scheme, f"splice-ai[{scheme}]")
        self._ledger: Any = open_ledger(settings.ledger_url, settings.path(settings.models.store))
        self.records: RecordStore = self._ledger.records
        self.outcomes: OutcomeStore = self._ledger.outcomes
        self.releases: ReleaseStore = self._ledger.releases
        self.models: ModelStore = self._ledger.models

    def check(self) -> str:
        """Empty where the ledger can be reached, else what is wrong."""
        return self._ledger.check()

    def close(self) -> None:
        """Close every connection."""
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
    providers: dict[str, Provider]
    features: FeatureStore | None
    tracer: Tracer | None

    async def close(self) -> int:
        """Write what waits, then let go of everything. Returns how many records were lost."""
        lost = self.recorder.stop()
        for provider in self.providers.values():
            await provider.close()
        if self.features is not None:
            await self.features.close()
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
    return Control(stores.releases, registry_of(settings, stores), _aliases(settings))


def _aliases(settings: Settings) -> dict[str, dict[str, str]]:
    return {
        name: provider.aliases
        for name, provider in settings.providers.items()
        # The default one, which nobody asked for by name, is there only where its library is.
        if name != "local" or available("providers", provider.kind) is not None
    }


def services(settings: Settings) -> Services:
    """A whole process by its settings. Opens the ledger and migrates it where that is needed."""
    stores = Stores(settings)
    runtime = available("runtimes", "onnx")
    runtimes: dict[str, ModelRuntime] = {} if runtime is None else {"onnx": runtime()}
    providers = _providers(settings)
    features = _features(settings)
    tracer = _tracer(settings)
    recorder = Recorder(
        stores.records,
        FileSpool(settings.path(settings.ledger.spool)),
        flush_seconds=settings.ledger.flush_interval_ms / 1000,
        max_waiting=settings.ledger.max_waiting,
    )
    hour = settings.cost.machine_hour
    machine = Machine(
        threads=settings.models.threads,
        max_batch=settings.models.max_batch,
        nano_per_second=None if hour is None else hour * NANO / 3600,
        local_providers=frozenset(n for n, p in settings.providers.items() if p.kind == "llama"),
    )
    engine = Engine(
        stores.records,
        recorder,
        features=features,
        tracer=tracer,
        max_in_flight=settings.server.max_in_flight,
    )
    registry = registry_of(settings, stores)
    return Services(
        settings=settings,
        stores=stores,
        control=Control(stores.releases, registry, _aliases(settings)),
        registry=registry,
        compiler=Compiler(stores.models, runtimes, providers, machine),
        engine=engine,
        recorder=recorder,
        providers=providers,
        features=features,
        tracer=tracer,
    )


def _providers(settings: Settings) -> dict[str, Provider]:
    made: dict[str, Provider] = {}
    for name, provider in settings.providers.items():
        extra = "splice-ai[llama]" if provider.kind == "llama" else ""
        try:
            kind = plugin("providers", provider.kind, extra)
        except SettingsError:
            if name == "local":  # the default one, which nobody asked for by name
                continue
            raise
        made[name] = kind(**_provider_arguments(name, provider, settings))
    return made


def _provider_arguments(
    name: str, provider: ProviderSettings, settings: Settings
) -> Mapping[str, Any]:
    if provider.kind == "llama":
        path = settings.path(provider.model_path) if provider.model_path else None
        return {"name": name, "model_path": path, "threads": provider.threads}
    if not provider.base_url:
        raise SettingsError(
            f"providers.{name}.base_url", got="nothing", promised="the URL of its API",
            mend='write it like base_url = "https://host/v1"',
        )  # fmt: skip
    return {
        "name": name,
        "base_url": provider.base_url,
        "api_key": settings.secrets.get(name),
        "settings": OpenAISettings(
            dialect="json_schema" if provider.json_schema else "json_object"
        ),
        "prices": {model: _price(price) for model, price in provider.prices.items()},
    }


def _price(price: PriceSettings) -> Price:
    return Price(
        input_nano=round(price.input * NANO),
        output_nano=round(price.output * NANO),
        cached_nano=None if price.cached is None else round(price.cached * NANO),
    )


def _features(settings: Settings) -> FeatureStore | None:
    if not settings.features.url:
        return None
    store = plugin("features", "sql")
    return store(settings.features.url, settings.features.views)


def _tracer(settings: Settings) -> Tracer | None:
    if not settings.telemetry.endpoint:
        return None
    tracer = plugin("telemetry", "otlp", "splice-ai[otel]")
    return tracer(settings.telemetry.endpoint, settings.telemetry.service)


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
