"""Traffic made up, and what it comes to by going through all of it: the oracle of the rollups."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

import msgspec

from splice.core.call import Attempt, Reason, Record, Status, Usage
from splice.core.histograms import ERROR
from splice.core.rollups import Shadows, Totals, Window
from splice.monitor.rolling import Roller
from splice.ports.rollups import RollupStore
from splice.testing.contracts.records import NOON_MS, WORDS, call_id

NOON_US = NOON_MS * 1000
ALL = Window(0, 1 << 62)
_S = 1_000_000
_CACHED = {Reason.CACHED, Reason.SIMILAR, Reason.SHARED}


def traffic_record(rng: random.Random, since_us: int, seconds: float) -> Record:
    """A call as they are in traffic: two integrations, fallbacks, caches, shadows, tokens."""
    asked_us = since_us + int(rng.random() * seconds * _S)
    shadow = rng.random() < 0.1
    status, reason = rng.choice((
        (Status.ANSWERED, Reason.FIRST), (Status.ANSWERED, Reason.FIRST),
        (Status.ANSWERED, Reason.FALLBACK), (Status.ANSWERED, Reason.CACHED),
        (Status.FAILED, Reason.EXHAUSTED), (Status.REFUSED, Reason.OVER_BUDGET),
    ))  # fmt: skip
    tried = reason in (Reason.FIRST, Reason.FALLBACK, Reason.EXHAUSTED)
    attempts = tuple(
        Attempt(
            rng.choice(("model:a", "model:b")), "answered" if reason is Reason.FIRST else "timeout",
            rng.randrange(1000), rng.randrange(10**6), rng.choice(("a@1", "a@2")),
            usage=rng.choice((None, Usage(7, 3, 2))), cost_nano=rng.choice((None, 0, 1_000_003)),
            first_token_us=rng.choice((None, rng.randrange(10**5))),
        )
        for _ in range(tried * (1 + (reason is Reason.FALLBACK)))
    )  # fmt: skip
    costs = [one.cost_nano for one in attempts]
    return Record(
        call_id=call_id(rng, asked_us // 1000), integration=rng.choice(("credit", "triage")),
        release=rng.randrange(1, 4), asked_us=asked_us,
        duration_us=int(rng.lognormvariate(9, 2)), status=status, reason=reason,
        surface=rng.choice(("http", "mcp")), caller=rng.choice(("shop", "desk", *WORDS)),
        route="model:a" if tried else "", variant="shadow" if shadow else rng.choice(WORDS[:2]),
        version="a@1" if tried else "",
        cost_nano=None if not attempts or None in costs else sum(c or 0 for c in costs),
        attempts=attempts,
    )  # fmt: skip


def reckoned(records: Sequence[Record], window: Window, shadow: bool = False) -> Totals:
    """Totals by going through all records; quantiles are the numbers at their ranks."""
    inside = [one for one in records if window.since_us <= one.asked_us < window.until_us]
    own = [one for one in inside if (one.variant == "shadow") == shadow]
    aside = [one for one in inside if (one.variant == "shadow") != shadow]
    by_status = Counter(one.status for one in own)
    costs = [cost for one in own if (cost := _cost(one)) is not None]
    durations = sorted(one.duration_us for one in own if one.status is not Status.REFUSED)
    tokens = sorted(
        last.started_us + last.first_token_us
        for one in own
        if one.attempts and (last := one.attempts[-1]).first_token_us is not None
    )
    attempts = [attempt for one in own for attempt in one.attempts]
    usages = [one.usage for one in attempts if one.usage is not None]
    answered = [one for one in own if one.status is Status.ANSWERED]
    return Totals(
        calls=len(own),
        answered=len(answered),
        failed=by_status[Status.FAILED],
        refused=by_status[Status.REFUSED],
        fallbacks=sum(one.reason is Reason.FALLBACK for one in answered),
        cached=sum(one.reason in _CACHED for one in answered),
        errors=dict(Counter(one.reason.value for one in own if one.status is Status.FAILED)),
        refusals=dict(Counter(one.reason.value for one in own if one.status is Status.REFUSED)),
        cost_nano=sum(costs),
        costed=len(costs),
        duration_us=sum(one.duration_us for one in own),
        latency_p50=_rank(durations, 0.5),
        latency_p95=_rank(durations, 0.95),
        latency_p99=_rank(durations, 0.99),
        streamed=len(tokens),
        first_token_p50=_rank(tokens, 0.5),
        first_token_p95=_rank(tokens, 0.95),
        attempts=len(attempts),
        input_tokens=sum(one.input_tokens or 0 for one in usages),
        output_tokens=sum(one.output_tokens or 0 for one in usages),
        cached_tokens=sum(one.cached_tokens or 0 for one in usages),
        shadow=Shadows()
        if shadow
        else Shadows(
            len(aside),
            sum(one.status is Status.FAILED for one in aside),
            sum(_cost(one) or 0 for one in aside),
            sum(_cost(one) is not None for one in aside),
        ),
    )


def same(found: Totals, truth: Totals) -> bool:
    """Whether all is equal, quantiles within the error of their histogram."""
    fields = Totals.__struct_fields__
    plain = {name: None for name in fields if name.startswith(("latency_p", "first_token_p"))}
    for name in plain:
        one, other = getattr(found, name), getattr(truth, name)
        if (one is None) != (other is None):
            return False
        if one is not None and not math.isclose(one, other, rel_tol=ERROR, abs_tol=1e-6):
            return False
    blank = {**plain, "window": ALL, "granularity_s": 0}
    return msgspec.structs.replace(found, **blank) == msgspec.structs.replace(truth, **blank)


def roll_all(rollups: RollupStore, now_us: int = NOON_US) -> None:
    """Fold whatever waits."""
    roller = Roller(rollups)
    while roller.step(now_us):
        pass


def _cost(record: Record) -> int | None:
    refused = record.status is Status.REFUSED and not record.attempts
    return 0 if refused and record.cost_nano is None else record.cost_nano


def _rank(ordered: Sequence[int], share: float) -> float | None:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] / 1e6 if ordered else None
