"""What goes to a batch endpoint has placeholders, and its answers get the values of their calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from offline_house import DECLARED, JOB, KEY, replies, settle_in

from splice.serve.batch import offline
from splice.testing.batch_server import BatchServer, Fate

PEOPLE = ("ann.quokka@canary-mail.example", "bob.wombat@canary-mail.example")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    monkeypatch.setenv("REMOTE_KEY", KEY)
    monkeypatch.setattr(offline, "FIRST_POLL_S", 0.01)
    monkeypatch.setattr(offline, "LONGEST_POLL_S", 0.01)
    with BatchServer() as server:
        yield server


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_batch_sees_placeholders_and_a_later_run_fills_them(
    command: Any, server: BatchServer, kind: str
) -> None:
    settle_in(command, server, kind)
    declared = DECLARED.replace('    deadline = "5 s"\n', MASKED).replace(LITERAL, "str")
    command.write("integrations.py", declared)
    assert command("release", "apply", "--yes").code == 0
    rows = [{"customer": f"c{i}", "text": f"I am {one}, {i}"} for i, one in enumerate(PEOPLE)]
    (command.folder / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    server.fate = lambda text: Fate(text='{"queue": "of [email-1]"}')
    server.held = True

    command(*JOB)
    server.release()
    ran = command(*JOB)

    assert ran.code == 0, ran.err
    sent = json.dumps(server.batches[0].requests)
    assert "I am [email-1], 0" in sent
    assert "quokka" not in sent
    assert "wombat" not in sent
    assert not server.online
    assert [one["reply"]["queue"] for one in replies(command.folder)] == [
        f"of {one}" for one in PEOPLE
    ]


LITERAL = 'Literal["billing", "technical", "unsorted"]'
MASKED = '    deadline = "5 s"\n    protect = splice.Protect(mask=("email",))\n'
