"""Reading how long validations hold, what their end does, and how they are renewed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from splice.core.monitors import PinnedMonitor, Severity
from splice.core.truths import PinnedTruth, Task
from splice.core.units import seconds
from splice.core.validation import EXPIRED, PinnedValidity
from splice.declare.gates import Fresh, Gates, ReadGates

Wrong = Callable[[str, str, str, str], None]

_DAYS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*days?\s*")
_WINDOWS = 4.0
"""Times as long as `every` is the window, where none is declared."""
_MOST_ROWS = 1_000_000
_DAY_S = 86_400.0
_SOON_DAYS = 14.0
_SOON_SHARE = 0.25
"""Its end is near two weeks before it, or when a quarter of its time is left, if that is less."""


def days_or(given: str | float, where: str) -> float:
    """Seconds; "90 days" is "90 d"."""
    days = _DAYS.fullmatch(given) if isinstance(given, str) else None
    return seconds(f"{days[1]} d" if days else given, where)


def read_validity(gates: Gates, valid_s: float, *, high_risk: bool) -> PinnedValidity | None:
    """What a release pins of it; None where a validation holds for ever and nothing is declared.

    Raises:
        ValueError: Something is wrong: got, promised, mend.
        DeclarationError: A duration is none.
    """
    if not valid_s and gates.fresh is None and gates.expired is None:
        return None
    expired = gates.expired or ("demote" if high_risk else "alert")
    if expired not in EXPIRED:
        raise ValueError(
            f"expired={gates.expired!r}", f"one of {', '.join(EXPIRED)}", 'write expired="refuse"'
        )
    fresh: Any = gates.fresh
    if fresh is None:
        if not valid_s:
            raise ValueError(
                f"expired={expired!r} of what holds for ever", "an end", 'write valid_for="90 days"'
            )
        return PinnedValidity(valid_s, expired, 0.0, 0.0, 0, 0, "", failed_ends=False)
    if not isinstance(fresh, Fresh):
        raise ValueError(
            f"fresh={fresh!r}"[:80], "a splice.Fresh", 'write fresh=splice.Fresh(every="30 days")'
        )
    return _renewed(fresh, valid_s, expired)


def _renewed(fresh: Fresh, valid_s: float, expired: Any) -> PinnedValidity:
    for name in ("least", "most"):
        value: Any = getattr(fresh, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 2 <= value <= _MOST_ROWS:
            raise ValueError(
                f"{name}={value!r}", f"a whole number from 2 to {_MOST_ROWS:,}", f"mend {name}"
            )
    if fresh.least > fresh.most:
        raise ValueError(f"least={fresh.least} of most={fresh.most}", "fewer", "lower least")
    if fresh.failed not in ("alert", "expire"):
        raise ValueError(f"failed={fresh.failed!r}", "alert or expire", 'write failed="expire"')
    if not isinstance(fresh.outcome, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"outcome={fresh.outcome!r}", "the name of an outcome", "name it")
    every_s = days_or(fresh.every, "fresh.every")
    window_s = _WINDOWS * every_s if fresh.window is None else days_or(fresh.window, "fresh.window")
    if 0 < valid_s <= every_s:
        raise ValueError(
            f"fresh every {fresh.every} of what is valid for less",
            "a validation before the one before it ends",
            "validate more often, or let validations hold for longer",
        )
    return PinnedValidity(
        valid_s, expired, every_s, window_s, fresh.least, fresh.most, fresh.outcome,
        failed_ends=fresh.failed == "expire",
    )  # fmt: skip


def validity_monitors(gates: Sequence[ReadGates]) -> tuple[PinnedMonitor, ...]:
    """What watches that validations hold: nobody need declare it."""
    terms = [one.validity for one in gates if one.validity is not None]
    shortest = min((one.valid_s for one in terms if one.valid_s), default=0.0)
    found: list[PinnedMonitor] = []
    if shortest:
        soon = min(_SOON_DAYS, shortest / _DAY_S * _SOON_SHARE)
        found.append(_monitor("validation ends soon", "left", "warning", below=soon))
        found.append(_monitor("validation ended", "left", "critical", below=0.0))
    if any(one.every_s for one in terms):
        found.append(_monitor("validation failed", "failed", "critical", above=0.0))
    return tuple(found)


def _monitor(
    name: str, figure: str, severity: Severity, below: float | None = None,
    above: float | None = None,
) -> PinnedMonitor:  # fmt: skip
    return PinnedMonitor(
        name=name, kind="validation", figure=figure, window_s=_DAY_S, every_s=60.0, for_s=0.0,
        cooldown_s=0.0, least=0, severity=severity, then=("alert",), above=above, below=below,
        sure=False,
    )  # fmt: skip


def with_truths(
    gates: Sequence[ReadGates], truths: Sequence[PinnedTruth], wrong: Wrong
) -> tuple[ReadGates, ...]:
    """The gates, each with the outcome that it is validated by; notes those that have none."""
    return tuple(_with_truth(one, truths, wrong) for one in gates)


def _with_truth(gates: ReadGates, truths: Sequence[PinnedTruth], wrong: Wrong) -> ReadGates:
    validity = gates.validity
    if validity is None or not validity.every_s:
        return gates
    fits = [one for one in truths if one.task in (Task.CLASSIFICATION, Task.REGRESSION)]
    named = [one for one in fits if validity.outcome in ("", one.outcome)]
    if len(named) != 1:
        listed = ", ".join(one.outcome for one in fits)
        wrong(
            "gates",
            f"fresh calls of outcome {validity.outcome!r}" if validity.outcome
            else f"fresh calls, and {len(fits)} truths to judge them by",
            f"one of {listed}" if listed else "a truth of a class or a number",
            "name it: splice.Fresh(outcome=…)" if listed
            else 'declare truth = splice.Truth("defaulted")',
        )  # fmt: skip
        return gates
    known = msgspec.structs.replace(validity, outcome=named[0].outcome)
    return msgspec.structs.replace(gates, validity=known)
