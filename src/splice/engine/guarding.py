"""Guarding: the policies of a declaration become a guard, each with what it asks."""

from __future__ import annotations

from collections.abc import Iterator

from splice.core.errors import SpliceError
from splice.core.policies import PinnedPolicy
from splice.declare.policy_reading import Asked as Function
from splice.declare.reading import Declaration
from splice.engine.guard import Check, Guard
from splice.engine.guard_asking import Asked, Classified
from splice.engine.guard_own import Down, PromptTold, Size
from splice.engine.guard_tools import Tools
from splice.ports.policies import Detector, Detectors


def guard_of(declaration: Declaration, detectors: Detectors) -> Guard | None:
    """The guard of a declaration; None where it has no policies.

    What a policy asks may not be there: then whatever it stands before is refused.
    """
    policed = declaration.options.policed
    if not policed.policies:
        return None
    checks: list[Check] = []
    tools: list[Tools] = []
    for pinned in policed.policies:
        if pinned.kind == "tools":
            tools.append(Tools(declaration.name, pinned))
            continue
        function = policed.functions.get(pinned.name)
        detector = _detector(declaration, pinned, function, detectors)
        checks.append(Check(declaration.name, pinned, detector))
    return Guard(checks, tools)


def _detector(
    declaration: Declaration,
    pinned: PinnedPolicy,
    function: Function | None,
    detectors: Detectors,
) -> Detector:
    if pinned.kind == "size":
        return Size(pinned.rule["max_chars"])
    if function is not None:
        return Classified(function, pinned.rule) if pinned.kind == "topics" else Asked(function)
    if pinned.kind == "no" and pinned.rule["no"] == "prompt":
        return PromptTold(_prompts(declaration))
    try:
        return detectors(pinned)
    except SpliceError as error:
        return Down(str(error))
    except Exception as error:  # noqa: BLE001 - another's plugin: what cannot be had says no
        return Down(type(error).__name__)


def _prompts(declaration: Declaration) -> Iterator[str]:
    plan = declaration.plan
    for timed in (*declaration.routes, *plan.challenger, *plan.shadow):
        if timed.prompt is not None:
            for part in timed.prompt.parts:
                yield part.text


def no_detectors(pinned: PinnedPolicy) -> Detector:
    """Where nobody said what policies ask: none of them can be asked."""
    return Down(f"nothing to ask for {pinned.name}")
