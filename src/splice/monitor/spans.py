"""Spans of the studies of an integration: what its releases make of its calls to compare."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from splice.core.release import Manifest, PinnedRollout, PinnedRoute, Release
from splice.core.rollout import WHOLE, challenger_of, what_runs
from splice.core.spans import Sought, Span
from splice.core.truths import PinnedTruth, Task

PAST_US = 28 * 86_400 * 1_000_000
"""Calls so long before a study tell what its units are like: four whole weeks."""

_LATE_US = 60_000_000
"""A call is stored so long after its deadline at the latest, as a rule (see `Span.lag_us`)."""


def spans_of(releases: Sequence[Release]) -> list[Span]:
    """Every comparison that the releases of an integration made, oldest first.

    A rollout is one as long as its share and its variants stay: with another share some entities
    change their arm, and calls of before would be compared with calls of after.
    """
    groups: dict[str, list[Release]] = {}
    for one in sorted(releases, key=lambda each: each.number):
        for key in filter(None, (_rollout_key(one.manifest), _holdout_key(one.manifest))):
            groups.setdefault(key, []).append(one)
    return [_span(key, group) for key, group in groups.items()]


def objective_outcome(manifest: Manifest) -> str:
    """The outcome that tells the objective's figure; empty where there is no objective."""
    objective = manifest.objective
    return str(objective.get("outcome") or objective.get("kpi") or "")


def sought_of(manifest: Manifest) -> tuple[Sought, ...]:
    """The outcomes that a study of its calls reads, that of the objective first."""
    names = [objective_outcome(manifest)]
    if manifest.rollout is not None:
        figures = [one.figure for one in manifest.rollout.guards]
        names += [one.partition(":")[2] for one in figures if one.startswith("outcome:")]
    countable = [one for one in manifest.truths if one.task is not Task.RANKING]
    names += [one.outcome for one in countable if one.positive or one.task is not _CLASSES]
    truths = {one.outcome: one for one in countable}
    return tuple(sought(name, truths.get(name)) for name in dict.fromkeys(names) if name)


_CLASSES = Task.CLASSIFICATION


def sought(name: str, truth: PinnedTruth | None) -> Sought:
    """An outcome as a study reads it, by the truth that is declared of it."""
    if truth is None:
        return Sought(name)
    absent = truth.absent
    plain = Sought(name, round(truth.matures_s * 1e6), round(truth.within_s * 1e6), truth.positive)
    number = None if absent is None else plain.number(absent)
    return Sought(name, plain.matures_us, plain.within_us, plain.positive, number)


def higher_is_better(objective: Mapping[str, Any]) -> bool | None:
    """By target and baseline, or by the sign of the value; None where neither says."""
    baseline, target = objective.get("baseline"), objective.get("target")
    if baseline is not None and target is not None and baseline != target:
        return bool(target > baseline)
    return None


def _rollout_key(manifest: Manifest) -> str:
    rollout = manifest.rollout
    challenger = challenger_of(rollout)
    if rollout is None or challenger is None:
        return ""
    if not rollout.flag and not 0 < challenger.share < WHOLE:
        return ""
    parts = (
        rollout.salt, rollout.run, str(challenger.share), rollout.flag,
        *map(what_runs, challenger.routes), "/", *map(what_runs, manifest.routes),
    )  # fmt: skip
    return _key(manifest.integration, "rollout", parts)


def _holdout_key(manifest: Manifest) -> str:
    """What runs is not in it: the AI is what it is in the end, with all that changed meanwhile."""
    held = manifest.holdout
    if held is None:
        return ""
    parts = (held.salt, str(held.share), *map(what_runs, held.routes))
    return _key(manifest.integration, "holdout", parts)


def _key(integration: str, kind: str, parts: Iterable[str]) -> str:
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{integration}/{kind}/{digest[:12]}"


def _span(key: str, releases: Sequence[Release]) -> Span:
    last = releases[-1].manifest
    kind: Literal["rollout", "holdout"] = "holdout" if "/holdout/" in key else "rollout"
    since_us = min(one.created_us for one in releases)
    outcomes = sought_of(last)
    longest = max((one.matures_us or 0 for one in outcomes), default=0)
    return Span(
        key=key,
        integration=last.integration,
        kind=kind,
        releases=tuple(one.number for one in releases),
        shares=_shares(last, kind),
        runs=_runs(last, kind),
        since_us=since_us,
        past_us=since_us - longest - PAST_US,
        lag_us=round(last.deadline_s * 1e6) + _LATE_US,
        outcomes=outcomes,
    )


def _shares(manifest: Manifest, kind: str) -> tuple[int, int] | None:
    if kind == "holdout":
        share = 0 if manifest.holdout is None else manifest.holdout.share
        return share, WHOLE - share
    challenger = challenger_of(manifest.rollout)
    if challenger is None or _flagged(manifest.rollout):
        return None
    return WHOLE - challenger.share, challenger.share


def _flagged(rollout: PinnedRollout | None) -> bool:
    return rollout is not None and bool(rollout.flag)


def _runs(manifest: Manifest, kind: str) -> tuple[str, str]:
    own = _versions(manifest.routes)
    if kind == "holdout":
        held = manifest.holdout
        return ("" if held is None else _versions(held.routes)), own
    challenger = challenger_of(manifest.rollout)
    return own, "" if challenger is None else _versions(challenger.routes)


def _versions(routes: Sequence[PinnedRoute]) -> str:
    return ", ".join(one.version for one in routes)
