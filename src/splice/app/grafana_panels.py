"""Which panels the Grafana dashboard has: rows, titles, units, thresholds and PromQL.

`$i` stands for the chosen integrations, `$r` for the interval of a rate; both are put in when the
dashboard is made. A metric that no panel names gets a plain one of its own, in the last row.
"""

from __future__ import annotations

from typing import Literal

import msgspec

ROWS = (
    "Traffic", "Latency", "Cost", "Tokens", "Routes", "Ledger", "Events", "Outcomes and releases",
    "Alerts", "Oversight", "Others",
)  # fmt: skip

Shape = Literal["timeseries", "stat", "state-timeline"]
COST = "$cost"
"""Unit of money: the account's currency is put in its place."""


class Query(msgspec.Struct, frozen=True):
    """One PromQL expression, and how its series are called."""

    expr: str
    legend: str = ""


class Panel(msgspec.Struct, frozen=True):
    """One panel. `unit` is Grafana's; `steps` are bounds from which on it is orange, then red."""

    row: str
    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    note: str = ""
    stacked: bool = False
    steps: tuple[float, ...] = ()
    shape: Shape = "timeseries"
    width: int = 8


def _by(metric: str, by: str, where: str = "") -> str:
    """A rate of a counter of the chosen integrations, by some labels."""
    comma = "," if where else ""
    return f'sum by ({by}) (rate({metric}{{integration=~"$i"{comma}{where}}}[$r]))'


def _rate(metric: str, by: str, where: str = "") -> tuple[Query, ...]:
    return (Query(_by(metric, by, where), _legend(by)),)


def _share(by: str, part: tuple[str, str], whole: tuple[str, str]) -> tuple[Query, ...]:
    """One rate over another, each a metric and a restriction of its labels."""
    above, below = _by(part[0], by, part[1]), _by(whole[0], by, whole[1])
    # Where there is none of the part yet, it is 0 and not unknown.
    return (Query(f"({above} or 0 * {below}) / {below}", _legend(by)),)


def _quantile(of: float, metric: str, by: str = "") -> Query:
    keys = f"le, {by}" if by else "le"
    expr = f"histogram_quantile({of}, {_by(f'{metric}_bucket', keys)})"
    return Query(expr, f"p{of * 100:g} {_legend(by)}".strip())


def _quantiles(metric: str, by: str = "") -> tuple[Query, ...]:
    return tuple(_quantile(of, metric, by) for of in (0.5, 0.95, 0.99))


def _legend(by: str) -> str:
    return " ".join(f"{{{{{one}}}}}" for one in by.split(", ") if one)


CALLS, FAILED = "splice_calls_total", 'status="failed"'
TRIED, ANSWERED = 'status!="refused"', 'status="answered"'
KEPT = 'reason=~"cached|similar|shared"'
ATTEMPT = "splice_attempt_duration_seconds"

TRAFFIC = (
    Panel("Traffic", "Calls", _rate(CALLS, "integration"), "reqps",
          "Calls that passed admission, a second.", stacked=True),
    Panel("Traffic", "How calls end", _rate(CALLS, "status"), "reqps", stacked=True),
    Panel("Traffic", "Failed calls", _share("integration", (CALLS, FAILED), (CALLS, TRIED)),
          "percentunit", "Of the calls that were not refused, those that no route answered.",
          steps=(0.01, 0.05)),
    Panel("Traffic", "Why answers were given", _rate(CALLS, "reason"), "reqps", stacked=True),
    Panel("Traffic", "Ways in", _rate(CALLS, "surface"), "reqps", stacked=True),
    Panel("Traffic", "Requests refused", _rate("splice_requests_refused_total", "code"), "reqps",
          "They never became a call.", stacked=True),
    Panel("Traffic", "Calls in flight", (Query("sum(splice_calls_in_flight)", "in flight"),)),
    Panel("Traffic", "Kept answers", _share("integration", (CALLS, KEPT), (CALLS, ANSWERED)),
          "percentunit", "From a cache, or shared with a call that asked the same."),
)  # fmt: skip

LATENCY = (
    Panel("Latency", "Calls", _quantiles("splice_call_duration_seconds"), "s",
          "From admitted to decided, fallbacks included."),
    Panel("Latency", "Calls, 95th percentile",
          (_quantile(0.95, "splice_call_duration_seconds", "integration"),), "s"),
    Panel("Latency", "Tries of a route, 95th percentile",
          (_quantile(0.95, ATTEMPT, "route"),), "s"),
    Panel("Latency", "Answered tries, mean",
          _share("route", (f"{ATTEMPT}_sum", 'ended="answered"'),
                 (f"{ATTEMPT}_count", 'ended="answered"')), "s"),
    Panel("Latency", "First token", _quantiles("splice_first_token_seconds", "route"), "s",
          "From asking a route until the first token of its stream.", width=16),
)  # fmt: skip

COSTS = (
    Panel("Cost", "Cost an hour",
          (Query(f"3600 * {_by('splice_cost_total', 'route')}", "{{route}}"),), COST,
          "Known costs only, at the rate of the interval.", stacked=True),
    Panel("Cost", "Cost a call",
          _share("integration", ("splice_cost_total", ""), (CALLS, "")), COST),
    Panel("Cost", "Cost in the time shown",
          (Query('sum by (integration) (increase(splice_cost_total{integration=~"$i"}[$__range]))',
                 "{{integration}}"),), COST, shape="stat"),
)  # fmt: skip

TOKENS = (
    Panel("Tokens", "Tokens", _rate("splice_tokens_total", "type"), note="Tokens a second.",
          stacked=True),
    Panel("Tokens", "Input tokens from the provider's cache",
          _share("route", ("splice_cached_tokens_total", ""),
                 ("splice_tokens_total", 'type="input"')), "percentunit"),
    Panel("Tokens", "Tokens of one try", _quantiles("splice_attempt_tokens", "type")),
)  # fmt: skip

ROUTES = (
    Panel("Routes", "Tries", _rate("splice_attempts_total", "route"), "reqps", stacked=True),
    Panel("Routes", "Tries that failed",
          _rate("splice_attempts_total", "route, ended", 'ended!="answered"'), "reqps",
          stacked=True),
    Panel("Routes", "Answered by a later route",
          _share("integration", (CALLS, 'reason="fallback"'), (CALLS, ANSWERED)), "percentunit",
          steps=(0.05, 0.25)),
    Panel("Routes", "Shadows", _rate("splice_shadows_total", "ended"), "reqps", stacked=True),
    Panel("Routes", "Pool processes",
          (Query("sum by (model) (splice_pool_processes)", "{{model}}"),)),
    Panel("Routes", "Pool processes replaced",
          (Query("sum by (model, reason) (increase(splice_pool_restarts_total[$r]))",
                 "{{model}} {{reason}}"),), steps=(1, 5)),
)  # fmt: skip

LEDGER = (
    Panel("Ledger", "Records in memory only", (Query("sum(splice_ledger_waiting)", "records"),),
          note="They are lost if the machine stops.", steps=(1000, 10_000)),
    Panel("Ledger", "Batches set aside", (Query("sum(splice_ledger_spooled_batches)", "batches"),),
          note="On disk, until the ledger is back.", steps=(1, 10)),
    Panel("Ledger", "Writes that failed",
          (Query("sum(increase(splice_ledger_errors_total[$r]))", "errors"),), steps=(1, 10)),
)  # fmt: skip

EVENTS = (
    Panel("Events", "Events", _rate("splice_events_total", "ended"),
          note="Events a second, by how they ended.", stacked=True, width=6),
    Panel("Events", "Delay of the newest event",
          (Query('max by (integration) (splice_event_delay_seconds{integration=~"$i"})',
                 "{{integration}}"),), "s", steps=(60, 600), width=6),
    Panel("Events", "Events in flight",
          (Query('sum by (integration) (splice_events_in_flight{integration=~"$i"})',
                 "{{integration}}"),), width=6),
    Panel("Events", "Messages to be sent", (Query("max(splice_outbox_waiting)", "messages"),),
          steps=(100, 10_000), width=6),
)  # fmt: skip

OUTCOMES = (
    Panel("Outcomes and releases", "Outcomes",
          (Query('sum by (integration) (increase(splice_outcomes_total{integration=~"$i"}[$r]))',
                 "{{integration}}"),)),
    Panel("Outcomes and releases", "Live release",
          (Query('max by (integration) (splice_release{integration=~"$i"})', "{{integration}}"),),
          shape="state-timeline", width=16),
)  # fmt: skip

ALERTS = (
    Panel("Alerts", "Open alerts of monitors",
          (Query('max by (integration, severity) (splice_alerts_open{integration=~"$i"})',
                 "{{integration}} {{severity}}"),),
          note="What they saw: splice monitors, or the console.", steps=(1, 5), width=24),
)  # fmt: skip

OVERSIGHT = (
    Panel("Oversight", "Calls that a policy changed, marked or refused",
          (Query("sum by (policy, action) "
                 '(rate(splice_policy_total{integration=~"$i",action!="passed"}[$r]))',
                 "{{policy}} {{action}}"),), "reqps"),
    Panel("Oversight", "Calls that wait for a person",
          (Query('max by (integration) (splice_reviews_open{integration=~"$i"})',
                 "{{integration}}"),
           Query('max by (integration) (splice_reviews_overdue{integration=~"$i"})',
                 "{{integration}} overdue")), steps=(20, 100)),
    Panel("Oversight", "Oldest call that waits for a person",
          (Query('max by (integration) (splice_reviews_oldest_seconds{integration=~"$i"})',
                 "{{integration}}"),), "s", steps=(3600, 86_400)),
)  # fmt: skip

PANELS = (
    *TRAFFIC, *LATENCY, *COSTS, *TOKENS, *ROUTES, *LEDGER, *EVENTS, *OUTCOMES, *ALERTS, *OVERSIGHT
)  # fmt: skip
