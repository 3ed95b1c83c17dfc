"""Budgets of an offline job: room is reserved before a batch is sent, and settled after."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from offline_house import (
    JOB,
    KEY,
    ONLINE_NANO,
    SETTINGS,
    declare,
    listed,
    replies,
    settle_in,
    write_tickets,
)

from splice.serve.batch import offline
from splice.testing.batch_server import BatchServer, Fate

SERVICES = Path(__file__).parents[2] / "scripts" / "services"
BATCH_NANO = ONLINE_NANO // 2
ROUTES = "    routes = ["


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    monkeypatch.setenv("REMOTE_KEY", KEY)
    monkeypatch.setattr(offline, "FIRST_POLL_S", 0.01)
    with BatchServer() as server:
        yield server


def with_budget(command: Any, server: BatchServer, amount: str) -> None:
    """The project with a budget for a month. A row may cost about 0.02 and costs 0.0031."""
    settle_in(command, server)
    declare(command, ROUTES, f'    budget = splice.Spend("EUR {amount}")\n{ROUTES}')


def spent(command: Any) -> int:
    """What all calls of the ledger cost."""
    return sum(round(one["cost"] * 1e9) for one in listed(command))


def test_as_many_rows_are_sent_as_the_budget_has_room_for_and_then_the_next(
    command, server: BatchServer
) -> None:
    with_budget(command, server, "0.10")
    write_tickets(command.folder, 12)

    ran = command(*JOB, "--json")

    assert ran.json["answered"] == 12, ran.err
    assert len(server.batches) > 2
    assert set(server.ran.values()) == {1}
    assert ran.json["cost_nano"] == 12 * BATCH_NANO


def test_no_more_is_sent_than_there_is_room_for_while_a_batch_is_away(
    command, server: BatchServer
) -> None:
    with_budget(command, server, "0.10")
    write_tickets(command.folder, 12)
    server.held = True

    first = command(*JOB)
    requests = len(server.batches[0].requests)
    again = command(*JOB, "--json")  # another process, whose counters begin anew
    batches = len(server.batches)
    server.release()
    ran = command(*JOB, "--json")

    assert "Others are sent when there is room" in first.out
    assert 1 < requests < 12
    assert "over_budget" in again.json["waiting"]
    assert batches == 1
    assert ran.json["answered"] == 12
    assert {one["status"] for one in listed(command)} == {"answered"}


def test_a_budget_without_room_for_a_row_ends_the_run_and_burns_no_row(
    command, server: BatchServer
) -> None:
    with_budget(command, server, "0.01")
    write_tickets(command.folder, 3)

    refused = command(*JOB)
    recorded = listed(command)
    declare(command, ROUTES, f'    budget = splice.Spend("EUR 9")\n{ROUTES}')
    anew = command("batch", "tickets", "in.jsonl", "-o", "anew.jsonl", "--offline", "--json")

    assert refused.code == 1
    assert "over_budget" in refused.err
    assert recorded == []
    assert anew.json["answered"] == 3


def test_rows_that_may_fall_back_are_reserved_for_at_the_dearest_price(
    command, server: BatchServer
) -> None:
    dear = 'splice.LLM("remote/large", prompt="triage.md", params={"max_tokens": 60}),'
    with_budget(command, server, "0.10")
    write_tickets(command.folder, 12)
    server.held = True
    command(*JOB)
    without = len(server.batches[0].requests)
    fallback = "        splice.Rule("
    declare(command, fallback, f"        {dear}\n{fallback}")
    source = command.folder / "integrations.py"
    budget = f'    budget = splice.Spend("EUR 0.10")\n{ROUTES}'
    source.write_text(source.read_text().replace(ROUTES, budget))
    command("release", "apply", "--yes")

    command("batch", "tickets", "in.jsonl", "-o", "dear.jsonl", "--offline")

    assert len(server.batches) == 2
    assert 0 < len(server.batches[1].requests) < without


@pytest.fixture
def database() -> str:
    """An empty database of a Redis server."""
    url = os.environ.get("SPLICE_TEST_REDIS", "")
    if not url:
        up = subprocess.run([SERVICES, "status", "redis"], capture_output=True, check=False)
        if up.returncode:
            pytest.skip("no Redis server: scripts/services start redis")
        said = subprocess.run([SERVICES, "env", "redis"], capture_output=True, text=True)
        url = said.stdout.strip().partition("=")[2]
    url = f"{url}?db=11"
    with redis.Redis.from_url(url) as asking:
        asking.flushdb()
    return url


def counted(url: str) -> int:
    """What the budget's counter says."""
    with redis.Redis.from_url(url) as asking:
        found = [asking.get(key) for key in asking.scan_iter("*integration:tickets*")]
    return sum(int(one or 0) for one in found)


@pytest.mark.redis
def test_room_stays_reserved_between_two_processes_and_is_settled_exactly(
    command, server: BatchServer, database: str
) -> None:
    with_budget(command, server, "5")
    text = SETTINGS.format(kind="openai", url=f"{server.url}/v1", batch="batch = 0.5")
    command.settings(f'{text}\n[meters]\nurl = "{database}"\n')
    write_tickets(command.folder, 10)
    server.fate = lambda text: Fate(status=500 if text == "ticket 3" else 200)
    server.held = True

    command(*JOB)
    away = counted(database)
    command(*JOB)
    still = counted(database)
    server.release()
    command(*JOB)

    assert away == still > 10 * BATCH_NANO
    assert counted(database) == spent(command) == 9 * BATCH_NANO
    assert replies(command.folder)[3]["reason"] == "fallback"
