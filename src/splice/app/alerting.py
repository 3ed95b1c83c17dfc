"""Alerting: monitors and their channels by the settings, and what a firing has done."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial

from splice.app.chores import Chore
from splice.app.clock import Ids
from splice.app.plugins import plugin
from splice.app.references import training_of
from splice.app.reviewing import open_behind
from splice.app.settings import Settings
from splice.app.validity import measure_of
from splice.app.wiring import Services, Stores
from splice.control.rollouts import Rollouts
from splice.control.undoing import Undoing
from splice.core.alerts import MONITOR, Alert, Measured
from splice.core.errors import SettingsError, SpliceError
from splice.core.ids import derived_uuid7
from splice.core.monitors import Action, PinnedMonitor
from splice.core.pipeline import PipelineRun
from splice.core.release import Release
from splice.declare.retrain_reading import has_pipeline
from splice.monitor import figures
from splice.monitor.rounds import Do, Rounds, Route, Telling
from splice.monitor.telling import Pace, Teller
from splice.ports.notifiers import Channel, Notifier

log = logging.getLogger("splice.monitors")

EVERY_S = 5.0
TELL_EVERY_S = 2.0


def channel_of(settings: Settings, name: str) -> Channel:
    """A channel with the secrets that its settings name.

    Raises:
        SettingsError: A variable that it names is not set.
    """
    said = settings.alerts[name]

    def secret(field: str) -> str:
        variable: str = getattr(said, field)
        if variable and variable not in settings.secrets:
            raise SettingsError(
                f"alerts.{name}.{field}", got=f"no variable {variable}",
                promised="what it is named for", mend="set it where this process starts",
            )  # fmt: skip
        return settings.secrets.get(variable, "")

    return Channel(
        name, said.kind, secret("url_env") or said.url, bool(said.url_env), said.to, said.sender,
        secret("secret_env"), secret("user_env"), secret("password_env"), said.timeout_seconds,
        settings.monitors.console, {**said.options, "starttls": said.starttls},
    )  # fmt: skip


def notifier_of(settings: Settings, name: str) -> Notifier:
    """What tells a channel.

    Raises:
        SettingsError: Its settings are wrong, or its kind is of no plugin.
    """
    return plugin("notifiers", settings.alerts[name].kind)(channel_of(settings, name))


def notifiers_of(settings: Settings) -> tuple[dict[str, Notifier], dict[str, str]]:
    """What tells each channel, and what is wrong with those that cannot be told."""
    made: dict[str, Notifier] = {}
    wrong: dict[str, str] = {}
    for name in settings.alerts:
        try:
            made[name] = notifier_of(settings, name)
        except SpliceError as error:
            wrong[name] = str(error)
    return made, wrong


def rounds_of(
    settings: Settings, stores: Stores, deeds: Mapping[Action, Do] | None = None
) -> Rounds:
    """What evaluates the monitors of a project's ledger."""
    sources = figures.Sources(
        stores, stores.rollups, stores.records, stores.labels, stores.releases,
        settings.cost.currency, training_of(settings),
    )  # fmt: skip
    routes = tuple(
        Route(name, channel.severity, channel.integrations)
        for name, channel in settings.alerts.items()
    )
    telling = Telling(routes, settings.monitors.repeat_hours * 3600)
    validation = measure_of(stores)

    def measure(asked: PinnedMonitor, release: Release, now_us: int) -> Measured:
        if asked.kind == "validation":
            return validation(asked, release, now_us)
        return figures.measure(sources, asked, release, now_us)

    return Rounds(stores.alerts, stores.releases, measure, telling, deeds or {}, Ids().new)


def teller_of(settings: Settings, stores: Stores, notifiers: Mapping[str, Notifier]) -> Teller:
    """What tells the channels."""
    pace = Pace(settings.monitors.wait_seconds, settings.monitors.distance_seconds)
    return Teller(stores.alerts, notifiers, pace, Ids().new)


def deeds_of(services: Services) -> dict[Action, Do]:
    """How a firing is acted upon in a process that serves."""
    stores = services.stores
    undoing = Undoing(
        Rollouts(stores.releases, stores.models), stores.models, stores.alerts, stores.audit
    )

    def retrain(alert: Alert, now_us: int) -> str:
        line = services.engine.line(alert.integration)
        if not has_pipeline(line.declaration.cls):
            raise SettingsError(alert.integration, got="no retrain()", mend="declare it")
        run_id = derived_uuid7(alert.opened_us // 1000, alert.id, "retrain")
        if stores.pipelines.run(run_id) is None:  # else it was asked for by who was killed then
            why = f"{alert.monitor}: {alert.why}"
            run = PipelineRun(run_id, alert.integration, "asked", now_us, MONITOR, why)
            run_id = stores.pipelines.add_run(run, action="pipeline.ask").id
        return f"run {run_id} is asked for"

    return {
        "roll back": undoing.roll_back,
        "retrain": retrain,
        "review": partial(open_behind, stores),
    }


def chores_of_monitors(services: Services) -> list[Chore]:
    """What evaluates monitors, and what tells of alerts."""
    settings, stores = services.settings, services.stores
    rounds = rounds_of(settings, stores, deeds_of(services))
    notifiers, wrong = notifiers_of(settings)
    for name, why in wrong.items():
        log.error("channel %s cannot be told: %s", name, why)
    teller = teller_of(settings, stores, notifiers)

    def evaluate(now_us: int) -> bool:
        rounds.look(now_us)
        return False

    def tell(now_us: int) -> bool:
        return teller.look(now_us) > 0

    return [
        Chore("monitors", EVERY_S, evaluate),
        Chore("alert messages", TELL_EVERY_S, tell),
    ]
