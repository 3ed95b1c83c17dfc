"""An offline job that ends between any two files it writes goes on as if nothing had been."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from offline_house import JOB, KEY, declare, listed, replies, settle_in, write_tickets

from splice.serve.batch import collecting, filling, job, shards
from splice.testing.batch_server import BatchServer, Fate

ROWS = 5


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    monkeypatch.setenv("REMOTE_KEY", KEY)
    monkeypatch.setattr(filling, "MOST_ROWS", 3)
    monkeypatch.setattr(collecting, "SURE_S", 0.0)
    with BatchServer() as server:
        server.fate = lambda text: Fate(status=500 if text == "ticket 2" else 200)
        yield server


class Ending:
    """Writes files; the nth write ends the process, before or after it is done."""

    def __init__(self, number: int, *, before: bool) -> None:
        self.left = number
        self._before = before
        self._write = job.write_whole

    def __call__(self, file: Path, content: bytes) -> None:
        if self.left == 0 and self._before:
            raise KeyboardInterrupt
        self._write(file, content)
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_calls_that_were_recorded_before_a_kill_are_not_asked_online_again(
    command: Any, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_in(command, server)
    fallback = "        splice.Rule("
    dear = '        splice.LLM("remote/large", prompt="triage.md", params={"max_tokens": 60}),'
    declare(command, fallback, f"{dear}\n{fallback}")
    write_tickets(command.folder, ROWS)
    ran: list[str] = []

    def fate(text: str) -> Fate:
        ran.append(text)
        return Fate(status=500 if ran.count("ticket 2") == 1 and text == "ticket 2" else 200)

    def write(file: Path, content: bytes) -> None:
        if file.suffix == ".done":
            raise KeyboardInterrupt
        job.write_whole(file, content)

    server.fate = fate
    with monkeypatch.context() as patch:
        patch.setattr(shards, "write_whole", write)
        command(*JOB)
    asked = len(server.online)

    command(*JOB)

    assert asked == len(server.online) == 1
    assert replies(command.folder)[2]["route"] == "llm:remote/large"


@pytest.mark.parametrize(("kind", "before"), [("openai", True), ("anthropic", False)])
def test_a_run_that_ends_at_any_write_is_gone_on_with(
    command: Any,
    server: BatchServer,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    before: bool,
) -> None:
    settle_in(command, server, kind)
    write_tickets(command.folder, ROWS)
    jobs = 0
    while True:
        ending = Ending(jobs, before=before)
        with monkeypatch.context() as patch:
            patch.setattr(job, "write_whole", ending)
            patch.setattr(shards, "write_whole", ending)
            cut = command(*JOB)
        if cut.code:
            command(*JOB)
        jobs += 1

        lines = replies(command.folder)
        answered = [(row, "answered") for row in range(ROWS)]
        assert [(one["row"], one["status"]) for one in lines] == answered, jobs
        assert len(server.ran) == len(listed(command)) == ROWS * jobs, jobs
        assert set(server.ran.values()) == {1}, jobs
        (command.folder / "out.jsonl").unlink()
        if ending.left >= 0 and not cut.code:
            break

    assert jobs > 12
