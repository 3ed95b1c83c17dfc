"""Records and profiles for tests of drift."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splice.core.call import Reason, Record, Status
from splice.core.profiles import PinnedProfile, Profile
from splice.monitor.profiles import Profiler, decode, merged

HOUR_US = 3_600_000_000
NOON_US = 1_790_000_000_000_000 // HOUR_US * HOUR_US
"""The beginning of an hour."""


def record(
    number: int,
    context: Mapping[str, Any] | None,
    *,
    reply: Any = None,
    prediction: Any = None,
    entity: str | None = None,
    at_us: int = NOON_US,
    status: Status = Status.ANSWERED,
) -> Record:
    def json(value: Any) -> bytes | None:
        return None if value is None else msgspec.json.encode(value)

    return Record(
        f"call-{number}", "screening", 1, at_us, 1000, status, Reason.FIRST, "http",
        entity=entity, context=json(context), prediction=json(prediction), reply=json(reply),
    )  # fmt: skip


def profiled(
    contexts: Sequence[Mapping[str, Any]],
    plan: PinnedProfile | None = None,
    *,
    batch: int = 256,
    segment: str = "",
) -> dict[str, Profile]:
    """The profiles of contexts, made in batches and merged, as a ledger does it."""
    profiler = Profiler(lambda integration, release: plan or PinnedProfile())
    bodies: dict[str, list[bytes]] = {}
    records = [record(number, one) for number, one in enumerate(contexts)]
    for begin in range(0, len(records), batch):
        for (_, key), body in profiler.add(records[begin : begin + batch]).items():
            if key.segment == segment:
                bodies.setdefault(key.column, []).append(body)
    return {column: merged(parts) for column, parts in bodies.items()}


def one_column(values: Sequence[Any], **rest: Any) -> Profile:
    return profiled([{"x": value} for value in values], **rest)["x"]


def normal(count: int, mean: float = 0.0, deviation: float = 1.0, seed: int = 1) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(mean, deviation) for _ in range(count)]


__all__ = ["decode", "merged"]
