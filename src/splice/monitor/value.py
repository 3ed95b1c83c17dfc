"""Value: where the objective's figure stands, and the money that an integration moved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Literal, Protocol

import msgspec

from splice.core.kpis import Mean
from splice.core.release import Release
from splice.core.rollout import CHALLENGER, CHAMPION, WHOLE
from splice.core.rollups import Totals, Wanted, Window
from splice.core.studies import Interval, KpiStanding, Study, Value, Worth
from splice.core.units import NANO, duration_text, money, plural
from splice.monitor import kpis, traffic
from splice.monitor.effects import amount
from splice.monitor.sequential import fixed_interval
from splice.monitor.spans import higher_is_better, objective_outcome
from splice.ports.rollups import RollupStore
from splice.ports.stores import ReleaseStore
from splice.ports.studies import StudyStore

YEAR_S = 365.25 * 86_400


class Ledger(Protocol):
    """The stores that value is read from; `app.wiring.Stores` and `Services.stores` are such."""

    @property
    def releases(self) -> ReleaseStore:
        """Releases."""
        ...

    @property
    def studies(self) -> StudyStore:
        """Studies."""
        ...

    @property
    def rollups(self) -> RollupStore:
        """Rollups, for what the calls cost."""
        ...


def worth(ledger: Ledger, live: Release, window: Window, currency: str) -> Worth:
    """What an integration is worth in a window, from stored studies and rollups: reads little.

    Args:
        ledger: What is known.
        live: The release that answers now: its objective counts.
        window: Which calls.
        currency: Of the account, which costs are in.
    """
    objective = live.manifest.objective
    if not objective:
        told = "No objective is declared: nothing says which figure it must move."
        value = _value(live, window, currency, "none", told)
        return Worth(msgspec.structs.replace(value, told=told))
    found = _Reckoning(ledger, live, window, currency)
    standing, mean = found.standing()
    values = [*found.by_studies(), *found.by_baseline(mean)]
    known = [one for one in values if one.moved is not None]
    if known:
        return Worth(known[0], standing, next((one for one in known[1:]), None))
    return Worth(values[0] if values else found.nothing(mean), standing)


class _Reckoning:
    def __init__(self, ledger: Ledger, live: Release, window: Window, currency: str) -> None:
        self._ledger = ledger
        self._live = live
        self._window = window
        self._objective: Mapping[str, Any] = live.manifest.objective
        self._account = currency
        self._unit: float | None = None
        self._currency = currency
        if text := self._objective.get("value_per_unit"):
            worth_of_one = money(text, "value_per_unit")
            self._unit, self._currency = abs(worth_of_one.amount), worth_of_one.currency
        releases = ledger.releases.releases(live.integration)
        self._since = kpis.since_of(releases)
        self._sign = _sign(self._objective)
        self._held = live.manifest.holdout

    def standing(self) -> tuple[KpiStanding, Mean | None]:
        """Where the figure stands, by calls whose outcome became due in the window."""
        objective, live, since = self._objective, self._live, self._since
        kpi = kpis.kpi_of(live, since)
        at = KpiStanding(
            str(objective.get("kpi", "")), str(objective.get("unit", "")),
            objective_outcome(live.manifest), baseline=objective.get("baseline"),
            target=objective.get("target"), due=str(objective.get("due", "")),
        )  # fmt: skip
        mean = None if kpi is None else kpis.mean_in(self._ledger.studies, kpi, self._window)
        if kpi is None or mean is None:
            told = f"No outcome {at.outcome} of this time is due yet."
            return msgspec.structs.replace(at, told=told), None
        interval = None
        if mean.variance is not None:
            interval = fixed_interval(mean.mean, mean.variance)
        at = msgspec.structs.replace(
            at, mean=mean.mean, interval=interval, calls=mean.calls,
            asked=kpis.asked_in(kpi, self._window),
        )  # fmt: skip
        way = _way(at, since, self._window.until_us)
        on_course = None if way is None else _on_course(at, way)
        told = _standing_told(at, way, on_course)
        return msgspec.structs.replace(at, on_course=on_course, told=told), mean

    def by_studies(self) -> list[Value]:
        """By a holdout, then by a rollout, newest first, of those that say something."""
        found: list[Value] = []
        studies = self._ledger.studies.studies(self._live.integration)
        for kind in ("holdout", "rollout"):
            for one in studies:
                overlap = self._overlap(one)
                if one.kind == kind and overlap.seconds > 0:
                    found.append(self._by_study(one, overlap))
        return found

    def _overlap(self, study: Study) -> Window:
        until = self._window.until_us
        if study.until_us is not None:
            until = min(until, study.until_us)
        since = max(self._window.since_us, study.since_us)
        return Window(since, max(since, until))

    def _by_study(self, study: Study, overlap: Window) -> Value:
        effect = study.primary
        basis: Literal["holdout", "rollout"] = study.kind
        plain = msgspec.structs.replace(
            _value(self._live, self._window, self._currency, basis, study.why),
            study=study.key, causal=study.causal,
        )  # fmt: skip
        if effect is None or effect.interval is None or effect.difference is None:
            why = f"The {basis} has too few units with a known outcome yet."
            return msgspec.structs.replace(plain, why=why, told=why, causal=False)
        share = _treated_share(study)
        cost = self._cost() if basis == "holdout" else self._cost_of_challenger()
        plain = msgspec.structs.replace(plain, over_s=overlap.seconds)
        return self._valued(plain, effect.difference, effect.interval, share, cost)

    def by_baseline(self, mean: Mean | None) -> list[Value]:
        """By how far the figure is from its baseline: an estimate, whatever made the difference."""
        baseline = self._objective.get("baseline")
        if baseline is None or mean is None:
            return []
        why = (
            "An estimate: whatever else changed since the baseline was measured is in it too. "
            "Hold out a share of the entities to know: splice.Holdout."
        )
        plain = _value(self._live, self._window, self._currency, "baseline", why)
        if mean.variance is None:
            told = "Too few entities have an outcome to say how exact it is."
            return [msgspec.structs.replace(plain, told=told)]
        interval = fixed_interval(mean.mean - baseline, mean.variance)
        share = 1.0 if self._held is None else 1 - self._held.share / WHOLE
        lived = Window(max(self._window.since_us, self._since), self._window.until_us)
        plain = msgspec.structs.replace(plain, over_s=max(0.0, lived.seconds))
        return [self._valued(plain, mean.mean - baseline, interval, share, self._cost())]

    def nothing(self, mean: Mean | None) -> Value:
        """Where neither a study nor a baseline says anything."""
        why = "No baseline is declared, and nobody is held out: nothing to compare with."
        if self._objective.get("baseline") is not None or mean is None:
            why = "No outcome of the objective is due yet."
        value = _value(self._live, self._window, self._currency, "none", why)
        return msgspec.structs.replace(value, told=why)

    def _valued(
        self, plain: Value, apart: float, interval: Interval, share: float, cost: float | None
    ) -> Value:
        """The money that a difference of the figure is worth, on a share of the calls."""
        sign = self._sign
        low, high = sorted((sign * interval.low, sign * interval.high))
        effect = sign * apart
        found = msgspec.structs.replace(plain, effect=effect, cost=cost, value_per_unit=self._unit)
        if self._currency != self._account:
            note = f"{plain.why} Costs are in {self._account}, and are not taken off."
            found = msgspec.structs.replace(found, cost=None, why=note)
        if self._unit is None:
            told = "What a unit of the figure is worth is not declared (value_per_unit)."
            return msgspec.structs.replace(found, told=told)
        rate = self._unit * share * plain.over_s / YEAR_S
        found = msgspec.structs.replace(
            found, moved=effect * rate,
            interval=Interval(low * rate, high * rate, interval.level, interval.always),
        )  # fmt: skip
        return msgspec.structs.replace(found, told=_value_told(found))

    def _cost(self) -> float | None:
        wanted = Wanted(self._window, self._live.integration)
        totals = traffic.totals(self._ledger.rollups, wanted)
        if not totals.costed and not totals.shadow.costed:
            return None
        return (totals.cost_nano + totals.shadow.cost_nano) / NANO

    def _cost_of_challenger(self) -> float | None:
        wanted = Wanted(self._window, self._live.integration)
        parts: dict[str, Totals] = {
            one.name: one.totals
            for one in traffic.breakdown(self._ledger.rollups, wanted, "variant")
        }
        new, old = parts.get(CHALLENGER), parts.get(CHAMPION)
        costs = [None if one is None else one.cost_per_call for one in (new, old)]
        if new is None or costs[0] is None or costs[1] is None:
            return None
        return new.calls * (costs[0] - costs[1])


def _value(
    live: Release,
    window: Window,
    currency: str,
    basis: Literal["holdout", "rollout", "baseline", "none"],
    why: str,
) -> Value:
    return Value(live.integration, window, currency, basis, causal=False, why=why)


def _sign(objective: Mapping[str, Any]) -> int:
    """1 where more of the figure is good, -1 where less is.

    Where target and baseline do not say it, the sign of a unit's value does.
    """
    higher = higher_is_better(objective)
    if higher is not None:
        return 1 if higher else -1
    return -1 if "-" in str(objective.get("value_per_unit", "")) else 1


def _treated_share(study: Study) -> float:
    share = study.arms[1].share
    if share is not None:
        return share / WHOLE
    calls = [one.calls for one in study.arms]
    return calls[1] / sum(calls) if sum(calls) else 0.0


def _way(at: KpiStanding, since_us: int, now_us: int) -> float | None:
    """Where the figure should be now, on the straight way from baseline to target."""
    if at.baseline is None or at.target is None or not at.due:
        return None
    try:
        day = datetime.combine(date.fromisoformat(at.due), datetime.min.time(), UTC)
    except ValueError:
        return None
    due_us = day.timestamp() * 1e6
    if due_us <= since_us:
        return at.target
    gone = min(1.0, max(0.0, (now_us - since_us) / (due_us - since_us)))
    return at.baseline + (at.target - at.baseline) * gone


def _on_course(at: KpiStanding, way: float) -> bool | None:
    if at.interval is None or at.baseline is None or at.target is None:
        return None
    if at.interval.low <= way <= at.interval.high:
        return None
    return (at.interval.low > way) == (at.target > at.baseline)


def standing_amount(at: KpiStanding, value: float) -> str:
    """A value of the objective's figure: in percent where its unit is a share."""
    return amount(f"outcome:{at.outcome}", value, share=at.unit.casefold().startswith("share"))


def _standing_told(at: KpiStanding, way: float | None, on_course: bool | None) -> str:
    text = f"{at.kpi} is {standing_amount(at, at.mean or 0.0)}"
    if at.interval is not None:
        ends = [standing_amount(at, one) for one in (at.interval.low, at.interval.high)]
        text += f" ({' to '.join(ends)})"
    text += f", of {plural(at.calls, 'call')}."
    if way is None or at.target is None:
        return text
    here, there = standing_amount(at, way), standing_amount(at, at.target)
    words = {True: "On course", False: "Not on course", None: "Where it should be"}
    state = "The" if at.interval is None else f"{words[on_course]}: the"
    return f"{text} {state} straight way to {there} by {at.due} is at {here} now."


def _money(value: float, currency: str) -> str:
    return f"{currency} {'-' if value < 0 else ''}{abs(value):,.{0 if abs(value) >= 1000 else 2}f}"


def _value_told(value: Value) -> str:
    kind = "Moved" if value.causal else "Estimated to have moved"
    text = f"{kind} {_money(value.moved or 0.0, value.currency)} in {duration_text(value.over_s)}"
    if value.interval is not None:
        ends = [_money(one, value.currency) for one in (value.interval.low, value.interval.high)]
        text += f" ({' to '.join(ends)})"
    if value.net is not None and value.cost is not None:
        text += (
            f"; {_money(value.cost, value.currency)} of cost leave a return of "
            f"{_money(value.net, value.currency)}"
        )
    return f"{text}."
