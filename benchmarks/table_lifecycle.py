"""The tables and the floors of the jobs `models` and `switch`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

OURS = "splice"
LOOK = "nothing (splice release list)"
ALL = "all"
"""Every call of a run, those between two changes included."""
FOLLOWED_MS = 1000.0
"""How soon the last worker must follow a change."""
SHADOW_TIMES = 1.1
"""How many times the p50 without a shadow that with one may be: what the machine's noise is."""
STATES = ("plain", "split", "shadow")
COST_LOADS = (1, 32)

Table = Mapping[tuple[str, int | str, str], float]


def models_markdown(table: Table) -> str:
    """One line a load, named models x connections: Splice, and what each neighbour gives beside it.

    Then the heavy model on each number of threads, where that was measured.
    """
    neighbours = _neighbours(table)
    heads = ["models x connections", "Splice: rps", "p99 ms"]
    for name in neighbours:
        heads += [f"{name}: Splice's rps is", "p99 ms"]
    lines: list[list[str]] = []
    for load in _model_loads(table):
        cells = [load]
        cells += [f"{table[OURS, load, 'rps']:,.0f}", f"{table[OURS, load, 'p99_ms']:.2f}"]
        for name in neighbours:
            ratio = table[OURS, load, "rps"] / table[name, load, "rps"]
            cells += [f"{ratio:.1f} times", f"{table[name, load, 'p99_ms']:.2f}"]
        lines.append(cells)
    shown = _drawn(heads, lines)
    heavy = [load for load in _loads(table) if load.startswith("heavy")]
    if heavy:
        lines = [[load, *_figures(table, OURS, load)] for load in heavy]
        shown += "\n\n" + _drawn(["one connection", "rps", "p50 ms", "p99 ms"], lines)
    return shown


def models_floors(table: Table) -> dict[str, bool]:
    """Whether Splice is ahead of each neighbour at each load, p99 included.

    Raises:
        KeyError: The results lack a subject at a load.
    """
    kept: dict[str, bool] = {}
    for load in _model_loads(table):
        for name in _neighbours(table):
            ratio = table[OURS, load, "rps"] / table[name, load, "rps"]
            ours, theirs = table[OURS, load, "p99_ms"], table[name, load, "p99_ms"]
            told = f"{load}: {ratio:.1f} times the throughput of {name}, more than once"
            kept[told] = ratio > 1
            kept[f"{load}: p99 {ours:.2f} ms, below the {theirs:.2f} of {name}"] = ours < theirs
    return kept


def switch_markdown(table: Table) -> str:
    """One line a change and number of workers; then what a rollout and a shadow cost."""
    heads = [
        "change", "workers", "calls", "answered", "refused", "dropped", "last worker followed, ms",
        "p99 before, ms", "p99 during, ms",
    ]  # fmt: skip
    lines: list[list[str]] = []
    for change, workers in _changes(table):
        counts = [
            f"{table[change, workers, name]:,.0f}"
            for name in ("sent", "answered", "refused", "dropped")
        ]
        followed = table.get((change, workers, "followed_ms"))
        times = [table[change, workers, f"p99_{when}_ms"] for when in ("before", "during")]
        lines.append(
            [change, workers.split()[0], *counts, "" if followed is None else f"{followed:.0f}"]
            + [f"{time:.1f}" for time in times]
        )
    shown = _drawn(heads, lines)
    heads = ["one worker"]
    for load in COST_LOADS:
        heads += [f"rps at {load}", f"p50 ms at {load}", f"p99 ms at {load}", f"shadowed at {load}"]
    lines = []
    for state in STATES:
        cells = [state]
        for load in COST_LOADS:
            cells += [*_figures(table, state, load), f"{table[state, load, 'shadowed']:.0%}"]
        lines.append(cells)
    return shown + "\n\n" + _drawn(heads, lines)


def switch_floors(table: Table) -> dict[str, bool]:
    """Whether no change drops a call, every worker follows in time, and a shadow costs nothing.

    Raises:
        KeyError: The results lack what a floor speaks of.
    """
    kept: dict[str, bool] = {}
    for change, workers in _changes(table):
        sent, dropped = (table[change, workers, name] for name in ("sent", "dropped"))
        kept[f"{change}, {workers}: {dropped:.0f} of {sent:.0f} calls dropped"] = dropped == 0
        if change != LOOK:
            late = table[change, workers, "followed_ms"]
            told = f"{change}, {workers}: followed after {late:.0f} ms, at most {FOLLOWED_MS:.0f}"
            kept[told] = late <= FOLLOWED_MS
    for name, load, metric in table:
        if (name, metric) == (ALL, "dropped"):
            told = f"all calls, {load}: {table[ALL, load, metric]:.0f} dropped"
            kept[told] = table[ALL, load, metric] == 0
    for load in COST_LOADS:
        without, beside = (table[state, load, "p50_ms"] for state in ("plain", "shadow"))
        told = f"p50 at {load} {beside:.3f} ms beside a shadow, {without:.3f} without"
        kept[told] = beside <= SHADOW_TIMES * without
    return kept


def _figures(table: Table, subject: str, load: int | str) -> list[str]:
    rps, p50, p99 = (table[subject, load, metric] for metric in ("rps", "p50_ms", "p99_ms"))
    return [f"{rps:,.0f}", f"{p50:.2f}", f"{p99:.2f}"]


def _neighbours(table: Table) -> list[str]:
    return [name for name in dict.fromkeys(name for name, _, _ in table) if name != OURS]


def _loads(table: Table) -> list[str]:
    return list(dict.fromkeys(str(load) for _, load, _ in table))


def _model_loads(table: Table) -> list[str]:
    found = [load for load in _loads(table) if load.replace("x", "", 1).isdigit()]
    return sorted(found, key=lambda load: [int(part) for part in load.split("x")])


def _changes(table: Table) -> list[tuple[str, str]]:
    """Each change with the workers it was made at, those of one change together."""
    found = {
        (change, str(load)): None for change, load, metric in table if metric == "p99_during_ms"
    }
    order = list(dict.fromkeys(change for change, _ in found))
    return sorted(found, key=lambda one: (order.index(one[0]), one[1]))


def _drawn(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    drawn = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in drawn)
