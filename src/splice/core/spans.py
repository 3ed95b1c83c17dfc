"""Spans: which calls a study is about, how it reads their outcomes, and how far it has come."""

from __future__ import annotations

from typing import Literal

import msgspec

from splice.core.moments import Moments
from splice.core.rollout import CHALLENGER, CHAMPION, HOLDOUT, SHADOW

Arm = Literal[0, 1]
CONTROL: Arm = 0
TREATED: Arm = 1
CROSSED = -1
"""The arm of a unit that was seen in both: it belongs to none."""


class Sought(msgspec.Struct, frozen=True):
    """An outcome, as a study reads it; see `splice.Truth` for what the fields mean.

    `matures_us` None where nobody declares it: then calls count as soon as they have an outcome,
    and calls without one never do. `within_us` None: an outcome of an entity counts for all calls
    before it.
    """

    name: str
    matures_us: int | None = None
    within_us: int | None = None
    positive: tuple[bool | float | str, ...] = ()
    absent: float | None = None

    def number(self, value: bool | float | str) -> float | None:
        """What it counts: 1 or 0 where some values mean that it happened, else the number itself.

        None of a text that means nothing here.
        """
        if self.positive:
            return float(any(_same(value, one) for one in self.positive))
        return None if isinstance(value, str) else float(value)


def _same(value: bool | float | str, other: bool | float | str) -> bool:
    """Whether they are one value; true and 1 are, "1" is another."""
    return isinstance(value, str) == isinstance(other, str) and value == other


class Span(msgspec.Struct, frozen=True):
    """Calls that are compared: of releases under which nobody changed his arm. Unix microseconds.

    `shares` are what control and treated should get of the units, in ten-thousandths; None where a
    flag decides. `past_us` is from when on the past of a unit counts, `lag_us` how long after it
    was asked a call is stored at the latest, as a rule.
    """

    key: str
    integration: str
    kind: Literal["rollout", "holdout"]
    releases: tuple[int, ...]
    shares: tuple[int, int] | None
    runs: tuple[str, str]
    since_us: int
    past_us: int
    lag_us: int
    outcomes: tuple[Sought, ...] = ()

    def arm(self, variant: str) -> Arm | None:
        """The arm of calls of a variant; None where they are in none."""
        if variant == SHADOW:
            return None
        if self.kind == "holdout":
            return CONTROL if variant == HOLDOUT else TREATED
        if variant == CHALLENGER:
            return TREATED
        return CONTROL if variant == CHAMPION else None


class Progress(msgspec.Struct, frozen=True):
    """How far the calls of a span were looked at. `revision` grows with every change of it.

    `asked_us`: calls asked before are counted, but those that were stored late. `outcome`: the
    number of the last outcome seen, `looked_us` when. `due`: by time to mature in microseconds, up
    to when calls were seen to be mature. `mixtures`: by figure, what its interval is tuned for,
    which is set once. `last_us` is when the newest was asked. At `sweep_at_us` the calls since
    `swept_us` of then were last looked at again. `nameless`: calls without an entity asked before
    `swept_us`, `nameless_new` after.
    """

    revision: int = 0
    asked_us: int = 0
    outcome: int = 0
    looked_us: int = 0
    due: dict[str, int] = {}
    mixtures: dict[str, float] = {}
    nameless: int = 0
    nameless_new: int = 0
    last_us: int = 0
    swept_us: int = 0
    sweep_at_us: int = 0


class Touched(msgspec.Struct):
    """Units with something new, and how far the looking came; `more` where it was cut short."""

    units: list[str]
    progress: Progress
    more: bool = False
    nameless: int = 0  # calls without an entity, with those that may be seen again


class Came(msgspec.Struct):
    """What mature calls of a unit came to in one outcome, and those before the study."""

    calls: int = 0
    total: float = 0.0
    past_calls: int = 0
    past_total: float = 0.0


class Unit(msgspec.Struct):
    """An entity in a study: what its calls came to. `asked` are those that a route was asked for.

    `cost_nano` is the sum over the `costed` calls, whose cost is known.
    """

    name: str
    arm: int
    first_us: int
    calls: int = 0
    asked: int = 0
    errors: int = 0
    failures: int = 0
    cost_nano: int = 0
    costed: int = 0
    duration_us: int = 0
    outcomes: dict[str, Came] = {}


class Tally(msgspec.Struct, frozen=True):
    """All units of a study in sums.

    `units` and `calls` by arm; `moments` by figure (as in `Effect.figure`), control and treated.
    """

    units: tuple[int, int] = (0, 0)
    calls: tuple[int, int] = (0, 0)
    crossed: int = 0
    moments: dict[str, tuple[Moments, Moments]] = {}
