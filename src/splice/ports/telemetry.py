"""Telemetry: a tracer is told of each finished call, a sender of what was counted so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from splice.core.call import Record


class Tracer(Protocol):
    """Exports finished calls; never blocks and never raises into a call."""

    def finished(self, record: Record) -> None:
        """A call ended; its attempts carry their own times."""
        ...

    def close(self) -> None:
        """Send what waits, for a bounded time."""
        ...


class Point(msgspec.Struct, frozen=True):
    """One row of a family: its attributes, and the value or the counts of a histogram.

    `counts` has one number for each bound and one beyond the last; `value` is then the sum.
    """

    attributes: dict[str, str]
    value: float
    counts: tuple[int, ...] = ()


class Family(msgspec.Struct, frozen=True):
    """One metric as OpenTelemetry has it; counters and histograms are sums since the start."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    points: tuple[Point, ...]
    bounds: tuple[float, ...] = ()


class MetricSender(Protocol):
    """Sends what was counted; blocks, and never raises."""

    def send(self, families: Sequence[Family], since_us: int, now_us: int) -> bool:
        """Send the sums from `since_us` (when counting began) to `now_us`; whether it arrived."""
        ...

    def close(self) -> None:
        """Let go."""
        ...
