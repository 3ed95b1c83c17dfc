"""Every metric of Splice: names, labels, cells, and their Prometheus text.

Cells are plain Python numbers, changed in the event loop only: a call costs one look-up and a few
additions. Workers share what they counted through snapshots (see `merge`), so that whichever worker
is scraped tells of all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from splice.core.call import Attempt, Record
from splice.core.units import NANO

Kind = Literal["counter", "gauge", "histogram"]

SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class Metric(msgspec.Struct, frozen=True):
    """One family: its name, kind, help text and labels."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


CALLS = Metric(
    "splice_calls_total",
    "counter",
    "Calls that passed admission, by how they ended.",
    ("integration", "surface", "status", "reason"),
)
CALL_DURATION = Metric(
    "splice_call_duration_seconds",
    "histogram",
    "From admitted to decided, fallbacks included, recording not.",
    ("integration",),
)
ATTEMPTS = Metric(
    "splice_attempts_total",
    "counter",
    "Tries of a route, by how they ended.",
    ("integration", "route", "ended"),
)
ATTEMPT_DURATION = Metric(
    "splice_attempt_duration_seconds",
    "histogram",
    "One try of a route.",
    ("integration", "route"),
)
FIRST_TOKEN = Metric(
    "splice_first_token_seconds",
    "histogram",
    "From asking a route until the first token of its stream.",
    ("integration", "route"),
)
COST = Metric(
    "splice_cost_total",
    "counter",
    "Known cost of attempts, in the account's currency.",
    ("integration", "route"),
)
TOKENS = Metric(
    "splice_tokens_total",
    "counter",
    "Tokens of language models; type is input or output.",
    ("integration", "route", "type"),
)
REFUSED = Metric(
    "splice_requests_refused_total",
    "counter",
    "Requests that never became a call, by error code.",
    ("integration", "code"),
)
OUTCOMES = Metric(
    "splice_outcomes_total",
    "counter",
    "Outcomes received.",
    ("integration",),
)
SHADOWS = Metric(
    "splice_shadows_total",
    "counter",
    "Calls repeated on shadow routes; ended is answered, failed or dropped (too many at once).",
    ("integration", "ended"),
)
IN_FLIGHT = Metric("splice_calls_in_flight", "gauge", "Calls that run now.")
LEDGER_WAITING = Metric("splice_ledger_waiting", "gauge", "Records that are in memory only.")
LEDGER_SPOOLED = Metric(
    "splice_ledger_spooled_batches", "gauge", "Batches set aside until the ledger is back."
)
LEDGER_ERRORS = Metric(
    "splice_ledger_errors_total", "counter", "Writes that the ledger did not take."
)
POOL_PROCESSES = Metric(
    "splice_pool_processes", "gauge", "Worker processes that have loaded the model.", ("model",)
)
POOL_RESTARTS = Metric(
    "splice_pool_restarts_total",
    "counter",
    "Worker processes that had to be replaced; reason is crashed, memory, timeout or start.",
    ("model", "reason"),
)
EVENTS = Metric(
    "splice_events_total",
    "counter",
    "Events by how they ended: answered, repeated (answered before), retried, dead or late.",
    ("integration", "ended"),
)
EVENT_DELAY = Metric(
    "splice_event_delay_seconds",
    "gauge",
    "Age of the newest settled event: from when its sender made it until its answer was stored.",
    ("integration",),
)
EVENTS_IN_FLIGHT = Metric(
    "splice_events_in_flight", "gauge", "Events taken up and not settled.", ("integration",)
)
OUTBOX_WAITING = Metric("splice_outbox_waiting", "gauge", "Messages that are still to be sent.")
RELEASE = Metric("splice_release", "gauge", "Number of the live release.", ("integration",))

METRICS = (
    CALLS, CALL_DURATION, ATTEMPTS, ATTEMPT_DURATION, FIRST_TOKEN, COST, TOKENS, REFUSED, OUTCOMES,
    SHADOWS, EVENTS, EVENT_DELAY, EVENTS_IN_FLIGHT, OUTBOX_WAITING, IN_FLIGHT, LEDGER_WAITING,
    LEDGER_SPOOLED, LEDGER_ERRORS, POOL_PROCESSES, POOL_RESTARTS, RELEASE,
)  # fmt: skip
_BY_NAME = {metric.name: metric for metric in METRICS}

_MOST_ROUTES = 1000
OTHER = "other"
"""The label of routes beyond the first thousand."""

_HISTOGRAM = len(SECONDS) + 2  # a count for each bucket, one beyond the last bound, and the sum

Labels = tuple[str, ...]
Snapshot = dict[str, list[tuple[Labels, list[float]]]]
"""Metric name to rows of (label values, cell). A histogram's cell is its buckets, then its sum."""


class Metrics:
    """The cells of this process."""

    def __init__(self) -> None:
        self._calls: dict[Labels, list[float]] = {}
        self._durations: dict[Labels, list[float]] = {}
        self._attempts: dict[Labels, list[float]] = {}
        self._attempt_durations: dict[Labels, list[float]] = {}
        self._first_tokens: dict[Labels, list[float]] = {}
        self._others: dict[str, dict[Labels, list[float]]] = {}
        # Most calls make one attempt: they share one cell for all that is counted of them, which
        # is taken apart when somebody asks. [calls, cost, call durations, attempt durations]
        self._singles: dict[Labels, list[float]] = {}
        self._routes: set[str] = set()

    def called(self, record: Record, times: int = 1) -> None:
        """Count a call that ended, or several that ended the same way in the same time."""
        if len(record.attempts) == 1 and record.attempts[0].usage is None:
            self._called_once(record, record.attempts[0], times)
            return
        for _ in range(times - 1):
            self.called(record)
        name = record.integration
        _add(self._calls, (name, record.surface, record.status, record.reason))
        _observe(self._durations, (name,), record.duration_us / 1e6)
        for attempt in record.attempts:
            route = self._bounded(attempt.route)
            _add(self._attempts, (name, route, attempt.ended))
            _observe(self._attempt_durations, (name, route), attempt.latency_us / 1e6)
            if attempt.first_token_us is not None:
                _observe(self._first_tokens, (name, route), attempt.first_token_us / 1e6)
            if attempt.cost_nano:
                self.add(COST, (name, route), attempt.cost_nano / NANO)
            if attempt.usage is not None:
                self.add(TOKENS, (name, route, "input"), attempt.usage.input_tokens or 0)
                self.add(TOKENS, (name, route, "output"), attempt.usage.output_tokens or 0)

    def _called_once(self, record: Record, attempt: Attempt, times: int) -> None:
        key = (
            record.integration,
            record.surface,
            record.status,
            record.reason,
            attempt.route,
            attempt.ended,
        )
        cell = self._singles.get(key)
        if cell is None:
            key = (*key[:4], self._bounded(attempt.route), attempt.ended)
            cell = self._singles.setdefault(key, [0.0] * (2 + 2 * _HISTOGRAM))
        seconds = record.duration_us / 1e6
        cell[0] += times
        cell[1] += (attempt.cost_nano or 0) * times
        cell[2 + bisect_left(SECONDS, seconds)] += times
        cell[1 + _HISTOGRAM] += seconds * times
        seconds = attempt.latency_us / 1e6
        cell[2 + _HISTOGRAM + bisect_left(SECONDS, seconds)] += times
        cell[1 + 2 * _HISTOGRAM] += seconds * times

    def _bounded(self, route: str) -> str:
        """The route as a label: callers may name models themselves, and so as many as they like."""
        if route not in self._routes:
            if len(self._routes) >= _MOST_ROUTES:
                return OTHER
            self._routes.add(route)
        return route

    def add(self, metric: Metric, labels: Labels = (), amount: float = 1.0) -> None:
        """Add to a counter."""
        _add(self._others.setdefault(metric.name, {}), labels, amount)

    def set(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Set a gauge."""
        self._others.setdefault(metric.name, {})[labels] = [value]

    def snapshot(self) -> Snapshot:
        """A copy of all cells."""
        cells = {
            CALLS.name: self._calls,
            CALL_DURATION.name: self._durations,
            ATTEMPTS.name: self._attempts,
            ATTEMPT_DURATION.name: self._attempt_durations,
            FIRST_TOKEN.name: self._first_tokens,
            **self._others,
        }
        plain: Snapshot = {
            name: [(labels, list(cell)) for labels, cell in list(rows.items())]
            for name, rows in cells.items()
        }
        return merge([plain, *map(_taken_apart, list(self._singles.items()))])


def _taken_apart(single: tuple[Labels, list[float]]) -> Snapshot:
    (name, surface, status, reason, route, ended), cell = single
    return {
        CALLS.name: [((name, surface, status, reason), [cell[0]])],
        CALL_DURATION.name: [((name,), cell[2 : 2 + _HISTOGRAM])],
        ATTEMPTS.name: [((name, route, ended), [cell[0]])],
        ATTEMPT_DURATION.name: [((name, route), cell[2 + _HISTOGRAM :])],
        COST.name: [((name, route), [cell[1] / NANO])],
    }


def _add(cells: dict[Labels, list[float]], labels: Labels, amount: float = 1.0) -> None:
    cell = cells.get(labels)
    if cell is None:
        cells[labels] = [amount]
    else:
        cell[0] += amount


def _observe(cells: dict[Labels, list[float]], labels: Labels, seconds: float) -> None:
    cell = cells.get(labels)
    if cell is None:
        cell = cells[labels] = [0.0] * _HISTOGRAM
    cell[bisect_left(SECONDS, seconds)] += 1
    cell[-1] += seconds


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The sum over processes. `splice_release` is the same everywhere: its greatest is kept."""
    merged: dict[str, dict[Labels, list[float]]] = {}
    for snapshot in snapshots:
        for name, rows in snapshot.items():
            cells = merged.setdefault(name, {})
            for labels, cell in rows:
                key = tuple(labels)
                have = cells.get(key)
                if have is None:
                    cells[key] = list(cell)
                elif name == RELEASE.name:
                    cells[key] = [max(have[0], cell[0])]
                else:
                    cells[key] = [a + b for a, b in zip(have, cell, strict=True)]
    return {name: list(cells.items()) for name, cells in merged.items()}


def prometheus_text(snapshot: Mapping[str, list[tuple[Labels, list[float]]]]) -> str:
    """The text exposition format, version 0.0.4, every family in the order of `METRICS`."""
    lines: list[str] = []
    for metric in METRICS:
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        rows = sorted(snapshot.get(metric.name, []))
        if not rows and not metric.labels:
            rows = [((), [0.0])]
        for labels, cell in rows:
            lines.extend(_lines(metric, labels, cell))
    return "\n".join(lines) + "\n"


def _lines(metric: Metric, labels: Labels, cell: list[float]) -> list[str]:
    pairs = [f'{k}="{_escaped(v)}"' for k, v in zip(metric.labels, labels, strict=True)]
    if metric.kind != "histogram":
        shown = "{" + ",".join(pairs) + "}" if pairs else ""
        return [f"{metric.name}{shown} {cell[0]:.15g}"]
    lines: list[str] = []
    count = 0.0
    for bound, number in zip((*SECONDS, float("inf")), cell[:-1], strict=True):
        count += number
        le = "+Inf" if bound == float("inf") else f"{bound:g}"
        inner = ",".join([*pairs, f'le="{le}"'])
        lines.append(f"{metric.name}_bucket{{{inner}}} {count:.15g}")
    outer = "{" + ",".join(pairs) + "}" if pairs else ""
    lines.append(f"{metric.name}_sum{outer} {cell[-1]:.12g}")
    lines.append(f"{metric.name}_count{outer} {count:.15g}")
    return lines


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
