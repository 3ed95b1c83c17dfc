"""Rolling: recorded calls are folded into rollups, batch after batch, each call once."""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from splice.core.call import Record, Status
from splice.core.errors import StoreError
from splice.core.histograms import bucket_of
from splice.core.rollups import DAY_S, HOUR_S, SPANS_S, CallerKey, Kind, ProfileKey, SpentKey
from splice.ports.rollups import Batch, Rolled, RollupStore, TimedKey

log = logging.getLogger("splice.rollups")

BATCH = 4096
"""Calls that are folded at once: some tens of milliseconds of a thread's time."""

MOST_PROFILED = 1024
"""Calls of a batch that are profiled while others wait: profiling takes eight times as long as
counting, and the counts of a busy server must not wait for it. Profiles are then of a sample."""

_MINUTE_US = 60_000_000
_TRIES = 20
"""So often a store may refuse the same few calls before they are set aside: a disk that is full
for a while refuses everything, and nothing must be lost by that."""

Profiles = Callable[[Sequence[Record]], Mapping[tuple[int, ProfileKey], bytes]]
"""Partial profiles of records, by the start of the hour and by key."""

Merge = Callable[[bytes, bytes], bytes]

K = TypeVar("K")


class Roller:
    """Folds what waits. Several may do it at once.

    A call that cannot be folded (its payload is damaged, its values break a profile) is counted
    as far as it can be, set aside under `store.damaged()`, and holds nobody up.

    Args:
        store: Where calls wait, and where the rollups are.
        profiles: Makes profiles of a batch; None makes none.
        merge: Makes one profile of two.
    """

    def __init__(
        self, store: RollupStore, profiles: Profiles | None = None, merge: Merge = operator.add
    ) -> None:
        self._store = store
        self._profiles = profiles
        self._merge = merge
        self._refused = 0

    def step(self, now_us: int) -> bool:
        """Fold the next calls; says whether more wait.

        Raises:
            StoreError: The ledger could not be read or written; nothing of the batch was added.
        """
        # After a refusal as few as there can be, and their counts alone, so that only those
        # suffer that are to blame.
        batch = self._store.take(1 if self._refused else BATCH)
        if batch is None:
            return False
        rolled = fold(batch)
        if self._profiles is not None and not self._refused:
            _profile(batch, rolled, self._profiles)
        try:
            if self._refused >= _TRIES:
                rolled = Rolled()
                why = f"refused {self._refused} times"
                batch.damaged = dict.fromkeys([one.call_id for one in batch.records], why)
            added = self._store.add(batch, rolled, self._merge, now_us)
        except StoreError:
            self._refused += 1
            raise
        if added:
            self._refused = 0
        if added and batch.damaged:
            log.warning(
                "%d calls are in no rollup, or not with all they hold: %s: %s",
                len(batch.damaged), *next(iter(batch.damaged.items())),
            )  # fmt: skip
        return batch.more or not added


def fold(batch: Batch) -> Rolled:
    """What the calls of a batch add to the rollups, without profiles."""
    cells = _Cells()
    for record in batch.records:
        cells.add(record)
    return cells.rolled()


class _Cell:
    """Calls of one minute that have everything in common but their numbers."""

    __slots__ = ("calls", "cost_nano", "costed", "durations", "first_tokens")

    def __init__(self) -> None:
        self.calls = 0
        self.cost_nano = 0
        self.costed = 0
        self.durations: list[int] = []
        self.first_tokens: list[int] = []


class _Cells:
    def __init__(self) -> None:
        self._cells: dict[tuple[int, tuple[str, int, str, str, str, str, str, str]], _Cell] = {}
        self._spent: dict[tuple[int, tuple[str, int, str, str, str, str]], list[int]] = {}
        self._callers: dict[tuple[int, tuple[str, int, str, str]], list[int]] = {}

    def add(self, r: Record) -> None:
        minute = r.asked_us // _MINUTE_US * 60
        kind = (
            r.integration, r.release, r.status, r.reason, r.surface, r.route, r.variant, r.version,
        )  # fmt: skip
        key = minute, kind
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = _Cell()
        cell.calls += 1
        cost = r.cost_nano
        # Nothing was tried, so nothing was spent, though nobody wrote that down.
        if cost is None and r.status is Status.REFUSED and not r.attempts:
            cost = 0
        if cost is not None:
            cell.cost_nano += cost
            cell.costed += 1
        cell.durations.append(r.duration_us)
        self._attempts(r, minute, cell)

    def _attempts(self, r: Record, minute: int, cell: _Cell) -> None:
        caller = (minute // HOUR_S * HOUR_S, (r.integration, r.release, r.variant, r.caller))
        theirs = self._callers.get(caller)
        if theirs is None:
            theirs = self._callers[caller] = [0] * 7
        theirs[0] += 1
        if not r.attempts:
            # Counted by the route it has, that every call is in this table once.
            self._row(minute, r, r.route, r.version, "")[0] += 1
            return
        row, last = [0], r.attempts[-1]
        for attempt in r.attempts:
            row = self._row(minute, r, attempt.route, attempt.version, attempt.ended)
            row[1] += 1
            theirs[1] += 1
            if attempt.cost_nano is not None:
                row[2] += attempt.cost_nano
                row[3] += 1
                theirs[2] += attempt.cost_nano
                theirs[3] += 1
            usage = attempt.usage
            if usage is not None:
                read, wrote = usage.input_tokens or 0, usage.output_tokens or 0
                row[4] += read
                row[5] += wrote
                row[6] += usage.cached_tokens or 0
                theirs[4] += read
                theirs[5] += wrote
                theirs[6] += usage.cached_tokens or 0
            row[7] += attempt.latency_us
        row[0] += 1
        if last.first_token_us is not None:
            cell.first_tokens.append(last.started_us + last.first_token_us)

    def _row(self, minute: int, r: Record, route: str, version: str, ended: str) -> list[int]:
        key = (minute, (r.integration, r.release, r.variant, route, version, ended))
        row = self._spent.get(key)
        if row is None:
            row = self._spent[key] = [0] * 8
        return row

    def rolled(self) -> Rolled:
        rolled = Rolled()
        for (minute, shared), cell in self._cells.items():
            kind = Kind(*shared)
            values = [cell.calls, cell.cost_nano, cell.costed, sum(cell.durations)]
            for place in _spans(minute):
                _add(rolled.counted, (*place, kind), values)
            if kind.status == Status.REFUSED:
                continue
            timed = TimedKey(kind.integration, kind.release, kind.variant, kind.route)
            durations, first_tokens = _counts(cell.durations), _counts(cell.first_tokens)
            for place in _spans(minute):
                _join(rolled.durations, (*place, timed), durations)
                if first_tokens:
                    _join(rolled.first_tokens, (*place, timed), first_tokens)
        for (minute, key), values in self._spent.items():
            for place in _spans(minute):
                _add(rolled.spent, (*place, SpentKey(*key)), values)
        for (hour, key), values in self._callers.items():
            for span in (HOUR_S, DAY_S):
                _add(rolled.callers, (span, hour // span * span, CallerKey(*key)), values)
        return rolled


def _spans(minute: int) -> list[tuple[int, int]]:
    return [(span, minute // span * span) for span in SPANS_S]


def _add(table: dict[K, list[int]], key: K, values: list[int]) -> None:
    row = table.get(key)
    table[key] = [*values] if row is None else [a + b for a, b in zip(row, values, strict=True)]


def _counts(values: list[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    get = counts.get
    for value in values:
        bucket = bucket_of(value)
        counts[bucket] = get(bucket, 0) + 1
    return counts


def _join(table: dict[K, dict[int, int]], key: K, counts: dict[int, int]) -> None:
    joined = table.get(key)
    if joined is None:
        table[key] = dict(counts)
        return
    get = joined.get
    for bucket, count in counts.items():
        joined[bucket] = get(bucket, 0) + count


def _profile(batch: Batch, rolled: Rolled, profiles: Profiles) -> None:
    whole = [one for one in batch.records if one.call_id not in batch.damaged]
    if batch.more:
        whole = whole[:: -(-len(whole) // MOST_PROFILED) or 1]
    try:
        made = [profiles(whole)]
    except Exception:  # noqa: BLE001 - one of them must not take the others with it
        made = list[Mapping[tuple[int, ProfileKey], bytes]]()
        for record in whole:
            try:
                made.append(profiles([record]))
            except Exception as error:  # noqa: BLE001 - it is told, and set aside
                why = f"its profile could not be made ({type(error).__name__})"
                batch.damaged[record.call_id] = why
    for parts in made:
        for (hour, key), body in parts.items():
            for span in (HOUR_S, DAY_S):
                rolled.profiles.setdefault((span, hour // span * span, key), []).append(body)
