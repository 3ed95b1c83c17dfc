"""Every metric of Splice: names, labels and cells.

Cells are plain Python numbers, changed in the event loop only: a call costs one look-up and a few
additions. Workers share what they counted through snapshots (see `merge`), so that whichever worker
is scraped tells of all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal

import msgspec

from splice.core.call import Attempt, Record, Usage
from splice.core.units import NANO

Kind = Literal["counter", "gauge", "histogram"]

SECONDS = (
    0.000625, 0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12,
    10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
"""Bounds of times. From 0.01 on they are those of OpenTelemetry's GenAI conventions, which so need
no counting of their own; below they go on in halves, for models that take less."""

TOKENS_UP_TO = tuple(float(4**power) for power in range(14))
"""Bounds of numbers of tokens, as the GenAI conventions have them: 1 to 67 million."""


class Metric(msgspec.Struct, frozen=True):
    """One family: its name, kind, help text and labels.

    `unit` is as OpenTelemetry writes it (UCUM: `s`, `{call}`); `bounds` are a histogram's.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    bounds: tuple[float, ...] = SECONDS


CALLS = Metric(
    "splice_calls_total",
    "counter",
    "Calls that passed admission, by how they ended.",
    ("integration", "surface", "status", "reason"),
    unit="{call}",
)
CALL_DURATION = Metric(
    "splice_call_duration_seconds",
    "histogram",
    "From admitted to decided, fallbacks included, recording not.",
    ("integration",),
    unit="s",
)
ATTEMPTS = Metric(
    "splice_attempts_total",
    "counter",
    "Tries of a route, by how they ended.",
    ("integration", "route", "ended"),
    unit="{attempt}",
)
ATTEMPT_DURATION = Metric(
    "splice_attempt_duration_seconds",
    "histogram",
    "One try of a route, by how it ended.",
    ("integration", "route", "ended"),
    unit="s",
)
FIRST_TOKEN = Metric(
    "splice_first_token_seconds",
    "histogram",
    "From asking a route until the first token of its stream.",
    ("integration", "route"),
    unit="s",
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
    unit="{token}",
)
CACHED_TOKENS = Metric(
    "splice_cached_tokens_total",
    "counter",
    "Of the input tokens, those that came from the provider's cache.",
    ("integration", "route"),
    unit="{token}",
)
ATTEMPT_TOKENS = Metric(
    "splice_attempt_tokens",
    "histogram",
    "Tokens of one try of a language model; type is input or output.",
    ("integration", "route", "type"),
    unit="{token}",
    bounds=TOKENS_UP_TO,
)
REFUSED = Metric(
    "splice_requests_refused_total",
    "counter",
    "Requests that never became a call, by error code.",
    ("integration", "code"),
    unit="{request}",
)
POLICIES = Metric(
    "splice_policy_total",
    "counter",
    "Policies that were asked about a call, by what they did.",
    ("integration", "policy", "action"),
    unit="{call}",
)
OUTCOMES = Metric(
    "splice_outcomes_total",
    "counter",
    "Outcomes received.",
    ("integration",),
    unit="{outcome}",
)
SHADOWS = Metric(
    "splice_shadows_total",
    "counter",
    "Calls repeated on shadow routes; ended is answered, failed or dropped (too many at once).",
    ("integration", "ended"),
    unit="{call}",
)
IN_FLIGHT = Metric("splice_calls_in_flight", "gauge", "Calls that run now.", unit="{call}")
LEDGER_WAITING = Metric(
    "splice_ledger_waiting", "gauge", "Records that are in memory only.", unit="{record}"
)
LEDGER_SPOOLED = Metric(
    "splice_ledger_spooled_batches",
    "gauge",
    "Batches set aside until the ledger is back.",
    unit="{batch}",
)
LEDGER_ERRORS = Metric(
    "splice_ledger_errors_total",
    "counter",
    "Writes that the ledger did not take.",
    unit="{error}",
)
POOL_PROCESSES = Metric(
    "splice_pool_processes",
    "gauge",
    "Worker processes that have loaded the model.",
    ("model",),
    unit="{process}",
)
POOL_RESTARTS = Metric(
    "splice_pool_restarts_total",
    "counter",
    "Worker processes that had to be replaced; reason is crashed, memory, timeout or start.",
    ("model", "reason"),
    unit="{process}",
)
EVENTS = Metric(
    "splice_events_total",
    "counter",
    "Events by how they ended: answered, repeated (answered before), retried, dead or late.",
    ("integration", "ended"),
    unit="{event}",
)
EVENT_DELAY = Metric(
    "splice_event_delay_seconds",
    "gauge",
    "Age of the newest settled event: from when its sender made it until its answer was stored.",
    ("integration",),
    unit="s",
)
EVENTS_IN_FLIGHT = Metric(
    "splice_events_in_flight",
    "gauge",
    "Events taken up and not settled.",
    ("integration",),
    unit="{event}",
)
OUTBOX_WAITING = Metric(
    "splice_outbox_waiting", "gauge", "Messages that are still to be sent.", unit="{message}"
)
ALERTS = Metric(
    "splice_alerts_open",
    "gauge",
    "Alerts of monitors that are open.",
    ("integration", "severity"),
    unit="{alert}",
)
REVIEWS = Metric(
    "splice_reviews_open", "gauge", "Calls that wait for a person.", ("integration",),
    unit="{review}",
)  # fmt: skip
REVIEWS_OVERDUE = Metric(
    "splice_reviews_overdue", "gauge", "Those that should have been decided by now.",
    ("integration",), unit="{review}",
)  # fmt: skip
REVIEWS_OLDEST = Metric(
    "splice_reviews_oldest_seconds", "gauge", "Age of the oldest call that waits for a person.",
    ("integration",), unit="s",
)  # fmt: skip
RELEASE = Metric("splice_release", "gauge", "Number of the live release.", ("integration",))

METRICS = (
    CALLS, CALL_DURATION, ATTEMPTS, ATTEMPT_DURATION, FIRST_TOKEN, COST, TOKENS, CACHED_TOKENS,
    ATTEMPT_TOKENS, REFUSED, POLICIES, OUTCOMES, SHADOWS, EVENTS, EVENT_DELAY, EVENTS_IN_FLIGHT,
    OUTBOX_WAITING, IN_FLIGHT, LEDGER_WAITING, LEDGER_SPOOLED, LEDGER_ERRORS, POOL_PROCESSES,
    POOL_RESTARTS, ALERTS, REVIEWS, REVIEWS_OVERDUE, REVIEWS_OLDEST, RELEASE,
)  # fmt: skip

_SAME = frozenset(one.name for one in (RELEASE, ALERTS, REVIEWS, REVIEWS_OVERDUE, REVIEWS_OLDEST))
"""What every process tells of the same ledger: of several, the greatest counts."""

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
        self._tokens: dict[Labels, list[float]] = {}
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
            ended = (name, route, attempt.ended)
            _add(self._attempts, ended)
            _observe(self._attempt_durations, ended, attempt.latency_us / 1e6)
            if attempt.first_token_us is not None:
                _observe(self._first_tokens, (name, route), attempt.first_token_us / 1e6)
            if attempt.cost_nano:
                self.add(COST, (name, route), attempt.cost_nano / NANO)
            if attempt.usage is not None:
                self._used((name, route), attempt.usage)

    def _used(self, of: Labels, usage: Usage) -> None:
        if usage.input_tokens is not None:
            _observe(self._tokens, (*of, "input"), usage.input_tokens, TOKENS_UP_TO)
        if usage.output_tokens is not None:
            _observe(self._tokens, (*of, "output"), usage.output_tokens, TOKENS_UP_TO)
        if usage.cached_tokens:
            self.add(CACHED_TOKENS, of, usage.cached_tokens)

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
            ATTEMPT_TOKENS.name: self._tokens,
            # The sum of a histogram is a counter: tokens are counted once.
            TOKENS.name: {labels: cell[-1:] for labels, cell in list(self._tokens.items())},
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
        ATTEMPT_DURATION.name: [((name, route, ended), cell[2 + _HISTOGRAM :])],
        COST.name: [((name, route), [cell[1] / NANO])],
    }


def _add(cells: dict[Labels, list[float]], labels: Labels, amount: float = 1.0) -> None:
    cell = cells.get(labels)
    if cell is None:
        cells[labels] = [amount]
    else:
        cell[0] += amount


def _observe(
    cells: dict[Labels, list[float]],
    labels: Labels,
    value: float,
    bounds: tuple[float, ...] = SECONDS,
) -> None:
    cell = cells.get(labels)
    if cell is None:
        cell = cells[labels] = [0.0] * (len(bounds) + 2)
    cell[bisect_left(bounds, value)] += 1
    cell[-1] += value


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The sum over processes; of what is the same in all of them, the greatest."""
    merged: dict[str, dict[Labels, list[float]]] = {}
    for snapshot in snapshots:
        for name, rows in snapshot.items():
            cells = merged.setdefault(name, {})
            for labels, cell in rows:
                key = tuple(labels)
                have = cells.get(key)
                if have is None:
                    cells[key] = list(cell)
                elif name in _SAME:
                    cells[key] = [max(have[0], cell[0])]
                else:
                    cells[key] = [a + b for a, b in zip(have, cell, strict=True)]
    return {name: list(cells.items()) for name, cells in merged.items()}
