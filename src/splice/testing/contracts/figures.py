"""What every FigureStore must hold to.

Inherit `FigureStoreContract` and give it fixtures `records`, `outcomes` and `figures`: the empty
stores of one ledger.
"""

from __future__ import annotations

import random

import msgspec
import pytest

from splice.core.call import Outcome, Reason, Record, Status
from splice.core.figures import Mean
from splice.ports.figures import FigureStore, Sought
from splice.ports.stores import OutcomeStore, RecordStore
from splice.testing.contracts.records import NOON_MS, simple_record

_US = NOON_MS * 1000


def _records(count: int, **changes: object) -> list[Record]:
    rng = random.Random(repr(sorted(changes.items())))
    return [
        msgspec.structs.replace(
            simple_record(rng), **{"duration_us": 1000 * (i + 1), "cost_nano": 10**9, **changes}
        )
        for i in range(count)
    ]


def _sought(variant: str = "challenger", *releases: int, since_us: int = 0) -> Sought:
    return Sought("credit", releases or (3,), variant, since_us)


class FigureStoreContract:
    """Figures are reckoned of the calls of one variant, and of no others."""

    def test_nothing_is_known_of_no_calls(self, figures: FigureStore) -> None:
        found = figures.figures(_sought(), ["paid"])

        assert (found.calls, found.latency, found.cost) == (0, {}, None)
        assert found.of("errors") is None
        assert found.of("outcome:paid") is None

    def test_a_fallback_is_an_error_and_no_failure(
        self, records: RecordStore, figures: FigureStore
    ) -> None:
        records.append(_records(90, variant="challenger"))
        records.append(_records(6, variant="challenger", reason=Reason.FALLBACK))
        records.append(
            _records(4, variant="challenger", status=Status.FAILED, reason=Reason.EXHAUSTED)
        )

        found = figures.figures(_sought())

        assert (found.calls, found.errors, found.failures) == (100, 10, 4)
        assert found.of("errors") == 0.1
        assert found.cost == pytest.approx(1.0)

    def test_latencies_are_of_the_nearest_rank_in_seconds(
        self, records: RecordStore, figures: FigureStore
    ) -> None:
        records.append(_records(100, variant="challenger"))  # 1 ms to 100 ms

        found = figures.figures(_sought())

        assert found.latency == {"latency_p50": 0.05, "latency_p95": 0.095, "latency_p99": 0.099}

    def test_other_variants_releases_and_times_are_left_out(
        self, records: RecordStore, figures: FigureStore
    ) -> None:
        records.append(_records(3, variant="challenger"))
        records.append(_records(5, variant="champion"))
        records.append(_records(7, variant="challenger", release=4))
        records.append(_records(11, variant="challenger", asked_us=_US - 1))
        records.append(_records(13, variant="challenger", integration="triage"))

        assert figures.figures(_sought(since_us=_US)).calls == 3
        assert figures.figures(_sought("champion")).calls == 5
        assert figures.figures(_sought("challenger", 3, 4, since_us=_US)).calls == 10

    @pytest.mark.parametrize(
        "reason", [Reason.CACHED, Reason.REPEATED, Reason.SHARED, Reason.DISCONNECTED]
    )
    def test_calls_that_asked_no_route_are_left_out(
        self, records: RecordStore, figures: FigureStore, reason: Reason
    ) -> None:
        records.append(_records(2, variant="challenger"))
        records.append(_records(9, variant="challenger", reason=reason))
        refused = {"status": Status.REFUSED, "reason": Reason.OVER_BUDGET}
        records.append(_records(9, variant="challenger", **refused))

        assert figures.figures(_sought()).calls == 2

    def test_an_unknown_cost_does_not_count_as_none(
        self, records: RecordStore, figures: FigureStore
    ) -> None:
        records.append(_records(5, variant="challenger", cost_nano=2 * 10**9))
        records.append(_records(5, variant="challenger", cost_nano=None))

        assert figures.figures(_sought()).cost == pytest.approx(2.0)

    def test_outcomes_are_means_of_the_variants_own_calls(
        self, records: RecordStore, outcomes: OutcomeStore, figures: FigureStore
    ) -> None:
        mine = _records(4, variant="challenger")
        others = _records(2, variant="champion")
        records.append([*mine, *others])
        values = (True, False, True, True, False, False)
        told = [
            Outcome("credit", "paid", value, _US + 1, one.call_id)
            for one, value in zip([*mine, *others], values, strict=True)
        ]
        words = Outcome("credit", "word", "odd", _US + 1, mine[0].call_id)
        outcomes.append_outcomes([*told, words], _US + 2)

        found = figures.figures(_sought(), ["paid", "word"])

        assert found.outcomes["paid"].count == 4
        assert found.outcomes["paid"].mean == pytest.approx(0.75)
        assert found.outcomes["paid"].variance == pytest.approx(0.25)
        assert found.outcomes["paid"].binary
        assert found.outcomes["word"] == Mean(0, 0.0, 0.0)

    def test_outcomes_of_what_another_route_answered_are_not_its_own(
        self, records: RecordStore, outcomes: OutcomeStore, figures: FigureStore
    ) -> None:
        own = _records(2, variant="challenger")
        others = _records(3, variant="challenger", reason=Reason.FALLBACK)
        records.append([*own, *others])
        told = [Outcome("credit", "loss", 2.5, _US + 1, one.call_id) for one in (*own, *others)]
        outcomes.append_outcomes(told, _US + 2)

        mean = figures.figures(_sought(), ["loss"]).outcomes["loss"]

        assert (mean.count, mean.mean, mean.binary) == (2, 2.5, False)
