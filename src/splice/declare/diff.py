"""What changes from one release to the next, in lines a person reads."""

from __future__ import annotations

import difflib
from typing import Any, cast

import msgspec

from splice.core.figures import figure_text
from splice.core.monitors import PinnedMonitor
from splice.core.policies import policies_text
from splice.core.profiles import PinnedProfile
from splice.core.protection import protection_text
from splice.core.release import (
    Bundle,
    Manifest,
    PinnedGates,
    PinnedGuard,
    PinnedHoldout,
    PinnedRollout,
    PinnedRoute,
)
from splice.core.rollout import share_text
from splice.core.truths import PinnedTruth
from splice.core.units import duration_text
from splice.core.validation import PinnedValidity
from splice.declare.assessment import assessment_text
from splice.declare.review_diff import review_texts


class Change(msgspec.Struct, frozen=True):
    """One difference; `breaking` where a caller of the older one may fail on the newer.

    `field` is the part of the manifest that it is of, `what` the words for it.
    """

    field: str
    what: str
    before: str
    after: str
    breaking: bool = False

    def __str__(self) -> str:
        mark = "  (breaks callers)" if self.breaking else ""
        return f"{self.what}: {self.before or 'nothing'} -> {self.after or 'nothing'}{mark}"


def manifest_diff(before: Manifest, after: Manifest) -> list[Change]:
    """Differences of two manifests of one integration, most important first."""
    changes = [
        Change(name, name, str(old), str(new))
        for name, old, new in (
            ("purpose", before.purpose, after.purpose),
            ("risk", before.risk, after.risk),
            ("deadline", f"{before.deadline_s:g} s", f"{after.deadline_s:g} s"),
            ("objective", _short(before.objective), _short(after.objective)),
            ("rollout", rollout_text(before.rollout), rollout_text(after.rollout)),
            ("shadow", _shadow_text(before.rollout), _shadow_text(after.rollout)),
            ("guards", _guards_text(before.rollout), _guards_text(after.rollout)),
            ("holdout", _holdout_text(before.holdout), _holdout_text(after.holdout)),
            ("profile", _profile_text(before.profile), _profile_text(after.profile)),
            ("protect", protection_text(before.protect), protection_text(after.protect)),
            ("policies", policies_text(before.policies), policies_text(after.policies)),
            ("monitors", _monitors_text(before.monitors), _monitors_text(after.monitors)),
            ("assessment", assessment_text(before.assessment), assessment_text(after.assessment)),
        )
        if old != new
    ]
    changes = _routes(before.routes, after.routes) + changes
    changes += _types("request", before.request_schema, after.request_schema)
    changes += _types("reply", before.reply_schema, after.reply_schema)
    changes += _gates(before.gates, after.gates)
    changes += _truths(before.truths, after.truths)
    changes += _reviews(review_texts(before.review), review_texts(after.review))
    if before.bundle != after.bundle:
        changes.append(Change("bundle", "source", before.bundle[:12], after.bundle[:12]))
    return changes


def _profile_text(profile: PinnedProfile | None) -> str:
    if profile is None:
        return ""
    named = (
        ("segments", profile.segments), ("columns", profile.columns), ("without", profile.skip),
        ("meaning of", profile.meaning),
    )  # fmt: skip
    return "; ".join(f"{what} {', '.join(names)}" for what, names in named if names)


def rollout_text(rollout: PinnedRollout | None) -> str:
    """Who gets what, in words: "credit@4 for 10 % (step 1 of 3: 10 %, 50 %, 100 %)"."""
    if rollout is None or not (rollout.variants or rollout.steps):
        return ""
    steps = ", ".join(map(share_text, rollout.steps))
    if not rollout.variants:
        return f"steps {steps} for whoever is named" if steps else ""
    one = rollout.variants[0]
    text = f"{', '.join(route.version for route in one.routes)} for {share_text(one.share)}"
    if rollout.flag:
        text += f", by flag {rollout.flag}"
    if len(rollout.steps) > 1:
        text += f" (step {rollout.step + 1} of {len(rollout.steps)}: {steps})"
    return text


def _shadow_text(rollout: PinnedRollout | None) -> str:
    if rollout is None or not rollout.shadows:
        return ""
    versions = ", ".join(route.version for route in rollout.shadows)
    return f"{versions} for {share_text(rollout.shadow_share)}"


def _holdout_text(holdout: PinnedHoldout | None) -> str:
    if holdout is None:
        return ""
    return f"{holdout.routes[0].version} for {share_text(holdout.share)} ({holdout.salt[:6]})"


def _guards_text(rollout: PinnedRollout | None) -> str:
    if rollout is None:
        return ""
    return "; ".join(map(guard_text, rollout.guards))


def guard_text(guard: PinnedGuard) -> str:
    """A guard in words: "latency_p95 at most 80 ms"."""
    bounds = (
        ("at most", guard.at_most),
        ("at least", guard.at_least),
        ("lower by at most" if guard.higher_is_better else "higher by at most", guard.worse_by),
    )
    said = " and ".join(
        f"{word} {figure_text(guard.figure, bound)}" for word, bound in bounds if bound is not None
    )
    return f"{guard.figure} {said}"


def _gates(before: tuple[PinnedGates, ...], after: tuple[PinnedGates, ...]) -> list[Change]:
    """Gates that came or went, and their data sets; the gates themselves are in the source."""
    old, new = ({one.model: _data(one) for one in gates} for gates in (before, after))
    return [
        Change("gates", f"gates {model}".strip(), old.get(model, ""), new.get(model, ""))
        for model in dict.fromkeys([*old, *new])
        if old.get(model) != new.get(model)
    ]


def _reviews(before: dict[str, str], after: dict[str, str]) -> list[Change]:
    return [
        Change("review", f"review {name}", before.get(name, ""), after.get(name, ""))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _truths(before: tuple[PinnedTruth, ...], after: tuple[PinnedTruth, ...]) -> list[Change]:
    old, new = ({one.outcome: one for one in truths} for truths in (before, after))
    return [
        Change("truths", f"truth {name}", _truth_text(old.get(name)), _truth_text(new.get(name)))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _truth_text(truth: PinnedTruth | None) -> str:
    if truth is None:
        return ""
    said = f"{truth.task}, due after {duration_text(truth.matures_s)}"
    more = {
        "score": truth.score, "predicted": truth.predicted, "positive": truth.positive,
        "foretold": truth.foretold, "threshold": truth.threshold, "absent": truth.absent,
        "good": truth.good, "at": truth.at, "segments": truth.segments,
    }  # fmt: skip
    if truth.within_s != truth.matures_s:
        said += f", within {duration_text(truth.within_s)}"
    for name, value in more.items():
        if value not in ("", (), None) and (name, value) != ("positive", (True,)):
            listed = ", ".join(map(str, value)) if isinstance(value, tuple) else value
            said += f", {name} {listed}"
    return said


def _data(gates: PinnedGates) -> str:
    said = f"{gates.data} of {gates.data_sha256[:12]}, {gates.rows} rows"
    return f"{said}; {validity_text(gates.validity)}" if gates.validity else said


def validity_text(validity: PinnedValidity) -> str:
    """How long validations hold, in words: "valid for 90 d, then refuse; again every 30 d"."""
    said = "valid for ever"
    if validity.valid_s:
        said = f"valid for {duration_text(validity.valid_s)}, then {validity.expired}"
    if validity.every_s:
        ends = ", ends where one fails" if validity.failed_ends else ""
        said += f"; again every {duration_text(validity.every_s)} by {validity.outcome}{ends}"
    return said


def _monitors_text(monitors: tuple[PinnedMonitor, ...]) -> str:
    """Each monitor with its bound, in base units, and what it does besides telling."""
    said: list[str] = []
    for one in monitors:
        then = "".join(f", {action}" for action in one.then if action != "alert")
        bound = "above" if one.above is not None else "below"
        said.append(f"{one.name} {bound} {one.bound:g}{then}")
    return "; ".join(said)


def _short(value: dict[str, Any]) -> str:
    return ", ".join(f"{k}={v}" for k, v in value.items())


def _routes(before: tuple[PinnedRoute, ...], after: tuple[PinnedRoute, ...]) -> list[Change]:
    old, new = {r.label: r for r in before}, {r.label: r for r in after}
    changes: list[Change] = []
    if [r.label for r in before] != [r.label for r in after]:
        changes.append(Change("routes", "routes", ", ".join(old), ", ".join(new)))
    for label in (one for one in new if one in old):
        if old[label].version != new[label].version:
            changes.append(Change("routes", label, old[label].version, new[label].version))
        if old[label].timeout_s != new[label].timeout_s:
            changes.append(
                Change(
                    "routes",
                    f"{label} timeout",
                    f"{old[label].timeout_s:g} s",
                    f"{new[label].timeout_s:g} s",
                )
            )
        if old[label].params != new[label].params:
            changes.append(
                Change(
                    "routes",
                    f"{label} params",
                    _short(old[label].params),
                    _short(new[label].params),
                )
            )
    return changes


def _types(which: str, before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    old, new = _fields(before), _fields(after)
    changes: list[Change] = []
    field = f"{which}_schema"
    for name in dict.fromkeys([*old, *new]):
        what, before_text, after_text = f"{which}.{name}", *(_told(one, name) for one in (old, new))
        if name not in new:
            changes.append(Change(field, what, before_text, "", breaking=True))
        elif name not in old:
            breaking = which == "request" and new[name][1]
            changes.append(Change(field, what, "", after_text, breaking=breaking))
        elif old[name] != new[name]:
            # A field that may be left out hurts who reads it, one that must come who writes it.
            tightened = new[name][1] if which == "request" else old[name][1]
            breaking = old[name][0] != new[name][0] or tightened
            changes.append(Change(field, what, before_text, after_text, breaking=breaking))
    return changes


def _told(fields: dict[str, tuple[str, bool]], name: str) -> str:
    text, required = fields.get(name, ("", True))
    return text if required else f"{text} (optional)"


def _fields(schema: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Field name to (its schema as short text, is it required)."""
    definitions = schema.get("$defs", {})
    top = schema
    if "$ref" in schema:
        top = definitions.get(schema["$ref"].rpartition("/")[2], {})
    required = set(top.get("required", ()))
    # A reply may be one value, without fields.
    fields = top.get("properties") or {"value": {k: v for k, v in schema.items() if k != "$defs"}}
    return {
        name: (
            msgspec.json.encode(_inline(field, definitions, ()), order="sorted").decode(),
            name in required,
        )
        for name, field in fields.items()
    }


_WORDS = frozenset({"title", "description", "examples", "default"})  # they change no value's type


def _inline(part: Any, definitions: dict[str, Any], inside: tuple[str, ...]) -> Any:
    """A schema with the types that it refers to in their place, down to where one holds itself."""
    if isinstance(part, list):
        return [_inline(one, definitions, inside) for one in cast("list[Any]", part)]
    if not isinstance(part, dict):
        return part
    plain = cast("dict[str, Any]", part)
    name = str(plain.get("$ref", "")).rpartition("/")[2]
    if name in definitions and name not in inside:
        return _inline(definitions[name], definitions, (*inside, name))
    named = plain.get("type") == "object"
    return {
        key: {k: _inline(v, definitions, inside) for k, v in value.items()}
        if named and key == "properties"
        else _inline(value, definitions, inside)
        for key, value in plain.items()
        if key not in _WORDS
    }


def source_diff(before: Bundle, after: Bundle) -> str:
    """A unified diff of the sources and prompts of two bundles; empty where they are the same."""
    lines: list[str] = []
    for path in dict.fromkeys([*before.files, *after.files]):
        old = before.files.get(path, "").splitlines(keepends=True)
        new = after.files.get(path, "").splitlines(keepends=True)
        lines += difflib.unified_diff(old, new, f"a/{path}", f"b/{path}")
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)
