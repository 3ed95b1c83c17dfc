"""How many alerts are open is told as a metric, of the ledger and not of a process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

import splice
from splice.app.settings import Settings
from splice.core.alerts import Alert, Finding
from splice.core.monitors import PinnedMonitor
from splice.engine import observe
from splice.ports.alerts import Turn

MONITOR = PinnedMonitor(
    "slow", "latency", "p95", 3600.0, 60.0, 0.0, 0.0, 1, "critical", ("alert",), above=0.1
)
OPEN = Alert(
    "019b8f2e-0000-7000-8000-0123456789ab", "orders", "slow", "firing", "open", "critical", 1,
    1_795_000_000_000_000, "p95 is 0.3 s", MONITOR,
)  # fmt: skip
FOUND = Finding("orders", "slow", "firing", OPEN.opened_us, OPEN.opened_us, 1, MONITOR, OPEN.why)


def told(app: splice.App) -> dict[observe.Labels, float]:
    (snapshot,) = app.snapshots()
    return {tuple(labels): cell[0] for labels, cell in snapshot.get(observe.ALERTS.name, [])}


async def test_an_alert_is_counted_while_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splice.app.measuring._ALERTS_S", 0.05)
    settings = msgspec.convert({"root": str(tmp_path)}, Settings)
    async with splice.App(settings=settings, apply="never") as app:
        alerts = app.services.stores.alerts
        finding = await asyncio.to_thread(alerts.settle, Turn(FOUND, opened=(OPEN,)))
        while told(app) != {("orders", "critical"): 1}:
            await asyncio.sleep(0.02)

        stored = alerts.alert(OPEN.id)
        assert stored is not None
        ended = msgspec.structs.replace(stored, state="resolved", resolved_us=OPEN.opened_us + 1)
        await asyncio.to_thread(alerts.settle, Turn(finding, changed=(ended,)))
        while told(app) != {("orders", "critical"): 0}:
            await asyncio.sleep(0.02)


def test_of_several_processes_the_same_alerts_count_once() -> None:
    one = {
        observe.ALERTS.name: [(("orders", "critical"), [2.0])],
        "splice_calls_in_flight": [((), [1.0])],
    }
    other = {
        observe.ALERTS.name: [(("orders", "critical"), [3.0])],
        "splice_calls_in_flight": [((), [4.0])],
    }

    both = observe.merge([one, other])

    assert both[observe.ALERTS.name] == [(("orders", "critical"), [3.0])]
    assert both["splice_calls_in_flight"] == [((), [5.0])]
