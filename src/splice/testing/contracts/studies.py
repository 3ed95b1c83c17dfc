"""What every StudyStore must hold to.

Inherit `StudyStoreContract` and give it fixtures `records`, `outcomes` and `studies`: the empty
stores of one ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from splice.core.call import Outcome, Reason, Record, Status
from splice.core.ids import uuid7
from splice.core.moments import Moments, moments_of
from splice.core.spans import CONTROL, CROSSED, TREATED, Came, Progress, Sought, Span, Unit
from splice.core.studies import ArmState, SampleRatio, Study
from splice.ports.stores import OutcomeStore, RecordStore
from splice.ports.studies import StudyStore

START = 1_793_880_000_000_000
"""When the study began, in Unix microseconds."""

DAY = 86_400_000_000
NOW = START + 20 * DAY
PAID = Sought("paid", 10 * DAY, 10 * DAY, (True,))
LOST = Sought("lost", 10 * DAY, 10 * DAY, (True,), 0.0)


def span(**changes: Any) -> Span:
    """A rollout of release 3, half and half."""
    plain = Span(
        "credit/rollout/1", "credit", "rollout", (3,), (5000, 5000), ("a@1", "a@2"), START,
        START - 40 * DAY, 60_000_000, (PAID,),
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


class _Calls:
    """Makes records whose ids differ."""

    made = 0

    @classmethod
    def call(cls, entity: str | None, day: float, variant: str = "champion", **more: Any) -> Record:
        cls.made += 1
        asked_us = START + round(day * DAY)
        plain = Record(
            call_id=uuid7(asked_us // 1000, cls.made), integration="credit", release=3,
            asked_us=asked_us, duration_us=2_000, status=Status.ANSWERED, reason=Reason.FIRST,
            surface="test", entity=entity, variant=variant, cost_nano=500, input=b"{}",
        )  # fmt: skip
        return msgspec.structs.replace(plain, **more)


call = _Calls.call


def paid(of: Record | str, day: float, value: bool | float | str = True, name: str = "paid") -> Any:
    """An outcome of a call or an entity, so many days after the start."""
    at = START + round(day * DAY)
    if isinstance(of, str):
        return Outcome("credit", name, value, at, entity=of)
    return Outcome("credit", name, value, at, call_id=of.call_id)


def brought_up(studies: StudyStore, of: Span, now_us: int = NOW, limit: int = 1000) -> Progress:
    """Look until there is nothing new."""
    while True:
        progress = studies.progress(of)
        touched = studies.touched(of, progress, now_us, limit)
        units = studies.counted(of, touched.units, now_us)
        kept = studies.keep(of, units, touched.progress)
        assert kept is not None
        if not touched.more:
            return kept


def came(studies: StudyStore, of: Span, name: str, now_us: int = NOW) -> Came | None:
    """What a unit came to in the first outcome."""
    (unit,) = studies.counted(of, [name], now_us)
    return unit.outcomes.get(of.outcomes[0].name)


class StudyStoreContract:
    """Units are counted from their calls and outcomes, and only what is due counts."""

    def test_a_unit_is_what_its_calls_came_to(
        self, records: RecordStore, studies: StudyStore
    ) -> None:
        some = [
            call("e", 1),
            call("e", 2, reason=Reason.FALLBACK, cost_nano=None),
            call("e", 3, status=Status.FAILED, reason=Reason.EXHAUSTED),
            call("e", 4, reason=Reason.CACHED),
        ]
        records.append(some)

        (unit,) = studies.counted(span(), ["e", "nobody"], NOW)

        assert unit == Unit(
            "e", CONTROL, some[0].asked_us, calls=4, asked=3, errors=2, failures=1,
            cost_nano=1500, costed=3, duration_us=8000,
        )  # fmt: skip

    def test_calls_of_other_releases_variants_integrations_and_times_are_left_out(
        self, records: RecordStore, studies: StudyStore
    ) -> None:
        records.append(
            [
                call("e", 1, "challenger"),
                call("e", 1, "challenger", release=4),
                call("e", 1, "shadow"),
                call("e", 1, "holdout"),
                call("e", 1, ""),
                call("e", 1, "challenger", integration="other"),
                call("e", 1, "challenger", status=Status.REFUSED, reason=Reason.OVER_BUDGET),
                call("e", -1, "challenger"),
                call("e", 30, "challenger"),
            ]
        )

        (unit,) = studies.counted(span(), ["e"], NOW)

        assert (unit.arm, unit.calls) == (TREATED, 1)

    def test_in_a_holdout_everybody_else_is_the_other_arm_whatever_his_variant(
        self, records: RecordStore, studies: StudyStore
    ) -> None:
        of = span(kind="holdout")
        variants = {"a": "holdout", "b": "champion", "c": "challenger", "d": ""}
        records.append([call(name, 1, variant) for name, variant in variants.items()])

        units = studies.counted(of, list(variants), NOW)

        assert {one.name: one.arm for one in units} == {
            "a": CONTROL, "b": TREATED, "c": TREATED, "d": TREATED,
        }  # fmt: skip

    def test_who_is_seen_in_both_arms_belongs_to_none(
        self, records: RecordStore, studies: StudyStore
    ) -> None:
        records.append([call("e", 1), call("e", 2, "challenger"), call("f", 1)])

        brought_up(studies, span())
        tally = studies.tally(span())

        (unit,) = studies.counted(span(), ["e"], NOW)
        assert unit.arm == CROSSED
        assert (tally.units, tally.crossed) == ((1, 0), 1)

    def test_only_calls_count_whose_outcome_is_due(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        old, young = call("e", 5), call("e", 12)
        records.append([old, young])
        outcomes.append_outcomes([paid(old, 6), paid(young, 13)], NOW)

        now = came(studies, span(), "e")
        later = came(studies, span(), "e", START + 23 * DAY)

        assert now == Came(1, 1.0)
        assert later == Came(2, 2.0)

    def test_a_call_without_an_outcome_counts_where_that_means_something_and_else_never(
        self, records: RecordStore, studies: StudyStore
    ) -> None:
        records.append([call("e", 1), call("e", 19)])

        assert came(studies, span(), "e") is None
        assert came(studies, span(outcomes=(LOST,)), "e") == Came(1, 0.0)

    def test_where_nobody_says_when_it_is_due_a_call_counts_as_soon_as_it_has_one(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        told = call("e", 19)
        records.append([told, call("e", 1)])
        outcomes.append_outcomes([paid(told, 19.5)], NOW)

        assert came(studies, span(outcomes=(Sought("paid"),)), "e") == Came(1, 1.0)

    def test_of_outcomes_that_contradict_each_other_the_latest_counts(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        one = call("e", 1)
        records.append([one])
        outcomes.append_outcomes([paid(one, 4, True), paid(one, 3, False), paid("e", 2, True)], NOW)

        assert came(studies, span(), "e") == Came(1, 1.0)
        outcomes.append_outcomes([paid(one, 5, False)], NOW)
        assert came(studies, span(), "e") == Came(1, 0.0)

    def test_an_outcome_of_the_future_waits_for_its_day(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        one = call("e", 1)
        records.append([one])
        outcomes.append_outcomes([paid(one, 30)], NOW)

        assert came(studies, span(), "e") is None
        assert came(studies, span(), "e", START + 31 * DAY) == Came(1, 1.0)

    def test_an_outcome_of_an_entity_is_of_the_calls_shortly_before_it(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        short = span(outcomes=(msgspec.structs.replace(LOST, within_us=2 * DAY),))
        records.append([call("e", 1), call("e", 4), call("e", 6)])
        outcomes.append_outcomes([paid("e", 5, name="lost"), paid("f", 5, name="lost")], NOW)

        assert came(studies, short, "e") == Came(3, 1.0)

    def test_a_value_that_counts_nothing_leaves_its_call_out(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        plain = span(outcomes=(Sought("amount", 10 * DAY),))
        some = [call("e", 1), call("e", 2)]
        records.append(some)
        outcomes.append_outcomes(
            [paid(some[0], 3, 12.5, "amount"), paid(some[1], 3, "much", "amount")], NOW
        )

        assert came(studies, plain, "e") == Came(1, 12.5)

    def test_the_past_of_a_unit_is_what_was_known_when_the_study_began(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        before = [call("e", -30), call("e", -20, "champion", release=2), call("e", -2)]
        records.append([*before, call("e", -60), call("e", 1)])
        outcomes.append_outcomes(
            [paid(before[0], -25, name="lost"), paid(before[1], 1, name="lost"),
             paid(before[2], -1, name="lost")], NOW
        )  # fmt: skip

        # The second one's is told during the study; the third is not mature when it begins.
        assert came(studies, span(outcomes=(LOST,)), "e") == Came(1, 0.0, 2, 1.0)

    def test_new_calls_are_found_once_they_cannot_be_late_any_more(
        self, records: RecordStore, studies: StudyStore
    ) -> None:
        records.append([call("a", 1), call("b", 1, "challenger"), call(None, 1)])

        brought_up(studies, span())
        again = studies.touched(span(), studies.progress(span()), NOW, 100)
        records.append([call("c", 19.9), call(None, 19.9)])
        more = studies.touched(span(), studies.progress(span()), NOW, 100)

        assert (again.units, again.nameless) == ([], 1)
        # Its neighbours may be stored late: they are looked at again, and counted once.
        assert more.units == []
        assert studies.tally(span()).calls == (1, 1)

    def test_calls_that_may_be_stored_late_are_looked_at_again(
        self, records: RecordStore, studies: StudyStore
    ) -> None:
        soon = START + round(1.0001 * DAY)
        records.append([call("a", 1), call(None, 1)])

        brought_up(studies, span(), soon)
        records.append([call("b", 0.99995)])
        more = studies.touched(span(), studies.progress(span()), soon, 100)

        assert set(more.units) == {"a", "b"}
        assert (more.nameless, more.progress.nameless_new) == (1, 0)

    def test_calls_that_are_stored_hours_late_are_found_within_a_day(
        self, records: RecordStore, studies: StudyStore
    ) -> None:
        of = span(outcomes=())
        records.append([call("a", 19.5), call(None, 19.5), call(None, 2)])
        brought_up(studies, of)
        records.append([call("late", 19.6), call(None, 19.6)])

        soon = studies.touched(of, studies.progress(of), NOW + DAY // 2, 100)
        next_day = studies.touched(of, studies.progress(of), NOW + DAY, 100)
        brought_up(studies, of, NOW + DAY)
        after = studies.touched(of, studies.progress(of), NOW + DAY + 1, 100)
        day_after = studies.touched(of, studies.progress(of), NOW + 2 * DAY, 100)

        assert (soon.units, soon.nameless) == ([], 2)
        assert (set(next_day.units), next_day.nameless) == ({"a", "late"}, 3)
        assert (after.units, after.nameless) == ([], 3)
        assert day_after.nameless == 3

    def test_what_becomes_mature_and_what_is_told_late_is_counted_anew(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        of = span(outcomes=(LOST,))
        one, other = call("e", 1), call("f", 2)
        records.append([one, other])
        early = START + 5 * DAY

        brought_up(studies, of, early)
        nothing = studies.tally(of).moments["outcome:lost"][0]
        brought_up(studies, of)
        mature = studies.tally(of).moments["outcome:lost"][0]
        outcomes.append_outcomes([paid(one, 3, name="lost"), paid("f", 4, name="lost")], NOW + 1)
        brought_up(studies, of, NOW + 2)
        told = studies.tally(of).moments["outcome:lost"][0]

        assert (nothing.count, mature.sums[:2], told.sums[:2]) == (0, (0.0, 2.0), (2.0, 2.0))

    @pytest.mark.parametrize("limit", [1, 3, 1000])
    def test_however_little_is_looked_at_at_once_every_unit_is_counted_once(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore, limit: int
    ) -> None:
        of = span(outcomes=(LOST,))
        some = [
            call(f"e{n % 7}", 1 + n // 4, "challenger" if n % 7 > 3 else "champion")
            for n in range(28)
        ]
        records.append(some)
        outcomes.append_outcomes([paid(one, 9, name="lost") for one in some[::3]], NOW)

        brought_up(studies, of, limit=limit)
        tally = studies.tally(of)

        assert (tally.units, tally.calls) == ((4, 3), (16, 12))
        assert [one.sums[:2] for one in tally.moments["outcome:lost"]] == [(6.0, 16.0), (4.0, 12.0)]

    def test_sums_are_those_of_the_units(
        self, records: RecordStore, outcomes: OutcomeStore, studies: StudyStore
    ) -> None:
        of = span(outcomes=(LOST,))
        some = [call(f"e{n % 5}", (n % 45) - 38, duration_us=1000 * n) for n in range(90)]
        records.append(some)
        outcomes.append_outcomes([paid(one, -12, name="lost") for one in some[::4]], NOW)
        outcomes.append_outcomes([paid(one, 8, name="lost") for one in some[1::4]], NOW)

        brought_up(studies, of)
        units = studies.counted(of, [f"e{n}" for n in range(5)], NOW)
        tally = studies.tally(of)

        told = [one.outcomes["lost"] for one in units if one.outcomes["lost"].calls]
        assert len(told) == 5
        _same(
            tally.moments["outcome:lost"][0],
            moments_of(
                [(c.total, c.calls, c.past_total, c.past_calls, c.past_calls > 0) for c in told]
            ),
        )
        _same(
            tally.moments["latency"][0],
            moments_of([(one.duration_us / 1e6, one.calls) for one in units]),
        )
        _same(
            tally.moments["cost"][0],
            moments_of([(one.cost_nano / 1e9, one.costed) for one in units]),
        )
        assert tally.moments["failures"][0].binary
        assert tally.moments["errors"][1] == Moments()

    def test_of_two_that_count_at_once_one_is_told(
        self, records: RecordStore, studies: StudyStore
    ) -> None:
        records.append([call("e", 1)])
        progress = studies.progress(span())
        units = studies.counted(span(), ["e"], NOW)

        first = studies.keep(span(), units, progress)
        second = studies.keep(span(), units, progress)

        assert first is not None
        assert second is None
        assert studies.tally(span()).units == (1, 0)

    def test_the_state_of_a_study_is_kept_and_running_ones_come_first(
        self, studies: StudyStore
    ) -> None:
        for number, running in enumerate([False, True, False]):
            of = span(key=f"credit/rollout/{number}", since_us=START + number)
            studies.progress(of)
            studies.put_study(_study(of, running=running))

        found = studies.studies("credit")

        assert [one.key[-1] for one in found] == ["1", "2", "0"]
        assert studies.study("credit/rollout/1") == found[0]
        assert (studies.studies("other"), studies.study("x")) == ([], None)
        assert len(studies.studies()) == 3


def _same(one: Moments, other: Moments) -> None:
    assert (one.count, one.hits, one.binary) == (other.count, other.hits, other.binary)
    assert one.sums == pytest.approx(other.sums)
    assert one.products == pytest.approx(other.products)


def _study(of: Span, *, running: bool) -> Study:
    arms: Sequence[ArmState] = (ArmState("champion", 5000), ArmState("challenger", 5000))
    return Study(
        of.key, of.integration, of.kind, of.releases, (arms[0], arms[1]), (), SampleRatio((), ()),
        of.since_us, NOW, running=running,
    )  # fmt: skip
