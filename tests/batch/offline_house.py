"""A project whose integration asks a language model that has a batch endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KEY = "canary-key-93b1f7e2aa"

DECLARED = '''
from typing import Literal
import splice


class Ticket(splice.Request):
    customer: splice.Entity
    text: str


class Triage(splice.Reply):
    queue: Literal["billing", "technical", "unsorted"]


class Tickets(splice.Integration):
    """Bring each ticket to its queue."""

    deadline = "5 s"
    routes = [
        splice.LLM("remote/small", prompt="triage.md", params={"max_tokens": 20}),
        splice.Rule(lambda context: {"queue": "unsorted"}),
    ]

    def decide(self, ticket: Ticket, prediction: splice.Prediction) -> Triage:
        value = prediction.value
        return value if isinstance(value, Triage) else Triage(**value)
'''
PROMPT = "## system\nSort tickets.\n\n## user\n{{text}}\n"
SETTINGS = """
[project]
modules = ["integrations"]

[providers.remote]
kind = "{kind}"
base_url = "{url}"
api_key_env = "REMOTE_KEY"

[providers.remote.prices.small]
input = 100
output = 1000
cached = 100
cache_write = 100
{batch}

[providers.remote.prices.large]
input = 100
output = 1000
"""
ONLINE_NANO = 12 * 100_000 + 5 * 1_000_000
"""What one call costs online at OpenAI: 12 tokens read, 5 written. In a batch it is half."""


def settle_in(command: Any, server: Any, kind: str = "openai", batch: str = "batch = 0.5") -> None:
    """Write the project, and apply it."""
    url = server.url if kind == "anthropic" else f"{server.url}/v1"
    command.settings(SETTINGS.format(kind=kind, url=url, batch=batch))
    command.write("integrations.py", DECLARED)
    (command.folder / "triage.md").write_text(PROMPT)
    ran = command("release", "apply", "--yes")
    assert ran.code == 0, ran.err


def declare(command: Any, old: str, new: str) -> None:
    """Change the declaration, and apply it."""
    assert old in DECLARED
    command.write("integrations.py", DECLARED.replace(old, new))
    ran = command("release", "apply", "--yes")
    assert ran.code == 0, ran.err


def write_tickets(folder: Path, count: int, bad: int | None = None) -> Path:
    """A file of tickets; `bad` is the number of one that is no ticket."""
    lines = [{"customer": f"c{i}", "text": f"ticket {i}"} for i in range(count)]
    if bad is not None:
        lines[bad] = {"customer": "", "text": "nobody"}
    file = folder / "in.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return file


def replies(folder: Path) -> list[dict[str, Any]]:
    """The lines of the result."""
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def listed(command: Any) -> list[dict[str, Any]]:
    """The calls in the ledger."""
    return command("calls", "list", "--json", "--limit", "1000").json


JOB = ("batch", "tickets", "in.jsonl", "-o", "out.jsonl", "--offline")
