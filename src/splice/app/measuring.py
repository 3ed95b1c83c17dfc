"""What this process counted: asked for, shared with the other workers, and sent over OTLP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import uuid
from collections import Counter

from splice.app.clock import now_us
from splice.app.plugins import made
from splice.app.reviewing import ReviewGauges
from splice.app.settings import Settings
from splice.app.wiring import Services
from splice.app.workers import SHARE_SECONDS, others, share
from splice.core.errors import SpliceError
from splice.engine import observe
from splice.engine.conventions import families
from splice.engine.observe import Snapshot
from splice.ports.alerts import AlertFilter
from splice.ports.telemetry import MetricSender

_ALERTS_S = 10.0
_MOST_ALERTS = 1000
_TRACES, _METRICS = "/v1/traces", "/v1/metrics"


class Measuring:
    """The cells of one process, and who is told of them.

    Args:
        services: What is measured.
        shared: It serves: it is told what other workers counted, and one of several tells them.
    """

    def __init__(self, services: Services, shared: bool) -> None:
        self._services = services
        self._settings = services.settings
        self._shared = shared
        self._since_us = now_us()
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._alerts: set[observe.Labels] = set()
        self._reviews = ReviewGauges(services)
        self._sender = sender_of(services.settings)

    def own(self) -> Snapshot:
        """What this process counted, with how things stand now."""
        engine, recorder = self._services.engine, self._services.recorder
        engine.metrics.set(observe.IN_FLIGHT, engine.in_flight)
        engine.metrics.set(observe.LEDGER_WAITING, recorder.waiting)
        engine.metrics.set(observe.LEDGER_SPOOLED, recorder.spooled)
        engine.metrics.set(observe.LEDGER_ERRORS, recorder.errors)
        self._services.compiler.observe(engine.metrics)
        return engine.metrics.snapshot()

    def of_all(self) -> list[Snapshot]:
        """What every worker of this server counted; this one first."""
        return [self.own(), *others(self._settings)] if self._shared else [self.own()]

    def start(self) -> None:
        """Share and send from now on, in the running loop."""
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._watch_alerts()))
        if self._shared and self._settings.server.workers > 1:
            self._tasks.append(loop.create_task(self._share()))
        if self._sender is not None:
            self._tasks.append(loop.create_task(self._send(self._sender)))

    async def stop(self) -> None:
        """Tell once more, and end."""
        self._stopped.set()
        await asyncio.gather(*self._tasks)
        if self._sender is not None:
            await asyncio.to_thread(self._sender.close)

    async def _watch_alerts(self) -> None:
        """How many alerts are open, as the ledger says; while it is away, as it said."""
        stops = False
        while not stops:
            try:
                counted = await asyncio.to_thread(self._open_alerts)
            except SpliceError:
                counted = None
            if counted is not None:
                metrics = self._services.engine.metrics
                for labels in self._alerts - set(counted):
                    metrics.set(observe.ALERTS, 0, labels)
                for labels, number in counted.items():
                    metrics.set(observe.ALERTS, number, labels)
                self._alerts |= set(counted)
            with contextlib.suppress(SpliceError):
                await asyncio.to_thread(self._reviews.tell, now_us())
            stops = await self._stops_within(_ALERTS_S)

    def _open_alerts(self) -> Counter[observe.Labels]:
        wanted = AlertFilter(state="open", limit=_MOST_ALERTS)
        alerts = self._services.stores.alerts.alerts(wanted)
        return Counter((one.integration, one.severity) for one in alerts)

    async def _share(self) -> None:
        while not await self._stops_within(SHARE_SECONDS):
            await asyncio.to_thread(share, self._settings, self.own())
        share(self._settings, self.own())

    async def _send(self, sender: MetricSender) -> None:
        telemetry = self._settings.telemetry
        stops = False
        while not stops:
            stops = await self._stops_within(telemetry.metrics_every_s)
            counted = families(self.own(), telemetry.genai)
            await asyncio.to_thread(sender.send, counted, self._since_us, now_us())

    async def _stops_within(self, wait_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), wait_s)
        return self._stopped.is_set()


def sender_of(settings: Settings) -> MetricSender | None:
    """Sends metrics to where the settings say; None where they say nothing."""
    endpoint = metrics_endpoint(settings.telemetry.endpoint, settings.telemetry.metrics_endpoint)
    if not endpoint:
        return None
    instance = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    service = settings.telemetry.service
    return made("telemetry", "otlp-metrics", "splice-ai[otel]", endpoint, service, instance)


def metrics_endpoint(traces: str, metrics: str) -> str:
    """Where metrics go: to their own endpoint, else beside the traces; empty is nowhere.

    A whole URL of traces that is not of the usual form tells nothing of where metrics go.
    """
    if metrics:
        return "" if metrics == "none" else metrics
    if traces.rstrip("/").endswith(_TRACES):
        return traces.rstrip("/").removesuffix(_TRACES) + _METRICS
    bare = traces.partition("://")[2].rstrip("/").count("/") == 0
    return traces if bare else ""
