"""Policing: whether what the policies of a declaration ask is there at all."""

from __future__ import annotations

from splice.core.errors import SpliceError
from splice.core.policies import PinnedPolicy
from splice.declare.discover import Found
from splice.ports.policies import Detectors


def missing_detector(
    found: Found, detectors: Detectors | None
) -> tuple[PinnedPolicy, SpliceError] | None:
    """The first policy that could not be asked here, and why; None where all could."""
    if detectors is None:
        return None
    policed = found.declaration.options.policed
    for pinned in policed.policies:
        own = pinned.kind in ("size", "tools") or pinned.rule.get("no") == "prompt"
        if own or pinned.name in policed.functions:
            continue
        try:
            detectors(pinned)
        except SpliceError as error:
            return pinned, error
    return None
