"""Traffic: totals, series and breakdowns of recorded calls, from rollups in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from splice.core.call import Reason, Status
from splice.core.histograms import quantiles, unpack_into
from splice.core.rollout import SHADOW
from splice.core.rollups import (
    HOUR_S,
    MINUTE_S,
    By,
    Caller,
    Counted,
    Part,
    Point,
    Shadows,
    Spent,
    Timed,
    Totals,
    Tried,
    Wanted,
    Window,
)
from splice.monitor.covering import Cover, cover, steps
from splice.ports.rollups import Piece, RollupStore

K = TypeVar("K")

_CACHED = frozenset({Reason.CACHED, Reason.SIMILAR, Reason.SHARED})
_QUANTILES = (0.5, 0.95, 0.99)
_TIMED = frozenset({"integration", "release", "variant", "route"})
_SPENT = _TIMED | {"version"}
_FEW = 8


def totals(store: RollupStore, wanted: Wanted) -> Totals:
    """What the calls of a window came to.

    The edges are exact to the minute within the last 48 hours, to the hour before; `window` and
    `granularity_s` of the result say what was counted. A window is never counted short: where an
    edge is not exact it reaches a little further out.
    """
    found = _Found.of(store, wanted)
    return found.totals(wanted.variant == SHADOW)


def series(store: RollupStore, wanted: Wanted, points: int = 120) -> list[Point]:
    """The same in at most so many steps of equal length (a multiple of a span), oldest first.

    Steps without calls are there, with zero calls. The first and the last step are whole, so they
    may reach beyond the window. Days are those of UTC.
    """
    starts, span = steps(wanted.window, points, store.kept_since())
    if not starts:
        return []
    step = starts.step
    pieces = (Piece(span, starts.start, starts.stop),)
    whole = wanted.variant == SHADOW
    parts = _Found(
        store.counted(wanted, pieces, step), store.timed(wanted, pieces, step),
        store.spent(wanted, pieces, step),
    ).by_start()  # fmt: skip
    found: list[Point] = []
    for start in starts:
        window = Window(start * 1_000_000, (start + step) * 1_000_000)
        part = parts.get(start, _Found((), (), ()))
        found.append(Point(window, part.totals(whole, Cover((), window, span))))
    return found


def breakdown(store: RollupStore, wanted: Wanted, by: By) -> list[Part]:
    """The same for each release, route, variant …; most calls first.

    By variant, the shadow is one of the parts, with totals of its own; else it is apart. Latencies
    are not known by version, surface, status and reason: None there. Tokens and attempts are not
    known by surface, status and reason: 0 there. By route and version, attempts are those of the
    route and the version themselves, whoever answered in the end.
    """
    found = _Found.of(store, wanted)
    parts = [
        Part(name, part.totals(name == SHADOW if by == "variant" else wanted.variant == SHADOW))
        for name, part in found.split(by).items()
    ]
    return sorted(
        [one for one in parts if one.totals.calls or one.totals.attempts],
        key=lambda one: (-one.totals.calls, -one.totals.attempts, one.name),
    )


def callers(store: RollupStore, wanted: Wanted) -> list[Caller]:
    """What each caller's calls came to, most calls first; exact to the hour, or the day."""
    hours = store.kept_since().get("caller_hours", 0)
    covered = cover(wanted.window, {"hours": hours}, HOUR_S)
    return list(store.callers(wanted, covered.pieces))


def tried(store: RollupStore, wanted: Wanted) -> list[Tried]:
    """Attempts by route and version with how they ended, most attempts first."""
    covered = cover(wanted.window, store.kept_since())
    sums: dict[tuple[str, str], list[int]] = {}
    ended: dict[tuple[str, str], dict[str, int]] = {}
    for one in store.spent(wanted, covered.pieces):
        if one.attempts and _is_wanted(one.key.variant, wanted):
            name = one.key.route, one.key.version
            _sum(sums, name, one[3:])
            how = ended.setdefault(name, {})
            how[one.key.ended] = how.get(one.key.ended, 0) + one.attempts
    found: list[Tried] = []
    for name, row in sorted(sums.items(), key=_most):
        attempts, cost_nano, costed, read, wrote, cached, latency_us = row
        mean = latency_us / attempts / 1e6
        how = dict(sorted(ended[name].items(), key=lambda each: (-each[1], each[0])))
        found.append(Tried(*name, attempts, how, cost_nano, costed, mean, read, wrote, cached))
    return found


class _Found(msgspec.Struct):
    """Rows of rollups, and what they come to."""

    counted: Sequence[Counted]
    timed: Sequence[Timed]
    spent: Sequence[Spent]
    cover: Cover = Cover((), Window(0, 0), MINUTE_S)

    @staticmethod
    def of(store: RollupStore, wanted: Wanted) -> _Found:
        covered = cover(wanted.window, store.kept_since())
        return _Found(
            store.counted(wanted, covered.pieces),
            store.timed(wanted, covered.pieces),
            store.spent(wanted, covered.pieces),
            covered,
        )

    def by_start(self) -> dict[int, _Found]:
        return self._split(
            lambda one: one.start_s, lambda one: one.start_s, lambda one: one.start_s
        )

    def split(self, by: By) -> dict[str, _Found]:
        """By what the calls have in common."""
        timed, spent = by in _TIMED, by in _SPENT
        return self._split(
            lambda one: str(getattr(one.kind, by)),
            lambda one: str(getattr(one, by)) if timed else None,
            lambda one: str(getattr(one.key, by)) if spent else None,
        )

    def _split(
        self,
        of_counted: Callable[[Counted], K | None],
        of_timed: Callable[[Timed], K | None],
        of_spent: Callable[[Spent], K | None],
    ) -> dict[K, _Found]:
        parts: dict[K, tuple[list[Counted], list[Timed], list[Spent]]] = {}
        for counted in self.counted:
            if (name := of_counted(counted)) is not None:
                parts.setdefault(name, ([], [], []))[0].append(counted)
        for timed in self.timed:
            if (name := of_timed(timed)) is not None:
                parts.setdefault(name, ([], [], []))[1].append(timed)
        for spent in self.spent:
            if (name := of_spent(spent)) is not None:
                parts.setdefault(name, ([], [], []))[2].append(spent)
        return {name: _Found(*rows, self.cover) for name, rows in parts.items()}

    def totals(self, shadow_too: bool, covered: Cover | None = None) -> Totals:
        """With `shadow_too`, shadow calls are counted like any other."""
        covered = covered or self.cover
        sums, shadow = [0] * 9, [0] * 4
        errors: dict[str, int] = {}
        refusals: dict[str, int] = {}
        for kind, _, calls, cost_nano, costed, duration_us in self.counted:
            failed = kind.status == Status.FAILED
            if kind.variant == SHADOW and not shadow_too:
                shadow = _plus(shadow, (calls, failed * calls, cost_nano, costed))
                continue
            answered, refused = kind.status == Status.ANSWERED, kind.status == Status.REFUSED
            fallback = answered and kind.reason == Reason.FALLBACK
            cached = answered and kind.reason in _CACHED
            row = (
                calls, answered * calls, failed * calls, refused * calls, fallback * calls,
                cached * calls, cost_nano, costed, duration_us,
            )  # fmt: skip
            sums = _plus(sums, row)
            if not answered:
                why = errors if failed else refusals
                why[kind.reason] = why.get(kind.reason, 0) + calls
        timed = [one for one in self.timed if shadow_too or one.variant != SHADOW]
        _, p50, p95, p99 = _quantiles([one.durations for one in timed])
        streamed, first_p50, first_p95, _ = _quantiles([one.first_tokens for one in timed])
        spent = [0] * 4
        for one in self.spent:
            if shadow_too or one.key.variant != SHADOW:
                more = (one.attempts, one.input_tokens, one.output_tokens, one.cached_tokens)
                spent = _plus(spent, more)
        calls, answered, failed, refused, fallbacks, cached, cost_nano, costed, duration_us = sums
        attempts, read, wrote, kept = spent
        return Totals(
            calls, answered, failed, refused, fallbacks, cached, errors, refusals, cost_nano,
            costed, duration_us, p50, p95, p99, streamed, first_p50, first_p95, attempts, read,
            wrote, kept, Shadows(*shadow), covered.window, covered.granularity_s,
        )  # fmt: skip


def _is_wanted(variant: str, wanted: Wanted) -> bool:
    return variant != SHADOW or wanted.variant == SHADOW


def _plus(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]


def _sum(sums: dict[K, list[int]], key: K, row: Sequence[int]) -> None:
    sums[key] = _plus(sums[key], row) if key in sums else list(row)


def _most(item: tuple[K, list[int]]) -> tuple[int, str]:
    return -item[1][0], str(item[0])


def _quantiles(packed: Sequence[bytes]) -> tuple[int, float | None, float | None, float | None]:
    """How many there are, and their quantiles in seconds."""
    counts = _joined(packed)
    found = quantiles(counts, _QUANTILES)
    if found is None:
        return 0, None, None, None
    p50, p95, p99 = (value / 1e6 for value in found)
    return sum(counts.values()), p50, p95, p99


def _joined(packed: Sequence[bytes]) -> dict[int, int]:
    """All of them in one. A page may join thousands, and numpy does that 20 times as fast."""
    counts: dict[int, int] = {}
    if len(packed) > _FEW:
        try:
            import numpy as np
        except ImportError:  # of an extra
            pass
        else:
            buckets = b"".join([body[: len(body) // 3] for body in packed])
            numbers = b"".join([body[len(body) // 3 :] for body in packed])
            weights = np.frombuffer(numbers, "<u4").astype(np.float64)  # exact up to 2 ** 53
            sums = np.bincount(np.frombuffer(buckets, "<u2"), weights)
            return {int(bucket): int(sums[bucket]) for bucket in sums.nonzero()[0]}
    unpack_into(counts, packed)
    return counts
