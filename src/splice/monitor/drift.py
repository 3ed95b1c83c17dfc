"""Drift: which columns are no longer what they were, by how much, and how sure that is.

Needs splice-ai[monitor].
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from splice.core.profiles import ColumnDrift, Kind, Measured, Profile, Vectors, Words
from splice.core.units import plural
from splice.monitor import measures as m
from splice.monitor.columns import BASE, PREDICTION, REPLY
from splice.monitor.reasons import reason
from splice.monitor.shapes import Shape, Spread, binned, counted, figures, shape_of


class Limits(msgspec.Struct, frozen=True):
    """From which distance on a measure makes an alarm; None where it never does by itself.

    PSI 0.1 is the usual bound between no shift and a moderate one, 0.25 that of a great one: the
    mean of a bell curve has moved by a third of a standard deviation, or by half of one. `missing`
    is the difference of the shares of calls without a value, `types` that of the shares of values
    of the usual type. `wasserstein` sees what PSI does not: a few values that lie very far off.
    `text` and `vector` are in standard deviations.
    """

    types: float | None = 0.1
    missing: float | None = 0.1
    psi: float | None = 0.1
    ks: float | None = None
    js: float | None = None
    wasserstein: float | None = 0.3
    chi2: float | None = None
    text: float | None = 0.5
    vector: float | None = 0.5
    significance: float = 0.05  # of the corrected p


LIMITS = Limits()
FEWEST = 20
"""Calls that each side must have: of fewer nothing is said."""
_USUAL = ("psi", "text", "missing")


def drift(
    current: Mapping[str, Profile],
    reference: Mapping[str, Profile],
    limits: Limits = LIMITS,
) -> list[ColumnDrift]:
    """Every column of either side, those with an alarm first, then the farthest.

    A column that one side lacks altogether is told as such. Nothing raises: what cannot be compared
    says why.
    """
    return compared(
        {name: shape_of(profile) for name, profile in completed(current).items()},
        {name: shape_of(profile) for name, profile in completed(reference).items()},
        limits,
    )


def completed(profiles: Mapping[str, Profile]) -> dict[str, Profile]:
    """Profiles of columns, in which calls count as missing that had no such column at all."""
    found: dict[str, Profile] = {}
    for name, profile in profiles.items():
        if name in (BASE, PREDICTION, REPLY):
            continue
        base = profiles.get(_base(name))
        absent = 0 if base is None else max(base.calls - profile.calls, 0)
        if absent:
            profile = msgspec.structs.replace(
                profile, calls=profile.calls + absent, missing=profile.missing + absent
            )
        found[name] = profile
    return found


def _base(column: str) -> str:
    for base in (PREDICTION, REPLY):
        if column.startswith(base[:-1]):
            return base
    return BASE


def compared(
    current: Mapping[str, Shape], reference: Mapping[str, Shape], limits: Limits = LIMITS
) -> list[ColumnDrift]:
    """The same, of shapes."""
    found = [
        _column(name, now, before)
        for column in dict.fromkeys((*reference, *current))
        for name, now, before in _pairs(column, current.get(column), reference.get(column))
    ]
    raw = [_p_of(one.measures) for one in found]
    tested = [place for place, p in enumerate(raw) if p is not None]
    p = m.corrected(np.array([raw[place] for place in tested], np.float64))
    for place, value in zip(tested, p.tolist(), strict=True):
        found[place] = msgspec.structs.replace(found[place], p=value)
    judged = [_judged(one, current, reference, limits) for one in found]
    return sorted(judged, key=lambda one: (not one.alarm, -_farness(one), one.column))


def _pairs(
    name: str, now: Shape | None, before: Shape | None
) -> list[tuple[str, Shape | None, Shape | None]]:
    """A column, and what is known of its texts in numbers."""
    found: list[tuple[str, Shape | None, Shape | None]] = [(name, now, before)]
    if now is not None and before is not None:
        parts, were = figures(now), figures(before)
        found += [(f"{name}#{part}", parts[part], were[part]) for part in parts if part in were]
    return found


def _column(name: str, now: Shape | None, before: Shape | None) -> ColumnDrift:
    """All measures of a column, not yet judged."""
    if now is None or before is None:
        there = now or before
        assert there is not None  # noqa: S101 - one of them has the column
        lacking = "the reference has" if before is None else "the calls have"
        return ColumnDrift(
            name, there.kind, why=f"{lacking} no such column",
            calls=int(now.calls) if now else 0, reference_calls=int(before.calls) if before else 0,
        )  # fmt: skip
    now, before = _as_truths(now, before), _as_truths(before, now)
    kind = before.kind if before.kind is not Kind.NOTHING else now.kind
    calls, were = int(now.calls), int(before.calls)
    if min(calls, were) < FEWEST:
        fewer = plural(min(calls, were), "call") + (" of the reference" if were < calls else "")
        return ColumnDrift(
            name, kind, calls=calls, reference_calls=were,
            why=f"{fewer} are too few to tell: {FEWEST} are needed",
        )  # fmt: skip
    found = [m.share("missing", (now.missing, now.calls), (before.missing, before.calls))]
    if min(now.values, before.values) >= FEWEST:
        usual = [(one.kinds.get(kind, 0), one.values) for one in (now, before)]
        if len({*now.kinds, *before.kinds}) > 1:
            found.insert(0, m.share("types", usual[0], usual[1]))
        if min(count for count, _ in usual) >= FEWEST:
            found += _distances(kind, now, before)
    return ColumnDrift(name, kind, calls=calls, reference_calls=were, measures=tuple(found))


def _as_truths(one: Shape, other: Shape) -> Shape:
    """Numbers that are all 0 or 1 as truths, where the other side has truths."""
    values = None if one.spread is None else one.spread.values
    if other.kind is not Kind.TRUTH or one.kind is not Kind.NUMBER or not values:
        return one
    if not set(values) <= {0.0, 1.0}:
        return one
    counts = {int(value): count for value, count in values.items()}
    truths = Words(sum(counts.values()), counts, {0: "false", 1: "true"})
    kinds = {kind: count for kind, count in one.kinds.items() if kind is not Kind.NUMBER}
    kinds[Kind.TRUTH] = float(truths.count)
    return msgspec.structs.replace(one, kinds=kinds, truths=truths)


def _distances(kind: Kind, now: Shape, before: Shape) -> list[Measured]:
    """The measures of what a column is in the main."""
    if kind is Kind.NUMBER and now.spread and before.spread:
        return _of_numbers(now.spread, before.spread)
    if kind is Kind.LIST and now.lengths and before.lengths:
        return _of_numbers(now.lengths, before.lengths)
    if kind is Kind.TRUTH and now.truths and before.truths:
        return _of_words(now.truths, before.truths)
    if kind is Kind.WORD and now.words and before.words:
        return _of_words(now.words, before.words)
    if kind is Kind.TEXT and now.texts and before.texts:
        return [
            *_of_vectors("text", now.texts.spelling, before.texts.spelling),
            *_of_vectors("vector", now.texts.meaning, before.texts.meaning),
        ]
    return []


def _of_numbers(now: Spread, before: Spread) -> list[Measured]:
    of_now, of_before = binned(now, before)
    p = m.homogeneity(of_now, of_before)
    moved = m.wasserstein(now.function, before.function, (now.deviation, before.deviation))
    return [
        m.psi(of_now, of_before, p),
        m.ks(now.function, before.function),
        m.js(of_now, of_before, p),
        m.chi2(of_now, of_before),
        *([moved] if moved is not None else []),
    ]


def _of_words(now: Words, before: Words) -> list[Measured]:
    of_now, of_before, _ = counted(now, before)
    if not len(of_now):
        return []
    p = m.homogeneity(of_now, of_before)
    return [
        m.psi(of_now, of_before, p), m.js(of_now, of_before, p), m.chi2(of_now, of_before),
    ]  # fmt: skip


def _of_vectors(measure: str, now: Vectors, before: Vectors) -> list[Measured]:
    if now.made_by != before.made_by or not now.count:
        return []
    means = np.frombuffer(now.mean), np.frombuffer(before.mean)
    size = len(means[0])
    if min(now.count, before.count) < FEWEST or len(means[1]) != size:
        return []
    products = tuple(np.frombuffer(one.products).reshape(size, size) for one in (now, before))
    return [m.apart(measure, means, (products[0], products[1]), (now.count, before.count))]


_TESTED = ("missing", "types", "ks", "psi", "text", "vector")
"""Those of the others say the same again."""


def _p_of(measures: tuple[Measured, ...]) -> float | None:
    """How likely it is that nothing of a column has changed: its least p, for all its tests."""
    tests = [one.p for one in measures if one.measure in _TESTED and one.p is not None]
    return min(1.0, min(tests) * len(tests)) if tests else None


def _judged(
    one: ColumnDrift, current: Mapping[str, Shape], reference: Mapping[str, Shape], limits: Limits
) -> ColumnDrift:
    """With the measure that decides, whether it is an alarm, and why."""
    if not one.measures:
        return one
    bounds: dict[str, float | None] = msgspec.structs.asdict(limits)
    sure = one.p is None or one.p <= limits.significance
    beyond = [
        measured
        for measured in one.measures
        if (bound := bounds.get(measured.measure)) is not None and exceeds(measured, bound)
    ]
    alarm = sure and bool(beyond)
    chosen = beyond[0] if alarm else _usual(one)
    limit = bounds.get(chosen.measure)
    made = msgspec.structs.replace(
        one, measure=chosen.measure, value=chosen.value, low=chosen.low, high=chosen.high,
        limit=limit, alarm=alarm,
    )  # fmt: skip
    column = one.column.partition("#")[0]
    now, before = current[column], reference[column]
    why = reason(made, _as_truths(now, before), _as_truths(before, now))
    return msgspec.structs.replace(made, why=why)


def _usual(one: ColumnDrift) -> Measured:
    for name in _USUAL:
        if (measured := one.measured(name)) is not None:
            return measured
    return one.measures[0]


def _farness(one: ColumnDrift) -> float:
    return -1.0 if one.value is None else one.value / (one.limit or 1.0)


def exceeds(measured: Measured, above: float) -> bool:
    """Whether the distance is surely at or above a limit: its whole interval is."""
    return measured.low >= above
