"""Buses of a process by its settings: Kafka, the embedded queue, webhooks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from splice.app.event_sections import ConsumeSettings
from splice.app.plugins import plugin
from splice.app.sending import webhook_sink
from splice.app.settings import Settings
from splice.core.errors import SettingsError
from splice.ports.buses import Sink
from splice.ports.schemas import RegistryAccess

KAFKA, QUEUE, TABLE = "kafka:", "queue:", "table:"
SCHEMES = (KAFKA, QUEUE, TABLE, "https:", "http:")


def kafka_options(settings: Settings) -> dict[str, Any]:
    """The options of librdkafka, secrets in them.

    Raises:
        SettingsError: A variable is named for a secret, and it is not set.
    """
    options: dict[str, Any] = dict(settings.kafka.options)
    for option, variable in settings.kafka.secret_options.items():
        if variable not in settings.secrets:
            raise SettingsError(
                f"kafka.secret_options.{option}", got=f"no variable {variable}",
                promised="the secret itself", mend="set it where this process starts",
            )  # fmt: skip
        options[option] = settings.secrets[variable]
    return options


def kafka_bus(settings: Settings) -> Any:
    """The cluster of `[kafka]`.

    Raises:
        SettingsError: None is named, or its library is not installed.
    """
    if not settings.kafka.servers:
        raise SettingsError(
            "kafka.servers", got="nothing", promised="host:port of a broker",
            mend="name the cluster in [kafka], for a stream kafka:… is used",
        )  # fmt: skip
    bus = plugin("buses", "kafka", "splice-ai[kafka]")
    return bus(settings.kafka.servers, kafka_options(settings))


def schema_source(settings: Settings) -> Any:
    """The Schema Registry of `[kafka]`; None where none is named.

    Raises:
        SettingsError: Its library is not installed.
    """
    if not settings.kafka.schema_registry:
        return None
    kafka = settings.kafka
    user = settings.secrets.get(kafka.registry_user_env, "")
    password = settings.secrets.get(kafka.registry_password_env, "")
    registry = plugin("schemas", kafka.schema_registry.partition(":")[0])
    return registry(RegistryAccess(kafka.schema_registry, user, password))


def checked_target(target: str, where: str) -> str:
    """The target, if it is one.

    Raises:
        SettingsError: Its scheme is not known.
    """
    if not target.startswith(SCHEMES) or target in SCHEMES:
        raise SettingsError(
            where, got=target[:80],
            promised="kafka:TOPIC, queue:NAME, table:NAME or the URL of a webhook",
        )  # fmt: skip
    return target


def source_of(name: str, one: ConsumeSettings) -> str:
    """Where the events of an integration come from."""
    return one.source or QUEUE + name


def checked_consume(name: str, one: ConsumeSettings) -> list[str]:
    """Where decisions and dead letters of an integration go, after a look at the source too.

    Raises:
        SettingsError: One of them is no stream, or is written into what it is read from.
    """
    source, targets = source_of(name, one), [*one.targets, *filter(None, [one.dead])]
    if not source.startswith((KAFKA, QUEUE)) or source in SCHEMES:
        raise SettingsError(
            f"consume.{name}.source", got=source[:80], promised="kafka:TOPIC or queue:NAME"
        )
    for target in targets:
        where = f"consume.{name}.{'targets' if target in one.targets else 'dead'}"
        if checked_target(target, where) == source:
            raise SettingsError(
                where, got=f"{target[:80]}, the stream that it reads", promised="another",
                mend="what it decided would come back as an event, again and again",
            )  # fmt: skip
    return targets


def check_consumed(settings: Settings, known: Collection[str]) -> None:
    """Look at every [consume.NAME] of a project with these integrations.

    Raises:
        SettingsError: There is no such integration; or as of `checked_consume`.
    """
    for name, one in settings.consume.items():
        if name not in known:
            raise SettingsError(
                f"consume.{name}", got="no integration of that name",
                promised=f"one of {', '.join(sorted(known)) or 'none yet'}",
            )  # fmt: skip
        checked_consume(name, one)


class Buses:
    """The buses of one process, each opened when it is first needed.

    Args:
        settings: Of the process.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kafka: Any = None
        self._sinks: dict[str, Sink] = {}

    @property
    def kafka(self) -> Any:
        """The cluster."""
        if self._kafka is None:
            self._kafka = kafka_bus(self._settings)
        return self._kafka

    def sinks(self, targets: frozenset[str]) -> Mapping[str, Sink]:
        """By scheme, what takes messages for these targets; what the ledger takes needs none."""
        for scheme in {target.partition(":")[0] for target in targets} - {"queue", "table"}:
            if scheme not in self._sinks:
                self._sinks[scheme] = (
                    self.kafka.sink() if scheme == "kafka" else webhook_sink(self._settings, scheme)
                )
        return self._sinks

    async def close(self) -> None:
        """Let go of connections."""
        for sink in self._sinks.values():
            await sink.close()
