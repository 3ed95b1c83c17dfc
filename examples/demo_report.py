"""What the demo prints: figures by release and route, out of the ledger, and a verdict."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.panel import Panel

from splice.app.settings import load
from splice.app.wiring import Stores
from splice.core.call import Outcome, Record
from splice.core.units import NANO
from splice.ports.stores import CallFilter

sys.path.insert(0, str(Path(__file__).resolve().parent / "credit"))
import policy


@dataclass(frozen=True)
class Part:
    """An integration and the outcome that tells the truth about it."""

    integration: str
    outcome: str


@dataclass
class Row:
    """Figures of one release and the route that answered."""

    calls: int = 0
    fallbacks: int = 0
    right: int = 0
    told: int = 0
    cost_nano: int | None = 0
    micros: list[int] = field(default_factory=list[int])
    decisions: dict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    money: float = 0.0

    def add(self, record: Record, outcome: Outcome) -> None:
        """One answered call with its outcome."""
        reply: dict[str, Any] = msgspec.json.decode(record.reply or b"{}")
        self.calls += 1
        self.fallbacks += record.reason == "fallback"
        self.micros.append(record.duration_us)
        if record.cost_nano is None or self.cost_nano is None:
            self.cost_nano = None
        else:
            self.cost_nano += record.cost_nano
        self.told += 1
        if outcome.name == "defaulted":
            self.decisions[reply["action"]] += 1
            self.right += (reply["default_probability"] >= 0.5) == outcome.value
            self.money += policy.COSTS.of(reply["action"], bool(outcome.value))
        else:
            self.decisions[str(reply["queue"])] += 1
            self.right += reply["queue"] == outcome.value

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of calls took at most."""
        ordered = sorted(self.micros)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] / 1000

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share of right answers (Wilson 1927)."""
        n, p, z = self.told, self.right / self.told, 1.959964
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return middle - half, middle + half


def print_table(project: Path, parts: list[Part], console: Console) -> str:
    """Prints the figures of every part; returns the id of a call worth explaining."""
    settings = load(project)
    stores = Stores(settings)
    explained = ""
    rows: dict[tuple[str, int, str], Row] = defaultdict(Row)
    try:
        for part in parts:
            for record, outcome in stores.outcomes.joined(part.integration, part.outcome):
                if record.reply is None:  # of a machine too busy to answer in time
                    continue
                version = record.version
                if record.shadow_of:
                    version = f"{_short(version)}\u00a0(shadow)"
                rows[(part.integration, record.release, version)].add(record, outcome)
                if record.reason == "fallback" and part.outcome == "defaulted":
                    explained = record.call_id
    finally:
        stores.close()
    console.print("\nWhat was asked, answered, and what became of it", style="bold")
    for part in parts:
        cost = f"{settings.cost.currency}/mio"
        head = (f"{part.integration}", "release", "calls", "p50 ms", "p99 ms", cost, "right (95 %)")
        console.print()
        console.print(_aligned(head), style="bold")
        for (integration, release, version), row in sorted(rows.items()):
            if integration == part.integration:
                console.print(_figures(release, version, row))
                console.print(_decisions(row), style="dim")
    console.print()
    _verdicts(rows, console)
    return explained


def print_desk(project: Path, console: Console) -> None:
    """Prints what the gateway recorded: why each answer was given, and what it cost."""
    settings = load(project)
    stores = Stores(settings)
    try:
        found = stores.records.find(CallFilter(integration="desk-assistant"))
        records = [stores.records.get(one.call_id) for one in reversed(found)]
    finally:
        stores.close()
    console.print(
        "\nThe gateway: an OpenAI client asks, whole, again, and as a stream", style="bold"
    )
    cost = f"{settings.cost.currency}/mio"
    head = ("desk-assistant", "reason", "ms", "1st token", "tokens", cost)
    console.print("\n" + _desk_row(head), style="bold")
    for record in records:
        if record is None or not record.caller:  # who came before a key was asked for
            continue
        last = record.attempts[-1] if record.attempts else None
        usage = None if last is None else last.usage
        first = None if last is None else last.first_token_us
        nano = record.cost_nano
        cells = (
            f"  {_short(record.version) or 'kept answer'}",
            record.reason,
            f"{record.duration_us / 1000:.1f}",
            "" if first is None else f"{first / 1000:.0f} ms",
            "" if usage is None else f"{usage.input_tokens}+{usage.output_tokens}",
            "unknown" if nano is None else f"{nano * 1e6 / NANO:.2g}",
        )
        console.print(_desk_row(cells))
        kept: dict[str, Any] = msgspec.json.decode(record.input)
        console.print(
            f"    asked: {kept['messages'][-1]['content'][:64]}", style="dim", markup=False
        )


def _desk_row(cells: tuple[str, ...]) -> str:
    widths = (10, 9, 11, 10, 10)
    pairs = zip(cells[1:], widths, strict=True)
    return cells[0].ljust(25)[:25] + "".join(cell.rjust(width) for cell, width in pairs)


def _aligned(cells: tuple[str, ...]) -> str:
    widths = (25, 8, 6, 8, 9, 9, 15)
    pairs = list(zip(cells, widths, strict=True))
    return pairs[0][0].ljust(25)[:25] + "".join(cell.rjust(width) for cell, width in pairs[1:])


def _figures(release: int, version: str, row: Row) -> str:
    low, high = row.interval()
    million = "unknown"
    if row.cost_nano is not None:
        million = f"{row.cost_nano / row.calls * 1e6 / NANO:.2g}"
    right = f"{row.right / row.told:.0%} ({low * 100:.0f}-{high:.0%})"
    return _aligned(
        (f"  {_short(version)}", str(release), str(row.calls), f"{row.percentile(0.5):.2f}",
         f"{row.percentile(0.99):.1f}", million, right)
    )  # fmt: skip


def _decisions(row: Row) -> str:
    text = ", ".join(f"{number} {name}" for name, number in sorted(row.decisions.items()))
    return f"    {text}" + (f"; all {row.fallbacks} as fallback" if row.fallbacks else "")


def _short(version: str) -> str:
    name, _, rest = version.partition(" ")
    return name if rest else version


def _verdicts(rows: dict[tuple[str, int, str], Row], console: Console) -> None:
    credit = [(v, r) for (i, _, v), r in rows.items() if i == "credit-decision"]
    money = ", ".join(f"{_short(v)} EUR {r.money / r.told:.0f}" for v, r in credit)
    console.print(
        f"Credit: mean cost of a decision by the outcomes: {money}; a person looking at every "
        f"application costs EUR {policy.constant_cost('review', _defaults(credit)):.0f} (amounts "
        "are the example's assumptions, the outcomes are real).",
    )
    triage = [(v, r) for (i, _, v), r in rows.items() if i == "ticket-triage" and r.calls > 5]
    if len(triage) > 1:
        best = max(
            triage, key=lambda pair: (pair[1].right / pair[1].told, -pair[1].percentile(0.5))
        )
        others = [pair for pair in triage if pair is not best]
        clear = all(best[1].interval()[0] > other[1].interval()[1] for other in others)
        sure = "the intervals do not overlap" if clear else "the intervals overlap: ask more"
        console.print(
            f"Tickets: the figures favour {_short(best[0])} ({sure}). The tickets are made up, so "
            "they compare the routes, and forecast nothing.",
        )


def _defaults(rows: list[tuple[str, Row]]) -> list[bool]:
    # The mix of good and bad does not matter here: count it back from what is known.
    total = sum(r.told for _, r in rows)
    bad = round(total * 0.3)
    return [True] * bad + [False] * (total - bad)


def print_explained(text: str, console: Console) -> None:
    """One call as a story, framed."""
    body = text.strip()
    console.print(Panel(body, title="splice calls explain", title_align="left", expand=False))
