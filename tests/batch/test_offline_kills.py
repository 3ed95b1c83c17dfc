"""An offline job that is killed, or loses an answer: no row is lost, and none is paid twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from offline_house import JOB, KEY, listed, replies, settle_in, write_tickets

from splice.serve.batch import collecting, filling, offline
from splice.testing.batch_server import BatchServer, Fate

ROWS = 9


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    monkeypatch.setenv("REMOTE_KEY", KEY)
    monkeypatch.setattr(offline, "FIRST_POLL_S", 0.01)
    monkeypatch.setattr(offline, "LONGEST_POLL_S", 0.01)
    monkeypatch.setattr(filling, "MOST_ROWS", 4)
    with BatchServer() as server:
        server.fate = lambda text: Fate(status=500 if text == "ticket 2" else 200)
        yield server


@pytest.fixture(params=["openai", "anthropic"])
def tickets(request: pytest.FixtureRequest, command: Any, server: BatchServer) -> Any:
    """The project, at either provider."""
    settle_in(command, server, request.param)
    write_tickets(command.folder, ROWS)
    return command


def answered_once(command: Any, server: BatchServer) -> None:
    """Every row was answered, recorded and charged, and each of that once."""
    lines = replies(command.folder)
    answered = [(row, "answered") for row in range(ROWS)]
    assert [(one["row"], one["status"]) for one in lines] == answered
    calls = listed(command)
    assert sorted(one["call_id"] for one in calls) == sorted(one["call_id"] for one in lines)
    assert len(server.ran) == ROWS
    assert set(server.ran.values()) == {1}


def points() -> list[tuple[str, int]]:
    """Requests during which the process is killed: before the server acts, and after."""
    return [(when, n) for when in ("before", "after") for n in range(0, 16, 4)]


@pytest.mark.parametrize(("when", "number"), points())
def test_a_killed_process_is_gone_on_with(
    tickets, server: BatchServer, monkeypatch: pytest.MonkeyPatch, when: str, number: int
) -> None:
    monkeypatch.setattr(collecting, "SURE_S", 0.0)
    seen: list[str] = []
    running: list[subprocess.Popen[bytes]] = []

    def step(what: str) -> None:
        if what.startswith(when):
            if len(seen) == number and running:
                os.kill(running[0].pid, signal.SIGKILL)
                running[0].wait()
            seen.append(what)

    server.step = step
    code = (
        "from splice.serve.batch import filling; filling.MOST_ROWS = 4\n"
        f"import sys; sys.argv = ['splice', *{JOB!r}]\n"
        "from splice.cli.main import main; main()"
    )
    running.append(
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=tickets.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
    )  # fmt: skip
    ended = running[0].wait(timeout=60)
    server.step = lambda what: None

    assert ended == -signal.SIGKILL or len(seen) <= number
    if ended == -signal.SIGKILL:
        ran = tickets(*JOB, "--wait")
        assert ran.code == 0, ran.err
    answered_once(tickets, server)


def test_a_batch_whose_answer_was_lost_is_found_again(tickets, server: BatchServer) -> None:
    server.refuses.append(-1)

    lost = tickets(*JOB)
    ran = tickets(*JOB, "--json")

    assert lost.code == 1
    assert "hung up" in lost.err
    assert ran.json["answered"] == ROWS
    answered_once(tickets, server)


def test_a_batch_that_is_not_listed_yet_is_not_made_again(
    tickets, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.refuses.append(-1)
    tickets(*JOB)
    server.lists = False

    early = tickets(*JOB, "--json")
    made = len(server.batches)
    server.lists = True
    tickets(*JOB)

    assert early.json["pending"] > 0
    assert made == len(server.batches) == 3
    answered_once(tickets, server)


def test_a_batch_that_may_be_ours_and_has_not_ended_is_waited_for(
    command, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "SURE_S", 0.0)
    settle_in(command, server, "anthropic")  # whose list does not tell whose a batch is
    write_tickets(command.folder, ROWS)
    server.held = True
    server.refuses.append(-1)
    command(*JOB)

    unsure = command(*JOB, "--json")
    made = len(server.batches)
    server.release()
    command(*JOB)

    assert unsure.json["pending"] == ROWS
    assert made == 3
    answered_once(command, server)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_batch_that_was_not_made_is_made_by_and_by(
    tickets, server: BatchServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(collecting, "SURE_S", 0.0)
    server.refuses.extend([status, status])

    ran = tickets(*JOB, "--wait")

    assert ran.code == 0, ran.err
    answered_once(tickets, server)


def test_a_wrong_key_ends_the_run_at_once_and_is_not_shown(tickets, server: BatchServer) -> None:
    server.refuses.extend([401] * 9)

    wrong = tickets(*JOB, "--wait")
    server.refuses.clear()
    ran = tickets(*JOB)

    assert wrong.code == 1
    assert "REMOTE_KEY" in wrong.err or "api_key" in wrong.err
    assert KEY not in wrong.err
    assert len(server.refuses) == 0
    assert ran.code == 0
    answered_once(tickets, server)
