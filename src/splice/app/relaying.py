"""Relaying: what one process of `splice relay` holds, and runs until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from splice.adapters.outboxes.sql import SqlOutboxTable
from splice.app.buses import kafka_bus
from splice.app.event_sections import RelaySettings
from splice.app.process import log_to_stderr, say
from splice.app.settings import Settings, load
from splice.app.wiring import Stores
from splice.core.errors import SettingsError
from splice.core.units import plural
from splice.ports.buses import Sink
from splice.serve.events.outbox_messages import targets_of
from splice.serve.events.queue_sink import QueueSink
from splice.serve.events.relay import Relay, RelayPlan

log = logging.getLogger("splice.relay")


class Relaying:
    """The relays of one process.

    Args:
        settings: Of the process.
        names: Which of `[relay.NAME]`; all if empty.

    Raises:
        SettingsError: One is not declared, a variable is not set, a target leads nowhere, or the
            Kafka of a target is not named.
    """

    def __init__(self, settings: Settings, names: Sequence[str] = ()) -> None:
        self._settings = settings
        wanted = {name: _declared(settings, name) for name in names} or settings.relay
        if not wanted:
            raise SettingsError("relay", got="none", promised="[relay.NAME] in splice.toml")
        plans = {name: _plan(name, one) for name, one in wanted.items()}
        urls = {name: _url(settings, name, one) for name, one in wanted.items()}
        targets = frozenset(target for plan in plans.values() for target in plan.targets)
        tables = {name: _table(urls[name], one) for name, one in wanted.items()}
        self._stores: Stores | None = None
        self._sinks = self._sinks_of(targets)
        self.relays = [Relay(tables[name], self._sinks, plans[name]) for name in wanted]

    async def run(self, stop: asyncio.Event, *, until_empty: bool = False) -> None:
        """Until `stop`, or until every table is empty.

        Raises:
            StoreError: A database is away, where it should be emptied.
        """
        try:
            if until_empty:
                await asyncio.gather(*(_emptied(one, stop) for one in self.relays))
            else:
                await asyncio.gather(*(one.run(stop) for one in self.relays))
        finally:
            for one in self.relays:
                await one.close()
            for sink in self._sinks.values():
                await sink.close()
            if self._stores is not None:
                await asyncio.to_thread(self._stores.close)

    def _sinks_of(self, targets: frozenset[str]) -> dict[str, Sink]:
        sinks: dict[str, Sink] = {}
        schemes = {target.partition(":")[0] for target in targets}
        if "kafka" in schemes:
            sinks["kafka"] = kafka_bus(self._settings).sink()
        if "queue" in schemes:
            self._stores = Stores(self._settings)
            sinks["queue"] = QueueSink(self._stores.queue)
        return sinks


def run_relays(root: Path, names: Sequence[str], *, until_empty: bool) -> None:
    """`splice relay`, until SIGTERM or SIGINT.

    Raises:
        SpliceError: A setting is wrong.
    """
    log_to_stderr()
    asyncio.run(_work(root, names, until_empty=until_empty))


async def _work(root: Path, names: Sequence[str], *, until_empty: bool) -> None:
    stop = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    relaying = Relaying(load(root), names)
    for relay in relaying.relays:
        say(f"{relay.plan.name}  -> {', '.join(relay.plan.targets)}")
    await relaying.run(stop, until_empty=until_empty)
    say(f"sent {plural(sum(relay.sent for relay in relaying.relays), 'event')}")


async def _emptied(relay: Relay, stop: asyncio.Event) -> None:
    while not stop.is_set():
        if await relay.step() == 0 and not relay.held and not relay.standby:
            return
        await asyncio.sleep(0 if relay.sent else relay.plan.poll_s)


def _declared(settings: Settings, name: str) -> RelaySettings:
    if name not in settings.relay:
        known = ", ".join(sorted(settings.relay)) or "none"
        raise SettingsError(f"relay.{name[:80]}", got="no such relay", promised=f"one of {known}")
    return settings.relay[name]


def _plan(name: str, one: RelaySettings) -> RelayPlan:
    targets = targets_of(one.targets, f"relay.{name}.targets")
    return RelayPlan(
        name, targets, one.source, one.batch, one.poll_seconds,
        max_backoff_s=one.max_backoff_seconds,
    )  # fmt: skip


def _url(settings: Settings, name: str, one: RelaySettings) -> str:
    if one.url_env not in settings.secrets:
        raise SettingsError(
            f"relay.{name}.url_env", got=f"no variable {one.url_env}",
            promised="the URL of the database", mend="set it where this process starts",
        )  # fmt: skip
    return settings.secrets[one.url_env]


def _table(url: str, one: RelaySettings) -> SqlOutboxTable:
    return SqlOutboxTable(url, one.table, order_by=one.order_by, mark=one.after_sending == "mark")
