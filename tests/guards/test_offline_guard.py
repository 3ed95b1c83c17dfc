"""Policies of `splice batch --offline`: what they refuse never leaves for the provider's batch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "batch"))

from offline_house import DECLARED, JOB, KEY, listed, replies, settle_in, write_tickets

from splice.serve.batch import offline
from splice.testing.batch_server import BatchServer

POLICIES = """    policies = [
        splice.Policy(max_chars=100, name="short"),
        splice.Policy(no="card", at="input", then="redact"),
    ]
    deadline = "5 s"
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    monkeypatch.setenv("REMOTE_KEY", KEY)
    monkeypatch.setattr(offline, "FIRST_POLL_S", 0.01)
    monkeypatch.setattr(offline, "LONGEST_POLL_S", 0.01)
    with BatchServer() as running:
        yield running


def test_a_row_that_a_policy_refuses_is_not_in_the_batch_and_is_recorded_as_refused(
    command: Any, server: BatchServer
) -> None:
    settle_in(command, server)
    command.write("integrations.py", DECLARED.replace('    deadline = "5 s"\n', POLICIES))
    assert command("release", "apply", "--yes").code == 0
    file = write_tickets(command.folder, 3)
    secret = '{"customer": "c9", "text": "' + "too long " * 20 + '"}\n'
    card = '{"customer": "c8", "text": "my card is 4111 1111 1111 1111"}\n'
    file.write_text(file.read_text() + secret + card)

    ran = command(*JOB, "--json")

    assert ran.code in (0, 1), ran.err
    said = replies(command.folder)
    sent = b"".join(bytes(str(one), "utf-8") for one in vars(server).values())
    assert [one["status"] for one in said] == [
        "answered", "answered", "answered", "refused", "answered",
    ]  # fmt: skip
    assert b"[card]" in sent
    assert b"too long" not in sent
    assert b"4111" not in sent
    reasons = {one["reason"] for one in listed(command)}
    assert "policy" in reasons
