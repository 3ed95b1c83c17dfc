"""Studies: what an experiment or a holdout has told so far, and what an integration is worth."""

from __future__ import annotations

from typing import Literal

import msgspec

from splice.core.rollups import Window

REST = "rest"
"""The arm beside a holdout: every call that was not held out, whatever its variant."""


class Interval(msgspec.Struct, frozen=True):
    """Where a figure lies; at `level` 0.95 such intervals cover the truth 95 times in 100.

    `always` where that holds however often and whenever one looks; where not, it holds for one
    look, at a time that was fixed before.
    """

    low: float
    high: float
    level: float = 0.95
    always: bool = True


class ArmState(msgspec.Struct, frozen=True):
    """One arm of a study.

    `share` is what it should get of the units, in ten-thousandths; None where a flag decides.
    `units` are entities that made a call, `mature_units` those with a call whose outcome is due;
    `calls` and `mature_calls` likewise, of entities only. `runs` says what answers it, in words.
    """

    name: str
    share: int | None
    units: int = 0
    mature_units: int = 0
    calls: int = 0
    mature_calls: int = 0
    runs: str = ""


Verdict = Literal["better", "worse", "differs", "open", "too_few"]
"""`better`, `worse`: the interval lies on one side of 0. `differs`: so too, and nobody says which
direction is good. `open`: 0 lies inside. `too_few`: there are not enough units for an interval."""

GuardState = Literal["", "holds", "broken", "open"]
"""`holds`: no worse than its margin, for sure. `broken`: worse, for sure. `open`: cannot be told.
Empty where the figure is no guardrail: nobody declared a margin."""


class Effect(msgspec.Struct, frozen=True):
    """How far a figure is apart in two arms: the treated one less the control.

    `figure` is `outcome:NAME` (mean of the outcome of a mature call), `errors`, `failures` (shares
    of calls), `cost` (of a call, in the account's currency) or `latency` (mean of a call, seconds).
    `control` and `treated` are its means in the arms, None where nothing is known of it.
    `difference` is corrected by what the units did before (CUPED), and so need not be exactly the
    distance of the means; `reduction` is the share of its variance that this took away.
    `units` counts those that it rests on, in control and treated. `needed` is about how many more
    units, of both arms together, would tell a difference of `size`; None where that is told
    already or cannot be known. `margin` is how much worse a guardrail may be. `share` says that the
    figure is a share of the calls, which people read in percent.
    """

    figure: str
    primary: bool = False
    control: float | None = None
    treated: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    units: tuple[int, int] = (0, 0)
    verdict: Verdict = "too_few"
    lower_is_better: bool | None = None
    reduction: float = 0.0
    needed: int | None = None
    size: float | None = None
    guard: GuardState = ""
    margin: float | None = None
    share: bool = False
    told: str = ""  # one sentence for a person

    @property
    def relative(self) -> float | None:
        """The difference as a share of the control's mean; None where that is 0 or unknown."""
        if self.difference is None or not self.control:
            return None
        return self.difference / self.control


class SampleRatio(msgspec.Struct, frozen=True):
    """Whether the units came to the arms in the shares that they should have.

    `probability` is at most so large if nothing is wrong, however often one looked; below
    `threshold` something is. `ok` is None where no shares are promised (a flag decides).
    """

    observed: tuple[int, ...]
    expected: tuple[float, ...]  # units
    probability: float = 1.0
    threshold: float = 0.001
    ok: bool | None = None
    told: str = ""


class Study(msgspec.Struct, frozen=True):
    """One comparison of two arms, as it stood when it was last reckoned. Times: Unix microseconds.

    `kind` is `rollout` (challenger against champion) or `holdout` (the rest against the held out).
    `arms` are control and treated, in this order. `causal` says whether the difference was made by
    the treatment, `why` why, or why it cannot be said. `matures_us` is how long after a call its
    outcome is due; None where nobody declares it. `without_entity` calls name nobody, so they are
    no units; `crossed` units were seen in both arms and are left out. `running` while calls of it
    may still come, `settled` once all of them are mature: then it does not change any more.
    """

    key: str
    integration: str
    kind: Literal["rollout", "holdout"]
    releases: tuple[int, ...]  # oldest first
    arms: tuple[ArmState, ArmState]
    effects: tuple[Effect, ...]  # the primary one first
    ratio: SampleRatio
    since_us: int
    at_us: int
    until_us: int | None = None
    running: bool = True
    settled: bool = False
    causal: bool = True
    why: str = ""
    matures_us: int | None = None
    without_entity: int = 0
    crossed: int = 0
    notes: tuple[str, ...] = ()  # what a reader must know, a sentence each

    @property
    def primary(self) -> Effect | None:
        """The effect on the objective's figure; None where no objective names an outcome."""
        return next((one for one in self.effects if one.primary), None)


class KpiStanding(msgspec.Struct, frozen=True):
    """Where the objective's figure stands, over calls whose outcome became due in a window.

    `asked` is when those calls were asked: earlier than the window, by what an outcome takes.
    `mean` and `interval` are None where there are no such calls, or too few. `on_course` compares
    `mean` with the straight way from `baseline` to `target` at `due`; None where one of them is
    not declared or the interval holds the way itself.
    """

    kpi: str
    unit: str
    outcome: str
    mean: float | None = None
    interval: Interval | None = None
    calls: int = 0
    asked: Window = Window(0, 0)
    baseline: float | None = None
    target: float | None = None
    due: str = ""
    on_course: bool | None = None
    told: str = ""  # one sentence for a person


class Value(msgspec.Struct, frozen=True):
    """Money that an integration moved in a window, less what it cost. Amounts: account's currency.

    `moved` is None where no value of a unit is declared, or nothing is known of the effect.
    `cost` is what the calls of the window cost, shadows included; None where no call's cost is
    known. `basis` is where the effect comes from: a `holdout`, a `rollout` (then it is the value of
    the challenger against the champion, on the challenger's share of the calls, and `cost` is what
    its calls cost more than the champion's would have), or the declared `baseline` (then it is an
    estimate: whatever else changed since is in it too). `study` is its key.
    """

    integration: str
    window: Window
    currency: str
    basis: Literal["holdout", "rollout", "baseline", "none"]
    causal: bool
    why: str
    moved: float | None = None
    interval: Interval | None = None  # of `moved`
    cost: float | None = None
    effect: float | None = None  # in units of the figure, signed so that above 0 is good
    value_per_unit: float | None = None  # money a year
    over_s: float = 0.0  # how long of the window there was anything to have an effect
    study: str = ""
    told: str = ""  # one sentence for a person

    @property
    def net(self) -> float | None:
        """The return: money moved less cost; None where either is unknown."""
        if self.moved is None or self.cost is None:
            return None
        return self.moved - self.cost


class Worth(msgspec.Struct, frozen=True):
    """What an integration is worth in a window, and where its figure stands.

    `beside` is a second opinion by a weaker basis, where there is one.
    """

    value: Value
    standing: KpiStanding | None = None
    beside: Value | None = None
