"""Kpis: the objective's figure, counted by time asked and by groups of units."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable

import msgspec

from splice.core.rollout import place
from splice.core.spans import Sought

GROUPS = 64
"""Units fall into so many groups by chance. The groups of any window are alike but for chance, and
so tell how exact its mean is, whatever calls of one unit have in common."""

_BODY = struct.Struct(f"<{2 * GROUPS}d")


class Kpi(msgspec.Struct, frozen=True):
    """What is counted: an outcome of the calls of an integration, in cells of `span_s` seconds.

    Calls of shadows and of those that are held out do not count. `since_us` is when the first
    could have been asked, `lag_us` how long after it was asked a call is stored at the latest.
    """

    integration: str
    sought: Sought
    span_s: int
    since_us: int
    lag_us: int

    @property
    def key(self) -> str:
        """Names its cells: with another maturity they are other ones."""
        sought = self.sought
        read = f"{sought.matures_us}/{sought.within_us}/{sought.positive}/{sought.absent}"
        digest = hashlib.sha256(read.encode()).hexdigest()[:12]
        return f"{self.integration}/kpi/{sought.name}/{self.span_s}/{digest}"


class Counting(msgspec.Struct, frozen=True):
    """How far a figure is counted; see `splice.core.spans.Progress`.

    `due_us`: calls asked before are counted, if they were mature. `dirty`: starts of cells (Unix
    seconds) that have something new. `at_us`: when cells were counted last. `swept_us`: when calls
    of the last day were last looked at again.
    """

    revision: int = 0
    due_us: int = 0
    outcome: int = 0
    looked_us: int = 0
    dirty: tuple[int, ...] = ()
    at_us: int = 0
    swept_us: int = 0


class Cell(msgspec.Struct):
    """Mature calls asked within a stretch of time: how many, and what they came to, by group."""

    start_s: int
    calls: list[float]
    totals: list[float]

    @property
    def body(self) -> bytes:
        """As it is stored."""
        return _BODY.pack(*self.calls, *self.totals)


def empty(start_s: int) -> Cell:
    """A cell without calls."""
    return Cell(start_s, [0.0] * GROUPS, [0.0] * GROUPS)


def cell_of(start_s: int, body: bytes) -> Cell:
    """A cell as it was stored."""
    numbers = _BODY.unpack(body)
    return Cell(start_s, list(numbers[:GROUPS]), list(numbers[GROUPS:]))


def group_of(who: str) -> int:
    """The group of a unit, or of a call that names none."""
    return place("kpi", who) % GROUPS


class Mean(msgspec.Struct, frozen=True):
    """The mean of a call with the variance of that mean; `groups` is how many it rests on.

    `variance` is None where there are too few groups to tell.
    """

    mean: float
    variance: float | None
    groups: int
    calls: int


LEAST_GROUPS = 10


def mean_of(cells: Iterable[Cell]) -> Mean | None:
    """The mean over cells; None without calls.

    Source: the ratio estimator with its variance between clusters, as in Cochran, "Sampling
    Techniques" (1977), section 9A; the clusters are groups of units drawn by chance.
    """
    calls, totals = [0.0] * GROUPS, [0.0] * GROUPS
    for cell in cells:
        for group in range(GROUPS):
            calls[group] += cell.calls[group]
            totals[group] += cell.totals[group]
    count = math.fsum(calls)
    if not count:
        return None
    mean = math.fsum(totals) / count
    used = [(n, y) for n, y in zip(calls, totals, strict=True) if n]
    variance = None
    if len(used) >= LEAST_GROUPS:
        squares = math.fsum((y - mean * n) ** 2 for n, y in used)
        variance = squares * len(used) / (len(used) - 1) / count**2
        hits = math.fsum(totals)
        if all(0 <= y <= n and y == round(y) for n, y in used):  # a share: Laplace's rule
            share = (hits + 1) / (count + 2)
            variance = max(variance, share * (1 - share) / count)
    return Mean(mean, variance, len(used), round(count))
