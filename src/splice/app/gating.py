"""Gating: what runs gates, promotes, and permits, made of a project's settings and stores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from splice.app.clock import now_us
from splice.app.hosts import hosts_of
from splice.app.plugins import available, plugin
from splice.app.settings import Settings
from splice.app.trials import LineTrial
from splice.control.cases import Case
from splice.control.datasets import Looked
from splice.control.permits import Permits
from splice.control.promote import Promoter
from splice.control.validate import Validator
from splice.core.release import ModelVersion, PinnedRoute, Signature
from splice.declare.discover import find, reopen
from splice.declare.reading import Declaration
from splice.engine.compile import Compiler, Machine
from splice.ports.audit import AuditLog
from splice.ports.features import FeatureStore
from splice.ports.promotions import PromotionStore
from splice.ports.runtimes import ModelRuntime
from splice.ports.stores import ModelStore, ReleaseStore
from splice.ports.validations import ValidationStore


class Kept(Protocol):
    """The stores that gating needs: `wiring.Stores` has them."""

    models: ModelStore
    releases: ReleaseStore
    validations: ValidationStore
    promotions: PromotionStore
    audit: AuditLog


def features_of(settings: Settings) -> FeatureStore | None:
    """The feature store, or None where none is configured."""
    if not settings.features.url:
        return None
    store = plugin("features", "sql")
    return store(settings.features.url, settings.features.views)


def validator_of(settings: Settings, stores: Kept) -> Validator:
    """What runs the gates of a project. Models are loaded when gates run, not before."""
    runtimes = _runtimes()

    def trial(
        declaration: Declaration, route: PinnedRoute, looks: Mapping[bytes, Looked]
    ) -> LineTrial:
        machine = Machine(threads=settings.models.threads, threads_of=settings.models.threads_of)
        compiler = Compiler(stores.models, runtimes, {}, machine, hosts=hosts_of(settings))
        return LineTrial(compiler, declaration, route, features_of(settings), looks)

    def inspect(version: ModelVersion, file: Path) -> Signature | None:
        runtime = runtimes.get(version.format)
        return None if runtime is None else runtime.inspect(file)

    return Validator(
        stores.models, stores.validations, stores.audit, trial, inspect, Path(settings.root)
    )


def _runtimes() -> dict[str, ModelRuntime]:
    runtime = available("runtimes", "onnx")
    return {} if runtime is None else {"onnx": runtime()}


def permits_of(stores: Kept) -> Permits:
    """What a release may run where risk is high."""
    return Permits(stores.validations, stores.audit, now_us)


def promoter_of(settings: Settings, stores: Kept) -> Promoter:
    """What promotes and rolls back."""

    def declaration(bundle: str, entry: str) -> Declaration:
        return reopen(stores.releases.bundle(bundle), entry)

    return Promoter(
        stores.models,
        stores.releases,
        stores.promotions,
        validator_of(settings, stores),
        declaration,
        permits_of(stores),
    )


def declared_cases(
    settings: Settings, stores: Kept, version: ModelVersion, where: tuple[Path, tuple[str, ...]]
) -> list[Case]:
    """Cases of a version by the declarations on the disk, for integrations without a release.

    `where` is the folder that imports start from, and the modules that declare.
    """
    found, _ = find(*where)
    validator = validator_of(settings, stores)
    cases: list[Case] = []
    for one in found:
        case = validator.declared(one, version)
        if case is not None:
            cases.append(case)
    return cases
