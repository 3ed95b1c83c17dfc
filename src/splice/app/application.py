"""App: the product inside a Python program."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec

from splice.app import health, wiring
from splice.app.background import Background
from splice.app.clock import Ids, now_us
from splice.app.drain import Drain
from splice.app.measuring import Measuring
from splice.app.overseeing import Overseer
from splice.app.pipelines import ask_live
from splice.app.publishing import publish
from splice.app.replay import replay
from splice.app.settings import Settings, load
from splice.app.starting import Apply, apply_found, declared, tolerate
from splice.app.surfaces import http_surface
from splice.app.tending import eraser_of
from splice.app.watch import Watcher
from splice.control.erasure import Eraser
from splice.core.call import Call, Outcome, Record
from splice.core.errors import InputMismatch, SpliceError, UnknownCall
from splice.declare.codec import Codec
from splice.declare.discover import find_live
from splice.declare.spec import Integration, integration_name
from splice.engine.engine import Answered, Engine
from splice.engine.observe import Snapshot
from splice.ports.stores import OutcomeStore, RecordStore
from splice.serve.events.publishing import Publisher
from splice.serve.http.lane import HttpSurface

log = logging.getLogger("splice")


class App:
    """Answers calls in this process, and over HTTP where it is mounted.

    Either hand it integration classes of your program, or let it read a project folder:

        app = splice.App(FraudScreening)          # a part of your application
        app = splice.App(project="/srv/splice")   # a folder with splice.toml

    Args:
        *integrations: Classes to serve. Their sources become releases as they are.
        project: Folder of splice.toml and of `.splice/`; the working folder if left out.
        settings: Instead of reading them from `project`.
        apply: Which declarations become releases by themselves at start; see the setting
            `project.apply`. For classes it is `new` where the setting is not `never`.
        shared: This process is a worker of a server: its metrics are those of all workers, and of
            those that consume in the same folder.
    """

    def __init__(
        self,
        *integrations: type[Integration],
        project: str | Path = ".",
        settings: Settings | None = None,
        apply: Apply | None = None,
        shared: bool = False,
    ) -> None:
        self.settings = settings or load(Path(project))
        self._classes = integrations
        self._shared = shared
        self._measuring: Measuring | None = None
        setting = self.settings.project.apply
        by_itself: Apply = "new" if integrations and setting != "never" else setting
        self._apply: Apply = apply or by_itself
        ids = Ids()
        self.new_id, self.new_ids = ids.new, ids.many
        self._services: wiring.Services | None = None
        self._watcher: Watcher | None = None
        self._beside: Background | None = None
        self._starting: asyncio.Lock | None = None
        self._replies: dict[str, Codec] = {}
        self._surface: HttpSurface | None = None
        self.draining = False
        self._drain = Drain(self.settings.server.drain_seconds)
        self.applied: list[str] = []
        self.overseer = Overseer(lambda: self.services)

    @property
    def services(self) -> wiring.Services:
        """What the process holds; the app must have been started."""
        if self._services is None:
            raise RuntimeError("the app is not started: use `async with app`, or await app.start()")
        return self._services

    @property
    def started(self) -> bool:
        """Whether calls can be taken."""
        return self._services is not None

    @property
    def engine(self) -> Engine:
        """Answers calls."""
        services = self._services
        return self.services.engine if services is None else services.engine

    @property
    def records(self) -> RecordStore:
        """The ledger's calls."""
        return self.services.stores.records

    @property
    def outcomes(self) -> OutcomeStore:
        """The ledger's outcomes."""
        return self.services.stores.outcomes

    def snapshots(self) -> list[Snapshot]:
        """Metrics of this process; of a server's worker those of the others too, its own first."""
        if self._measuring is None:
            raise RuntimeError("the app is not started")
        return self._measuring.of_all()

    async def start(self) -> None:
        """Open the ledger, load what is live. Called by the first call if by nobody else."""
        if self._services is not None:
            return
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._services is None:
                services, watcher = await asyncio.to_thread(self._open)
                services.recorder.start()
                await self._restore(services)
                watcher.start()
                self._beside = Background(services)
                self._beside.start()
                self._watcher, self._services = watcher, services
                self._measuring = Measuring(services, self._shared)
                self._measuring.start()
                atexit.register(self._at_exit)

    async def _restore(self, services: wiring.Services) -> None:
        """Budgets know what was spent before this process.

        Where they cannot, the first call asks again.
        """
        lines = services.engine.lines.values()
        declared = [one for line in lines for one in line.declaration.options.budgets]
        if services.engine.purse is not None:
            try:
                await services.engine.purse.restore(declared)
            except SpliceError as error:
                log.warning("budgets cannot be restored yet: %s", error)

    def _open(self) -> tuple[wiring.Services, Watcher]:
        found, mistakes = declared(self.settings, self._classes, self._apply)
        services = wiring.services(self.settings)
        try:
            tolerate(mistakes, services.stores.releases.live())
            self.applied += apply_found(services.control, found, self._apply)
            watcher = Watcher(services, found if self._classes else ())
            watcher.load()
        except BaseException:
            services.stores.close()
            raise
        return services, watcher

    def apply_at_start(self) -> None:
        """Apply what the setting says, before workers start: each by itself would do it once."""
        found, mistakes = declared(self.settings, self._classes, self._apply)
        stores = wiring.Stores(self.settings)
        try:
            tolerate(mistakes, stores.releases.live())
            control = wiring.control_of(self.settings, stores)
            self.applied += apply_found(control, found, self._apply)
        finally:
            stores.close()

    async def stop(self) -> None:
        """Let running calls end, write what waits, close everything."""
        services, watcher = self._services, self._watcher
        if services is None or watcher is None:
            return
        self.drain()
        await self._drain.run_down(services.engine)
        if self._surface is not None:
            await self._surface.close()
        if self._beside is not None:
            await self._beside.stop()
        await watcher.stop()
        if self._measuring is not None:
            await self._measuring.stop()
            self._measuring = None
        self.overseer.close()
        lost = await services.close()
        if lost:
            log.error("%d records could be kept nowhere", lost)
        atexit.unregister(self._at_exit)
        self._services = self._watcher = None
        self._drain = Drain(self.settings.server.drain_seconds)
        self.draining = False

    def drain(self) -> None:
        """No new calls from now on; those that run have `server.drain_seconds` to end."""
        self.draining = True
        if self._services is not None:
            self._drain.begin(self._services.engine)

    def _at_exit(self) -> None:
        # Mounted in a program that has no lifespan, nobody stops us: at least nothing is lost.
        if self._services is not None:
            self._services.recorder.stop()

    async def __aenter__(self) -> App:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncGenerator[None]:
        """A lifespan for the application that this one is mounted in."""
        async with self:
            yield

    async def call(
        self, integration: type[Integration] | str, request: Any, *, key: str | None = None
    ) -> Any:
        """The reply to a request.

        Args:
            integration: The class, or its name.
            request: An instance of the request type, or a mapping of its fields.
            key: Idempotency key: the same key gets the same answer.

        Returns:
            An instance of the class's reply type; a dict where a name was given.

        Raises:
            RequestError: The request is not of the declared type.
            RefusedError: It may not run now, or could not be recorded.
            ExhaustedError: No route answered.
            SpliceError: `context()` or `decide()` failed.
        """
        answered = await self.ask(integration, request, key=key)
        if answered.error is not None:
            raise answered.error
        reply = answered.record.reply or b"null"
        if isinstance(integration, str):
            return msgspec.json.decode(reply)
        return self._reply_codec(integration).decode(reply, f"{integration.__name__}.reply")

    async def ask(
        self, integration: type[Integration] | str, request: Any, *, key: str | None = None
    ) -> Answered:
        """Like `call`, but gives the whole record: route, attempts, cost, release, reasons."""
        await self.start()
        name = integration if isinstance(integration, str) else integration_name(integration)
        engine = self.services.engine
        line = engine.line(name)
        typed = line.request.convert(request, line.where)
        try:
            body = line.request.encode(typed)
        except UnicodeEncodeError:
            raise InputMismatch(
                line.where, got="text with half of a surrogate pair", promised="text"
            ) from None
        call = Call(
            id=self.new_id(),
            integration=name,
            body=body,
            asked_us=now_us(),
            surface="python",
            key=key,
        )
        return await engine.answer(call)

    publish = publish

    @property
    def publisher(self) -> Publisher:
        """Puts events into streams; the app must have been started."""
        return self.services.outlets.publisher

    @property
    def eraser(self) -> Eraser:
        """Erases persons, and gives out what is known of them; the app must have been started."""
        return eraser_of(self.services.stores)

    def _reply_codec(self, cls: type[Integration]) -> Codec:
        name = cls.__qualname__ + cls.__module__
        if name not in self._replies:
            self._replies[name] = find_live(cls).declaration.reply
        return self._replies[name]

    async def record(self, call_id: str) -> Record:
        """What was asked and answered, and why.

        Raises:
            UnknownCall: The ledger holds no call of that id.
        """
        await self.start()
        record = await asyncio.to_thread(self.services.stores.records.get, call_id)
        if record is None:
            raise UnknownCall(call_id[:80], got="no such call in the ledger")
        return record

    async def outcome(
        self,
        integration: type[Integration] | str,
        name: str,
        value: bool | float | str,
        *,
        call_id: str | None = None,
        entity: str | None = None,
        at_us: int | None = None,
    ) -> None:
        """Tell what really happened, by call id or by entity key.

        Raises:
            SpliceError: Neither id nor entity is given, or the ledger could not keep it.
        """
        await self.start()
        if (call_id is None) == (entity is None):
            raise SpliceError(
                "outcome", got="both or neither", promised="a call_id or an entity, one of them"
            )
        known = integration if isinstance(integration, str) else integration_name(integration)
        outcome = Outcome(known, name, value, at_us or now_us(), call_id, entity, "python")
        outcome = self.services.engine.recorded(outcome)
        await asyncio.to_thread(self.services.stores.outcomes.append_outcomes, [outcome], now_us())

    async def retrain(self, integration: type[Integration] | str, *, why: str) -> str:
        """Asks for a run of its pipeline, which `splice retrain watch` takes up; gives its id.

        Raises:
            UnknownIntegration: It is not live here.
            DeclarationError: It does not say how it is retrained.
        """
        await self.start()
        name = integration if isinstance(integration, str) else integration_name(integration)
        return await asyncio.to_thread(ask_live, self.services, name, why)

    async def replay(self, call_id: str, release: int | None = None) -> tuple[Record, Answered]:
        """The recorded call, and what the same input gives by a release; nothing is recorded.

        Look-ups that the call made are answered from its record; a look-up that it did not make is
        made now.

        Args:
            call_id: The call.
            release: Number of the release to ask; the one that answered if left out.

        Raises:
            UnknownCall: The ledger holds no call of that id.
            UnknownRelease: The integration has no such release.
        """
        record = await self.record(call_id)
        return record, await replay(self.services, self.watched, record, release)

    @property
    def watched(self) -> Watcher:
        """Follows what is live; the app must have been started."""
        if self._watcher is None:
            raise RuntimeError("the app is not started")
        return self._watcher

    def not_ready(self) -> list[str]:
        """What keeps this process from answering as it should; empty when it is ready."""
        if self._services is None or self._watcher is None:
            return ["starting"]
        services, watcher = self._services, self._watcher
        lines = services.engine.lines
        wrong = [f"integration {n}: {why}" for n, why in watcher.broken.items() if n not in lines]
        if not services.engine.lines:
            wrong.append("no integration is live: splice release apply")
        if services.recorder.full:
            wrong.append(f"ledger: {services.recorder.waiting} records wait; new calls are refused")
        if self.draining:
            wrong.append("draining")
        return wrong

    def degraded(self) -> list[str]:
        """What works less well than it should, while calls are answered all the same."""
        if self._services is None or self._watcher is None:
            return []
        return health.degraded(self._services, self._watcher)

    def asgi(self) -> HttpSurface:
        """The HTTP surface: an ASGI application to serve, or to mount in yours.

        Mounted, it starts with its first request; hand `app.lifespan` to your application to have
        it started and stopped with yours.
        """
        if self._surface is None:
            self._surface = http_surface(self, self.settings)
        return self._surface
