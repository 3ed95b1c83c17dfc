"""Figures in SQL: counts by kind of call, quantiles of the newest, means of outcomes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sqlalchemy import func, select

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.outcomes import SqlOutcomes
from splice.adapters.ledgers.tables import calls, kinds
from splice.core.call import Reason, Status
from splice.core.figures import Figures, Mean
from splice.core.units import NANO
from splice.ports.figures import Sought

NEWEST = 10_000
"""Calls of each kind whose latencies are looked at: enough for the 99th percentile."""

NOT_ASKED = {
    Reason.REPEATED, Reason.CACHED, Reason.SIMILAR, Reason.SHARED, Reason.CANCELLED,
    Reason.DISCONNECTED, Reason.REJECTED, Reason.NOT_RECORDED, Reason.CONTEXT_FAILED,
}  # fmt: skip
"""Calls that say nothing of a route: none was asked, or the caller or his context is to blame."""

_QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}


class SqlFigures:
    """A FigureStore in SQL."""

    def __init__(self, database: Database, outcomes: SqlOutcomes) -> None:
        self._database = database
        self._outcomes = outcomes

    def figures(self, sought: Sought, outcomes: Sequence[str] = ()) -> Figures:
        """The figures of the calls sought, with the means of these outcomes."""
        found = self._kinds(sought)
        recent = calls.c.asked_us >= sought.since_us
        count = errors = failures = cost = costed = 0
        durations: list[int] = []
        with self._database.read() as connection:
            for number, (status, reason) in found.items():
                mine = (calls.c.kind == number, recent)
                sums = select(
                    func.count(), func.sum(calls.c.cost_nano), func.count(calls.c.cost_nano)
                ).where(*mine)
                rows, nano, known = connection.execute(sums).one()
                count += rows
                failures += rows if status == Status.FAILED else 0
                errors += rows if status == Status.FAILED or reason == Reason.FALLBACK else 0
                cost, costed = cost + int(nano or 0), costed + known
                newest = select(calls.c.duration_us).where(*mine)
                newest = newest.order_by(calls.c.asked_us.desc()).limit(NEWEST)
                durations += connection.execute(newest).scalars()
        return Figures(
            count,
            errors,
            failures,
            _quantiles(durations),
            cost / costed / NANO if costed else None,
            {name: self._mean(sought, name) for name in outcomes},
        )

    def _kinds(self, sought: Sought) -> dict[int, tuple[str, str]]:
        query = select(kinds.c.id, kinds.c.status, kinds.c.reason).where(
            kinds.c.integration == sought.integration,
            kinds.c.release.in_(sought.releases),
            kinds.c.variant == sought.variant,
            kinds.c.status != Status.REFUSED.value,
            kinds.c.reason.not_in([one.value for one in NOT_ASKED]),
        )
        with self._database.read() as connection:
            return {row.id: (row.status, row.reason) for row in connection.execute(query)}

    def _mean(self, sought: Sought, name: str) -> Mean:
        """Welford's way: one pass, and no sum of squares that cancels."""
        count, mean, squares, binary = 0, 0.0, 0.0, True
        joined = self._outcomes.joined(sought.integration, name, sought.since_us)
        for record, outcome in joined:
            mine = record.variant == sought.variant and record.release in sought.releases
            # What another route answered, or nobody, says nothing of this variant's own.
            said = record.status is Status.ANSWERED and record.reason is Reason.FIRST
            if not mine or not said or isinstance(outcome.value, str):
                continue
            count += 1
            binary = binary and outcome.value in (0, 1)
            distance = float(outcome.value) - mean
            mean += distance / count
            squares += distance * (float(outcome.value) - mean)
        variance = squares / (count - 1) if count > 1 else 0.0
        return Mean(count, mean, variance, binary and count > 0)


def _quantiles(durations: list[int]) -> dict[str, float]:
    """By the nearest rank, in seconds."""
    if not durations:
        return {}
    ordered = sorted(durations)
    return {
        name: ordered[max(0, math.ceil(share * len(ordered)) - 1)] / 1e6
        for name, share in _QUANTILES.items()
    }
