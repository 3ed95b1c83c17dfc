"""No answered high-risk call is missing from the ledger, whatever is killed when."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from serve_project import INTEGRATIONS, TOML, ledger_of

from splice.core.ids import id_bytes
from splice.testing.project import Project, Server

GOOD = {"customer": "c-1", "amount": 5.0}


@pytest.fixture
def own(tmp_path: Path) -> Project:
    made = Project(tmp_path / "p", TOML)
    made.declare(INTEGRATIONS)
    return made


class Client(threading.Thread):
    """Asks until told to stop; its journal holds the id of every call that it got an answer to."""

    def __init__(self, server: Server, integration: str = "high-orders") -> None:
        super().__init__(daemon=True)
        self._server = server
        self._path = f"/v1/integrations/{integration}/calls"
        self._ended = threading.Event()
        self.journal: list[str] = []
        self.start()

    def run(self) -> None:
        while not self._ended.is_set():
            with contextlib.closing(self._server.connection(10.0)) as one:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    while not self._ended.is_set():
                        answer = one.post(self._path, GOOD)
                        if answer.status == 200:
                            self.journal.append(answer.json["call_id"])
                time.sleep(0.01)

    def end(self) -> list[str]:
        self._ended.set()
        self.join(20)
        return self.journal


def missing(ledger: sqlite3.Connection, journal: list[str]) -> list[str]:
    stored = {bytes(row[0]) for row in ledger.execute("SELECT id FROM calls")}
    return [call_id for call_id in journal if id_bytes(call_id) not in stored]


KILLS = int(os.environ.get("SPLICE_TEST_KILLS", "4"))
"""How often; a long run takes a thousand."""


def test_every_answered_high_risk_call_is_in_the_ledger_after_each_kill(own: Project) -> None:
    answered = 0
    for kill in range(KILLS):
        with own.serve(workers=2) as server:
            clients = [Client(server) for _ in range(6)]
            time.sleep(0.15 + kill % 10 * 0.02)
            give_up = time.monotonic() + 20.0
            while sum(len(one.journal) for one in clients) <= 20 and time.monotonic() < give_up:
                time.sleep(0.001)  # a slow machine has answered too, before it is killed
            server.kill()
            journal = [call_id for client in clients for call_id in client.end()]

        with contextlib.closing(ledger_of(own)) as ledger:
            assert missing(ledger, journal) == []
        answered += len(journal)

    assert answered > 20 * KILLS


def test_a_killed_worker_is_replaced_and_nothing_that_was_answered_is_lost(own: Project) -> None:
    with own.serve(workers=2) as server:
        clients = [Client(server) for _ in range(4)]
        for _ in range(2):
            time.sleep(0.3)
            worker = max(server.pids())
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        time.sleep(1.5)
        before = sum(len(client.journal) for client in clients)
        time.sleep(0.3)
        journal = [call_id for client in clients for call_id in client.end()]

        assert len(journal) > before  # still answered
        with contextlib.closing(ledger_of(own)) as ledger:
            assert missing(ledger, journal) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_in_mid_call_answers_it_and_writes_what_was_answered_before(
    own: Project, workers: int
) -> None:
    with own.serve(workers=workers) as server:
        quick = [
            server.post("/v1/integrations/orders/calls", GOOD).json["call_id"] for _ in range(20)
        ]
        slow: list[int] = []

        def ask() -> None:
            slow.append(server.post("/v1/integrations/waits/calls", {"seconds": 0.5}).status)

        callers = [threading.Thread(target=ask) for _ in range(4)]
        for one in callers:
            one.start()
        time.sleep(0.2)
        last = server.post("/v1/integrations/orders/calls", GOOD).json["call_id"]
        code = server.stop()
        for one in callers:
            one.join(10)

    assert slow == [200] * 4
    assert code == 0
    with contextlib.closing(ledger_of(own)) as ledger:
        assert missing(ledger, [*quick, last]) == []
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (25,)


def test_low_risk_calls_are_lost_by_a_kill_only_within_the_flush_interval(own: Project) -> None:
    with own.serve() as server:
        client = Client(server, "orders")
        time.sleep(0.5)
        before = len(client.journal)
        time.sleep(0.3)  # far more than the flush interval of 1 ms
        server.kill()
        journal = client.end()

    with contextlib.closing(ledger_of(own)) as ledger:
        assert missing(ledger, journal[:before]) == []
