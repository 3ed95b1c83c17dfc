"""The table and the floors of the job `events`."""

from __future__ import annotations

from collections.abc import Mapping

from events.subjects import SUBJECTS

OURS = "splice"
TIMES_FASTER = {"quix": 1.0, "faststream single": 10.0}
"""How many times each neighbour's rate Splice must give, from one partition."""
COMPARED = "kafka"
EMBEDDED, EMBEDDED_LEAST = "embedded", 15_000.0
"""Events a second from the embedded queue, at least."""
METRIC = "events_per_s"

Table = Mapping[tuple[str, int | str, str], float]


def events_markdown(table: Table) -> str:
    """One line a subject: its rate at each load, what Splice's is of it, and what it promises."""
    loads = list(dict.fromkeys(load for _, load, _ in table))
    shared = [load for load in loads if any(_rate(table, name, load) for name in _others(table))]
    heads = ["subject"]
    for load in loads:
        heads += [f"{load}: events/s"] + (["Splice's is"] if load in shared else [])
    lines = [[*heads, "promised"], ["---", *["---:"] * (len(heads) - 1), "---"]]
    for subject in dict.fromkeys(name for name, _, _ in table):
        cells = [subject]
        for load in loads:
            rate = _rate(table, subject, load)
            cells.append(f"{rate:,.0f}" if rate else "")
            if load in shared:
                ours = _rate(table, OURS, load)
                cells.append(
                    f"{ours / rate:.1f} times" if rate and ours and subject != OURS else ""
                )
        lines.append([*cells, _promise(subject)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def events_floors(table: Table) -> dict[str, bool]:
    """Each floor with its figures, and whether it is kept.

    Raises:
        KeyError: The results lack a subject or a load that a floor speaks of.
    """
    kept: dict[str, bool] = {}
    for subject, least in TIMES_FASTER.items():
        ratio = table[OURS, COMPARED, METRIC] / table[subject, COMPARED, METRIC]
        kept[f"{ratio:.1f} times the events of {subject}, at least {least:g}"] = ratio >= least
    rate = table[OURS, EMBEDDED, METRIC]
    told = f"{rate:,.0f} events/s from the embedded queue, at least {EMBEDDED_LEAST:,.0f}"
    kept[told] = rate >= EMBEDDED_LEAST
    return kept


def _rate(table: Table, subject: str, load: int | str) -> float | None:
    return table.get((subject, load, METRIC))


def _others(table: Table) -> list[str]:
    return [name for name in dict.fromkeys(name for name, _, _ in table) if not _is_ours(name)]


def _is_ours(name: str) -> bool:
    return name.partition(":")[0] == OURS


def _promise(name: str) -> str:
    base, _, variant = name.partition(":")
    variants = SUBJECTS[base].variants
    return variants[variant or next(iter(variants))].promise
