"""Rollouts as numbers: places on the scale of callers, and shares as people write them."""

from __future__ import annotations

import re
from hashlib import blake2b

from splice.core.errors import DeclarationError
from splice.core.release import PinnedRollout, PinnedRoute, Variant

WHOLE = 10_000
"""Shares are counted in ten-thousandths: a hundredth of a percent is the smallest."""

CHAMPION = "champion"
CHALLENGER = "challenger"
SHADOW = "shadow"
HOLDOUT = "holdout"
"""Names of variants, as they stand in records. A record of no rollout has none."""

_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*", re.ASCII)


def place(salt: str, who: str) -> int:
    """Where somebody stands on the scale, from 0 to 9,999; evenly spread, and always the same."""
    digest = blake2b(f"{salt}/{who}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % WHOLE


def share(given: str | float, where: str = "share") -> int:
    """Ten-thousandths from "10 %" or 0.1.

    Raises:
        DeclarationError: It is not a share from 0 to 1, or finer than a hundredth of a percent.
    """
    value = -1.0
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        value = float(given)
    elif isinstance(given, str) and (match := _PERCENT.fullmatch(given)):
        value = float(match[1]) / 100
    counted = round(value * WHOLE) if 0 <= value <= 1 else -1
    if counted < 0 or abs(counted - value * WHOLE) > 1e-6:
        raise DeclarationError(
            where,
            got=repr(given),
            promised='a share such as "10 %" or 0.1, in steps of 0.01 %',
            mend="write the percentage of the calls",
        )
    return counted


def challenger_of(rollout: PinnedRollout | None) -> Variant | None:
    """The variant that runs beside the release's own routes; None where none does."""
    if rollout is None:
        return None
    return next((one for one in rollout.variants if one.name == CHALLENGER), None)


def next_step(rollout: PinnedRollout) -> int | None:
    """The first step above the present share; None after the last. A canary never steps down."""
    challenger = challenger_of(rollout)
    share = 0 if challenger is None else challenger.share
    return next((step for step in rollout.steps if step > share), None)


def what_runs(route: PinnedRoute) -> str:
    """What a route runs; the version of a rule changes with every other line of its source."""
    return route.label if route.kind == "rule" else f"{route.label} {route.version}"


def share_text(counted: int) -> str:
    """Ten-thousandths as a person writes them: "2.5 %"."""
    return f"{counted / 100:g} %"
