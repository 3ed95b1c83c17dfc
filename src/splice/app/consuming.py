"""Consuming: what one worker of `splice consume` holds, and runs until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from splice.app.application import App
from splice.app.buses import KAFKA, QUEUE, Buses, checked_consume, schema_source, source_of
from splice.app.event_sections import ConsumeSettings
from splice.app.plugins import plugin
from splice.app.process import (
    leave_with_parent,
    log_to_stderr,
    say,
    settle_memory,
    work_in_stretches,
)
from splice.app.residing import Residing
from splice.app.sending import sender_plan
from splice.app.settings import Settings, load
from splice.app.workers import SHARE_SECONDS, share
from splice.core.errors import SettingsError, SpliceError
from splice.core.release import NotLoaded
from splice.core.units import plural, seconds
from splice.engine import observe
from splice.ports.buses import Exchange, Source
from splice.serve.events.consumer import Consumer
from splice.serve.events.envelope import Envelopes
from splice.serve.events.replies import Replies
from splice.serve.events.retries import retry_topics
from splice.serve.events.sender import Sender
from splice.serve.events.terms import Kit, Terms

log = logging.getLogger("splice.events")

_EMPTY_S = 1.0
_PRUNE_S = 60.0


class Consuming:
    """The consumers of one worker, and the sender of what they decide.

    Args:
        app: Answers calls; it must have been started.
        names: Integrations; those of the settings if empty.
        number: Which worker this is.
    """

    def __init__(self, app: App, names: Sequence[str], number: int) -> None:
        self._app, self._number = app, number
        self._services = app.services
        stores = self._services.stores
        self._buses = Buses(app.settings)
        wanted = {name: app.settings.consume.get(name, ConsumeSettings()) for name in names}
        self._wanted = wanted or app.settings.consume or _all(app)
        if not self._wanted:
            raise SettingsError(
                "consume", got="no integration", promised="[consume.NAME] in splice.toml, or a name"
            )
        targets = frozenset(
            target
            for name, one in self._wanted.items()
            for target in (*checked_consume(name, one), *_retried(name, one))
        )
        if number == 0:  # the others may be here before it has applied what is new
            for name in self._wanted:
                with contextlib.suppress(NotLoaded):  # which may be there later
                    app.engine.line(name)
        stores.events.prepare(sorted(targets))
        sinks = self._buses.sinks(targets)
        self._sender = Sender(stores.outbox, sinks, sender_plan(app.settings), _holder(number))
        self._consumers: dict[str, Consumer] = {}

    async def run(self, stopping: asyncio.Event, *, until_empty: bool = False) -> None:
        """Until `stopping`, or until nothing more comes.

        Raises:
            SpliceError: A stream cannot be read at all, or another process has taken over.
        """
        for name, one in self._wanted.items():
            self._consumers[name] = self._consumer(name, one)
        running = {
            name: asyncio.create_task(consumer.run()) for name, consumer in self._consumers.items()
        }
        consumed = asyncio.Event()
        sending = asyncio.create_task(self._sender.run(consumed))
        beside = [
            asyncio.create_task(self._share()),
            asyncio.create_task(self._prune()),
        ]
        told = asyncio.create_task(stopping.wait())
        if until_empty:
            beside.append(asyncio.create_task(self._stop_when_empty(stopping)))
        for name, consumer in self._wanted.items():
            targets = ", ".join(consumer.targets) or f"ledger (no targets in [consume.{name}])"
            say(f"{name}  {source_of(name, consumer)} -> {targets}")
        say(f"worker {self._number} consumes")
        try:
            await asyncio.wait([told, *running.values()], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for consumer in self._consumers.values():
                consumer.stop()
            ended = await asyncio.gather(*running.values(), return_exceptions=True)
            consumed.set()
            await asyncio.gather(sending, return_exceptions=True)
            for task in (told, *beside):
                task.cancel()
            await asyncio.gather(told, *beside, return_exceptions=True)
            await asyncio.to_thread(self._tell)
            await self._buses.close()
            for name, consumer in self._consumers.items():
                say(f"{name}  {_told(consumer.ended)}")
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    def _consumer(self, name: str, one: ConsumeSettings) -> Consumer:
        settings, services = self._app.settings, self._services
        line = services.engine.lines.get(name)
        if line is not None:
            Residing(settings).check_streams(name, line.declaration.options.protect)
        group = one.group or f"splice-{name}"
        source, topics = self._source(name, one, group)
        exchange: Exchange | None = None
        if one.exactly_once:
            self._check_exactly_once(name, one)
            prefix = one.transaction_id or group
            identity = f"{prefix}-{socket.gethostname()}-{self._number}"
            exchange = self._buses.kafka.exchange(source, identity)
        terms = Terms(
            name, group, one.max_in_flight, one.max_batch, one.attempts, one.backoff_seconds,
            one.max_backoff_seconds, tuple(topics), one.dead, one.drain_seconds,
        )  # fmt: skip
        kit = Kit(
            services.engine,
            services.stores.events,
            services.stores.records,
            Envelopes(one.format, schema_source(settings)),
            Replies(name, one.targets, one.reply_format),
            self._app.new_ids,
            self._sender.wake,
            exchange,
        )
        return Consumer(terms, kit, source)

    def _source(
        self, name: str, one: ConsumeSettings, group: str
    ) -> tuple[Source, list[tuple[str, float]]]:
        url = source_of(name, one)
        if url.startswith(QUEUE):
            source = plugin("buses", "queue")(
                self._services.stores.queue, url.removeprefix(QUEUE), lease_s=one.lease_seconds
            )
            return source, []
        topic = url.removeprefix(KAFKA)
        topics = retry_topics(topic, [seconds(text) for text in one.retry_delays])
        source = self._buses.kafka.source(
            [topic, *(stream.removeprefix(KAFKA) for stream, _ in topics)],
            group, start=one.start, batch=one.max_batch, drain_s=one.drain_seconds,
        )  # fmt: skip
        return source, topics

    def _check_exactly_once(self, name: str, one: ConsumeSettings) -> None:
        where = f"consume.{name}.exactly_once"
        wrong = [target for target in (source_of(name, one),) if not target.startswith(KAFKA)]
        wrong += [one for one in one.targets if not one.startswith((KAFKA, "table:", QUEUE))]
        if wrong:
            raise SettingsError(
                where,
                got=wrong[0],
                promised="a source on Kafka, and targets there or in the ledger",
            )
        line = self._services.engine.lines.get(name)
        if line is not None and line.seal is not None:
            raise SettingsError(
                where,
                got="an integration that masks or leaves out what it keeps",
                promised="one whose replies can be published again from the ledger",
                mend="leave exactly_once out: the outbox sends each decision at least once",
            )

    async def _stop_when_empty(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await asyncio.sleep(0.1)
            if any(one.idle_s < _EMPTY_S for one in self._consumers.values()):
                continue
            if not await asyncio.to_thread(self._left):
                stopping.set()

    def _left(self) -> int:
        """What waits in our queues and in the outbox."""
        stores = self._services.stores
        urls = [source_of(name, one) for name, one in self._wanted.items()]
        queues = [url.removeprefix(QUEUE) for url in urls if url.startswith(QUEUE)]
        return stores.outbox.outbox_size() + sum(map(stores.queue.depth, queues))

    async def _share(self) -> None:
        """What this worker counted is seen in `/metrics` of a server in the same folder."""
        while True:
            await asyncio.sleep(SHARE_SECONDS)
            size = await asyncio.to_thread(self._services.stores.outbox.outbox_size)
            self._services.engine.metrics.set(observe.OUTBOX_WAITING, size)
            await asyncio.to_thread(self._tell)

    def _tell(self) -> None:
        share(self._app.settings, self._app.snapshots()[0], consumes=True)

    async def _prune(self) -> None:
        """Forget events that were answered long ago, a part of the inbox at a time."""
        keep_us = int(self._app.settings.inbox.keep_days * 86_400e6)
        after = b""
        while True:
            await asyncio.sleep(_PRUNE_S)
            before_us = time.time_ns() // 1000 - keep_us
            try:
                after = await asyncio.to_thread(self._pruned, before_us, after)
            except SpliceError as error:
                log.warning("old events are not forgotten yet: %s", error)

    def _pruned(self, before_us: int, after: bytes) -> bytes:
        return self._services.stores.events.prune_inbox(before_us, after=after)[1]


def run_worker(root: Path, names: Sequence[str], number: int, *, until_empty: bool = False) -> None:
    """One worker of `splice consume`, until SIGTERM or SIGINT.

    Raises:
        SpliceError: A setting is wrong, a stream cannot be read, or another has taken over.
    """
    log_to_stderr()
    leave_with_parent()
    fast = None
    if sys.platform != "win32":
        import uvloop  # not there on Windows

        fast = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=fast) as runner:
        runner.run(_work(root, names, number, until_empty=until_empty))


async def _work(root: Path, names: Sequence[str], number: int, *, until_empty: bool) -> None:
    stopping = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stopping.set)
    settings = _with_room(load(root))
    app = App(settings=settings, apply=settings.project.apply if number == 0 else "never")
    async with app:
        settle_memory()
        work_in_stretches()
        await Consuming(app, names, number).run(stopping, until_empty=until_empty)


def _with_room(settings: Settings) -> Settings:
    """The engine takes what its consumers may have in flight: it is they who hold back."""
    room = sum(one.max_in_flight for one in settings.consume.values())
    most = max(settings.server.max_in_flight, room + ConsumeSettings().max_in_flight)
    server = msgspec.structs.replace(settings.server, max_in_flight=most)
    return msgspec.structs.replace(settings, server=server)


def _told(ended: Mapping[str, int]) -> str:
    """What became of the events that came."""
    parts = [f"{ended.get('answered', 0)} answered"]
    if repeated := ended.get("repeated"):
        parts.append(f"{repeated} answered before")
    if retried := ended.get("retried"):
        parts.append(f"tried again {plural(retried, 'time')}")
    if dead := ended.get("dead"):
        parts.append(f"{plural(dead, 'dead letter')} (splice events list)")
    return ", ".join(parts)


def _all(app: App) -> dict[str, ConsumeSettings]:
    return {name: ConsumeSettings() for name in sorted(app.engine.lines)}


def _retried(name: str, one: ConsumeSettings) -> list[str]:
    """The streams that failing events move to."""
    topic = source_of(name, one).removeprefix(KAFKA)
    return [stream for stream, _ in retry_topics(topic, [seconds(t) for t in one.retry_delays])]


def _holder(number: int) -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{number}"
