"""The tables and the floors of the job `drift`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

OURS, PROFILES = "splice", "splice profiles"
EVIDENTLY = "evidently"
TIMES_FASTER = 40.0
"""How many times faster than Evidently Splice must be, from rows."""
MEMORY_MB = 1000.0
PROFILES_S = 0.1

Table = Mapping[tuple[str, int | str, str], float]


def drift_markdown(table: Table) -> str:
    """One line a subject and load."""
    heads = [
        "subject",
        "load",
        "seconds",
        "Splice is",
        "CPU s",
        "MB",
        "shifts found",
        "false alarms",
    ]
    lines: list[list[str]] = []
    for load in dict.fromkeys(one for _, one, _ in table):
        for name in dict.fromkeys(one for one, _, _ in table):
            seconds = table[name, load, "seconds"]
            times = seconds / table[OURS, load, "seconds"]
            other = name not in (OURS, PROFILES)
            lines.append([
                name, str(load), f"{seconds:.3g}", f"{times:.0f} times faster" if other else "",
                f"{table[name, load, 'cpu_s']:.3g}",
                f"{table[name, load, 'memory_mb']:,.0f}",
                f"{table[name, load, 'shifts_found']:.0f}",
                f"{table[name, load, 'false_alarms']:.0f}",
            ])  # fmt: skip
    return _drawn(heads, lines)


def planted_markdown(meta: Mapping[str, object], load: str) -> str:
    """Which columns each subject flagged: a line a column."""
    flagged: Mapping[str, Sequence[str]] = meta["flagged"][load]  # type: ignore[index]
    planted: Mapping[str, Sequence[str]] = meta["planted"]  # type: ignore[assignment]
    lines = [
        [column, "moved" if kind == "shifted" else "not moved",
         *("flagged" if column in found else "" for found in flagged.values())]
        for kind, columns in planted.items()
        for column in columns
    ]  # fmt: skip
    return _drawn(["column", "planted", *flagged], lines)


def drift_floors(table: Table) -> dict[str, bool]:
    """Whether Splice keeps its floors at each load.

    Raises:
        KeyError: The results lack a subject at a load.
    """
    kept: dict[str, bool] = {}
    for load in dict.fromkeys(one for _, one, _ in table):
        seconds, memory = table[OURS, load, "seconds"], table[OURS, load, "memory_mb"]
        times = table[EVIDENTLY, load, "seconds"] / seconds
        kept[f"{load}: {times:.0f} times faster than Evidently, at least {TIMES_FASTER:.0f}"] = (
            times >= TIMES_FASTER
        )
        kept[f"{load}: {memory:,.0f} MB, below {MEMORY_MB:,.0f}"] = memory < MEMORY_MB
        quick = table[PROFILES, load, "seconds"]
        told = f"{load}: from profiles {quick * 1000:.0f} ms, below {PROFILES_S * 1000:.0f}"
        kept[told] = quick < PROFILES_S
    return kept


def _drawn(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heads, ["---" for _ in heads], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
