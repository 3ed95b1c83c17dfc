"""Rollups: calls counted by span of time, and what is read from them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from splice.core.units import NANO

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
SPANS_S = (MINUTE_S, HOUR_S, DAY_S)
"""Lengths of the spans that calls are counted in; each starts at a multiple of it, in UTC."""

MINUTES_KEPT_S = 48 * HOUR_S
"""Spans of a minute are kept for so long; older windows are exact to the hour."""

CALLER_HOURS_KEPT_S = 62 * DAY_S
"""Spans of an hour by caller are kept for so long; those of calls and latencies for good."""

PROFILE_HOURS_KEPT_S = 35 * DAY_S
"""Profiles of an hour are kept for so long; those of a day for good."""

By = Literal["integration", "release", "variant", "route", "version", "surface", "status", "reason"]
"""What totals can be broken down by; by caller, see `splice.monitor.traffic.callers`."""


class Window(msgspec.Struct, frozen=True, order=True):
    """A half-open stretch of time, in Unix microseconds UTC: `until_us` itself is outside."""

    since_us: int
    until_us: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.until_us - self.since_us) / 1e6


class Wanted(msgspec.Struct, frozen=True):
    """Which calls: asked within the window; None does not restrict.

    `route` is the label of the route that answered, empty for calls that no route answered.
    Shadow calls are never among them unless `variant` names them.
    """

    window: Window
    integration: str | None = None
    release: int | None = None
    variant: str | None = None
    route: str | None = None


class Kind(NamedTuple):
    """What calls have in common that are counted together."""

    integration: str
    release: int
    status: str
    reason: str
    surface: str
    route: str
    variant: str
    version: str


class Counted(NamedTuple):
    """Calls of a kind within a span that starts at `start_s` (Unix seconds; 0 where all are one).

    `costed` is how many of the calls have a known cost; `cost_nano` is the sum of those.
    """

    kind: Kind
    start_s: int
    calls: int
    cost_nano: int
    costed: int
    duration_us: int


class Timed(NamedTuple):
    """How long calls took, as histograms (`splice.core.histograms`), in microseconds.

    Of calls that were not refused. `first_tokens` are of those that streamed: from the start of
    the call to the first token that its caller could see.
    """

    integration: str
    release: int
    variant: str
    route: str
    start_s: int
    durations: bytes
    first_tokens: bytes


class SpentKey(NamedTuple):
    """What attempts are counted by. `ended` is `answered`, the code of a route's error, or empty.

    It is empty, as `route` and `version` may be, for calls without any attempt: from a cache, or
    refused.
    """

    integration: str
    release: int
    variant: str
    route: str
    version: str
    ended: str


class Spent(NamedTuple):
    """Attempts with the same key: how many calls ended with one, what they cost and read.

    `costed` is how many attempts have a known cost. Tokens are sums of what is known;
    `cached_tokens` are among `input_tokens`. `latency_us` is the sum over the attempts.
    """

    key: SpentKey
    start_s: int
    calls: int
    attempts: int
    cost_nano: int
    costed: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    latency_us: int


class CallerKey(NamedTuple):
    """What the calls of a caller are counted by, in spans of an hour and of a day."""

    integration: str
    release: int
    variant: str
    caller: str


class ProfileKey(NamedTuple):
    """Which values a profile is of: a column of the calls of a release, variant and segment."""

    integration: str
    release: int
    variant: str
    segment: str
    column: str


class Profiled(NamedTuple):
    """A profile as it is stored, of a span that starts at `start_s`."""

    key: ProfileKey
    start_s: int
    body: bytes


class Shadows(msgspec.Struct, frozen=True):
    """What ran in the shadow of the calls: nobody got these answers, and they cost all the same."""

    calls: int = 0
    failed: int = 0
    cost_nano: int = 0
    costed: int = 0


class Totals(msgspec.Struct, frozen=True):
    """What calls came to, shadows apart.

    `fallbacks` were answered by a route after the first, `cached` by a kept or shared answer;
    both are among `answered`. `errors` are the failed and `refusals` the refused calls by reason.
    `cost_nano` is the sum over the `costed` calls, whose cost is known, in billionths of the
    account's currency. Latencies and first tokens are in seconds, of calls that were not refused;
    None where there is none. Tokens are of all attempts, shadows' left out.
    """

    calls: int = 0
    answered: int = 0
    failed: int = 0
    refused: int = 0
    fallbacks: int = 0
    cached: int = 0
    errors: dict[str, int] = {}
    refusals: dict[str, int] = {}
    cost_nano: int = 0
    costed: int = 0
    duration_us: int = 0  # the sum over all calls
    latency_p50: float | None = None
    latency_p95: float | None = None
    latency_p99: float | None = None
    streamed: int = 0  # calls whose first token was timed
    first_token_p50: float | None = None
    first_token_p95: float | None = None
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    shadow: Shadows = Shadows()
    window: Window = Window(0, 0)  # what was really counted: the one wanted, or a little more
    granularity_s: int = MINUTE_S  # the coarser of its two edges

    @property
    def cost(self) -> float | None:
        """In the account's currency, of the calls whose cost is known; None where none is."""
        return self.cost_nano / NANO if self.costed else None

    @property
    def cost_per_call(self) -> float | None:
        """The mean of the known costs; None where none is known."""
        return self.cost_nano / NANO / self.costed if self.costed else None

    @property
    def cost_known(self) -> float | None:
        """The share of calls whose cost is known; None without calls."""
        return self.costed / self.calls if self.calls else None

    @property
    def error_share(self) -> float | None:
        """Failed calls among those that were not refused; None where there are none."""
        tried = self.calls - self.refused
        return self.failed / tried if tried else None

    @property
    def fallback_share(self) -> float | None:
        """Fallbacks among the answered calls; None where none was answered."""
        return self.fallbacks / self.answered if self.answered else None

    @property
    def cached_share(self) -> float | None:
        """Kept or shared answers among the answered calls; None where none was answered."""
        return self.cached / self.answered if self.answered else None


class Point(msgspec.Struct, frozen=True):
    """A point of a series: the totals of the calls asked within its window (zero calls too)."""

    window: Window
    totals: Totals


class Part(msgspec.Struct, frozen=True):
    """Totals of the calls that have `name` in common: a route, a release, a variant."""

    name: str
    totals: Totals


class Caller(msgspec.Struct, frozen=True):
    """What one caller's calls came to, shadows left out."""

    caller: str
    calls: int
    attempts: int
    cost_nano: int
    costed: int  # attempts whose cost is known
    input_tokens: int
    output_tokens: int
    cached_tokens: int


class Tried(msgspec.Struct, frozen=True):
    """Attempts of one version of a route, by how they ended: `answered`, or an error's code."""

    route: str
    version: str
    attempts: int
    ended: dict[str, int]
    cost_nano: int
    costed: int
    latency_mean: float  # seconds
    input_tokens: int
    output_tokens: int
    cached_tokens: int
