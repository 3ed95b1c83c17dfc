#!/usr/bin/env python3
"""What policies cost a call: microseconds of CPU of the usual set, and the share of alarms.

    .venv/bin/python benchmarks/guards.py            microseconds on texts of 1 KB and 8 KB
    .venv/bin/python benchmarks/guards.py FILE       alarms of the tripwire on the texts of a file

The usual set is size, secrets in the answer, injections in the request, and tools. Texts are made
of the tickets of examples/tickets. The floor is 50 microseconds a call of 1 KB; it is printed, not
asserted. A file has a text a line, plain or as JSON with `text`, and perhaps `probe` or `category`
to group by.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from splice.app.policing import detectors_of
from splice.app.settings import Settings
from splice.app.wiring import masker_of
from splice.control.injection import Injection
from splice.core.call import Usage
from splice.core.chat import Asked, Dialect, WireReply
from splice.core.policies import PinnedPolicy
from splice.declare.policies import Policy
from splice.declare.policy_reading import read_policies
from splice.engine.guard import Asking, Check, Guard
from splice.engine.guard_chat import let_in, let_out
from splice.engine.guard_own import Size
from splice.engine.guard_texts import strings
from splice.engine.guard_tools import Tools

ROOT = Path(__file__).resolve().parent.parent
FLOOR_US = 50.0
SETTINGS = Settings()
USUAL = (
    Policy(max_chars=20_000),
    Policy(no="injection"),
    Policy(no="secret"),
    Policy(tools=("search", "read_*")),
)


def guard() -> Guard:
    """The usual set."""
    detectors = detectors_of(SETTINGS, masker_of(SETTINGS))
    pinned = read_policies(USUAL, conversation=True, wrong=print).policies

    def check(one: PinnedPolicy) -> Check:
        size = one.kind == "size"
        return Check("bench", one, Size(one.rule["max_chars"]) if size else detectors(one))

    return Guard(
        [check(one) for one in pinned if one.kind != "tools"],
        [Tools("bench", one) for one in pinned if one.kind == "tools"],
    )


def text_of(size: int) -> str:
    """Tickets, one after the other, so many characters."""
    lines = (ROOT / "examples/tickets/tickets.jsonl").read_bytes().splitlines()
    tickets = ". ".join(msgspec.json.decode(line)["text"] for line in lines)
    return (tickets * (1 + size // len(tickets)))[:size]


async def typed(usual: Guard, body: bytes, reply: bytes) -> None:
    """What a typed call asks: its request, and its reply."""
    asking = Asking(usual)
    await asking.look("input", list(strings(msgspec.json.decode(body))))
    await asking.look("context", [])
    await asking.look("output", list(strings(msgspec.json.decode(reply))))
    _ = asking.runs


async def chat(usual: Guard, asked: Asked, reply: WireReply) -> None:
    """What a conversation asks: its request with a tool, and its answer."""
    asking = Asking(usual)
    await let_in(asking, asked)
    await let_out(asking, reply)
    _ = asking.runs


def cost_us(work: Any, times: int = 200, rounds: int = 25) -> tuple[float, float]:
    """CPU time of one, in microseconds: the least of the rounds, and their median.

    What runs beside it takes caches and half of a core from it: the least is nearest to what it
    costs by itself.
    """

    async def run() -> list[float]:
        found: list[float] = []
        for _ in range(rounds):
            began = time.process_time()
            for _ in range(times):
                await work()
            found.append((time.process_time() - began) / times * 1e6)
        return found

    found = asyncio.run(run())
    return min(found), median(found)


def speed() -> None:
    """Print the table."""
    usual = guard()
    print(f"microseconds of CPU a call, least (median) of 25 rounds; floor {FLOOR_US:g} at 1 KB")
    print(f"{'request':>8} {'answer':>8} {'typed':>16} {'chat':>16}")
    for said, answered in ((1000, 200), (1000, 1000), (8000, 1000), (8000, 8000)):
        text, answer = text_of(said), text_of(answered)
        body = msgspec.json.encode({"text": text})
        reply = msgspec.json.encode({"answer": answer, "score": 0.5})
        tool = {"type": "function", "function": {"name": "search", "description": "Find tickets"}}
        fields = {"messages": [{"role": "user", "content": text}], "tools": [tool]}
        raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
        asked = Asked(Dialect.CHAT, "m", False, raw, len(text))
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}}
        wire = WireReply(Dialect.CHAT, msgspec.json.encode({"choices": [choice]}), Usage(), "m")
        one = cost_us(lambda body=body, reply=reply: typed(usual, body, reply))
        other = cost_us(lambda asked=asked, wire=wire: chat(usual, asked, wire))
        shown = [f"{least:.1f} ({middle:.1f})" for least, middle in (one, other)]
        print(f"{said:>8} {answered:>8} {shown[0]:>16} {shown[1]:>16}")


def alarms(file: Path) -> None:
    """Print how many of the texts of a file set off the tripwire, by group."""
    tripwire = Injection()
    groups: dict[str, list[bool]] = defaultdict(list)
    for line in file.read_text("utf-8").splitlines():
        if not line.strip():
            continue
        row = json.loads(line) if line.startswith("{") else {"text": line}
        group = row.get("probe") or f"{row.get('label', '')} {row.get('category', 'texts')}".strip()
        groups[group].append(tripwire.find(row["text"]) is not None)
    for group, found in sorted(groups.items()):
        print(f"{group:60} {sum(found):5} of {len(found):5}  {sum(found) / len(found):.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        alarms(Path(sys.argv[1]))
    else:
        speed()
