"""What every StudyStore must hold to where it counts the objective's figure.

Inherit `KpiStoreContract` and give it the fixtures of `StudyStoreContract`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from splice.core.call import Reason, Status
from splice.core.kpis import Kpi
from splice.core.spans import Sought
from splice.ports.stores import OutcomeStore, RecordStore
from splice.ports.studies import StudyStore
from splice.testing.contracts.studies import DAY, LOST, NOW, START, call, paid


def kpi(**changes: Any) -> Kpi:
    """The share of credits that are lost, by day."""
    return msgspec.structs.replace(Kpi("credit", LOST, 86_400, START, 60_000_000), **changes)


def all_cells(studies: StudyStore, of: Kpi, now_us: int = NOW) -> dict[int, tuple[float, float]]:
    """Count all that is new; days from the start to calls and what they came to."""
    seen = studies.soiled(of, studies.counting(of), now_us, 1000)
    cells = [studies.cell(of, start_s, now_us) for start_s in seen.dirty]
    kept = studies.keep_cells(of, cells, msgspec.structs.replace(seen, dirty=()))
    assert kept is not None
    found = studies.cells(of, 0, 1 << 40)
    return {
        (one.start_s - START // 1_000_000) // 86_400: (sum(one.calls), sum(one.totals))
        for one in found
        if sum(one.calls)
    }


class KpiStoreContract:
    """Calls are counted once they are mature, in the day that they were asked."""

    def test_mature_calls_of_everybody_who_is_not_held_out_count(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        told = call("a", 1.6)
        records.append(
            [
                told,
                call("b", 1.6, ""),
                call("c", 1.6, "challenger", release=9),
                call(None, 2.6),
                call("d", 1.6, "holdout"),
                call("d", 1.6, "shadow"),
                call("d", 1.6, status=Status.REFUSED, reason=Reason.OVER_BUDGET),
                call("d", 1.6, integration="other"),
                call("d", 11.6),
            ]
        )
        outcomes.append_outcomes([paid(told, 9, name="lost")], NOW)

        assert all_cells(studies, kpi()) == {1: (3.0, 1.0), 2: (1.0, 0.0)}
        assert all_cells(studies, kpi(), NOW + 5 * DAY)[11] == (1.0, 0.0)

    def test_only_days_with_something_new_are_counted_anew(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        told, other = call("a", 2.6), call("b", 4.6)
        records.append([told, other])
        all_cells(studies, kpi())
        before = studies.soiled(kpi(), studies.counting(kpi()), NOW + 1, 1000)
        outcomes.append_outcomes(
            [paid(told, 9, name="lost"), paid("b", 5, name="lost"), paid(told, 9, name="paid")],
            NOW + 2,
        )

        after = studies.soiled(kpi(), studies.counting(kpi()), NOW + 3, 1000)

        first = START // 1_000_000 // 86_400
        days = {start_s // 86_400 - first for start_s in after.dirty}
        assert days - {start_s // 86_400 - first for start_s in before.dirty} == {3, 5}
        assert len(days) == 3
        assert all_cells(studies, kpi(), NOW + 4) == {2: (1.0, 1.0), 4: (1.0, 1.0)}

    def test_where_nothing_says_when_it_is_due_calls_count_that_have_an_outcome(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        of = kpi(sought=Sought("amount"))
        told = [call("a", 1.6), call("b", 19.6)]
        records.append([*told, call("c", 1.6)])
        outcomes.append_outcomes([paid(one, 19.9, 2.5, "amount") for one in told], NOW)

        assert all_cells(studies, of) == {1: (1.0, 2.5), 19: (1.0, 2.5)}

    def test_of_two_that_count_at_once_one_is_told_so(self, studies: StudyStore) -> None:
        counting = studies.counting(kpi())

        assert studies.keep_cells(kpi(), (), counting) is not None
        assert studies.keep_cells(kpi(), (), counting) is None
        assert studies.studies() == []
