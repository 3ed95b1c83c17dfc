"""What came of trying a prompt: two sides of each call, and the figures over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, cast

import msgspec

from splice.core.call import Outcome


class Side(msgspec.Struct, frozen=True):
    """How one call ended with one version.

    `reply` is None where there was none, and `why` says why. `typed` is whether the model answered
    in the declared type; None where no model was asked, or it did not answer at all. The latency is
    that of the attempts; tokens and cost are None where they are unknown.
    """

    release: int
    version: str
    reply: msgspec.Raw | None
    typed: bool | None
    why: str
    latency_us: int
    input_tokens: int | None
    output_tokens: int | None
    cost_nano: int | None


class Tried(msgspec.Struct, frozen=True):
    """One call with both versions, and what really happened.

    `before_right` and `after_right` are None where no outcome tells it.
    """

    call_id: str
    before: Side
    after: Side
    outcomes: dict[str, bool | float | str]
    before_right: bool | None
    after_right: bool | None

    @property
    def verdict(self) -> str:
        """`same`, `changed`, `gained` or `lost` an answer, or `neither` has one."""
        old, new = self.before.reply, self.after.reply
        if old is None or new is None:
            return "neither" if old is new else "gained" if old is None else "lost"
        return "same" if msgspec.json.decode(old) == msgspec.json.decode(new) else "changed"


class Figures(msgspec.Struct, frozen=True):
    """One version over all calls; shares are from 0 to 1, None where there is nothing to divide by.

    Latencies are in milliseconds. Tokens and cost are means of a call (cost in billionths of the
    currency), None as soon as one call's is unknown.
    """

    answered: int
    typed: float | None
    right: float | None
    judged: int
    median_ms: float | None
    p95_ms: float | None
    input_tokens: float | None
    output_tokens: float | None
    cost_nano: float | None


class Comparison(msgspec.Struct, frozen=True):
    """The whole of a trial.

    `before_release` is the release that was asked again; None where `before` is as recorded (then
    its version is that of the live release; each call names the one that answered it). `skipped`
    counts calls that could not be asked, by the reason.
    """

    integration: str
    route: str
    before: str
    before_release: int | None
    after: str
    skipped: dict[str, int]
    calls: list[Tried]

    @property
    def verdicts(self) -> dict[str, int]:
        """How many calls came out how."""
        names = ("same", "changed", "gained", "lost", "neither")
        found = [one.verdict for one in self.calls]
        return {name: found.count(name) for name in names}

    @property
    def figures(self) -> tuple[Figures, Figures]:
        """Of the version before, and of the candidate."""
        return (
            _figures([one.before for one in self.calls], [one.before_right for one in self.calls]),
            _figures([one.after for one in self.calls], [one.after_right for one in self.calls]),
        )


def _figures(sides: Sequence[Side], right: Sequence[bool | None]) -> Figures:
    typed = [one.typed for one in sides if one.typed is not None]
    judged = [one for one in right if one is not None]
    times = sorted(one.latency_us / 1000 for one in sides)
    return Figures(
        answered=sum(one.reply is not None for one in sides),
        typed=sum(typed) / len(typed) if typed else None,
        right=sum(judged) / len(judged) if judged else None,
        judged=len(judged),
        median_ms=median(times) if times else None,
        p95_ms=times[min(len(times) - 1, int(0.95 * len(times)))] if times else None,
        input_tokens=_mean([one.input_tokens for one in sides]),
        output_tokens=_mean([one.output_tokens for one in sides]),
        cost_nano=_mean([one.cost_nano for one in sides]),
    )


def _mean(values: Sequence[int | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def fits(
    reply: bytes | None, outcomes: Sequence[Outcome], fields: Mapping[str, str]
) -> bool | None:
    """Whether a reply foretold what happened; None where no outcome can be held against it.

    An outcome is held against the field of the reply that has its name, or that `fields` names for
    it; against the reply itself where that is no object. A probability foretells a yes from 0.5.
    """
    if reply is None:
        return None
    plain: Any = msgspec.json.decode(reply)
    told: list[bool] = []
    for outcome in outcomes:
        said: Any = cast("object", plain)
        if isinstance(plain, dict):
            said = cast("dict[str, Any]", plain).get(fields.get(outcome.name, outcome.name))
        if isinstance(said, (str, int, float)):
            told.append(_agree(said, outcome.value))
    return all(told) if told else None


def judged(
    before: bool | None, after: bool | None, gave: tuple[bool, bool]
) -> tuple[bool | None, bool | None]:
    """Both verdicts, where a side without an answer is wrong if the other one can be judged.

    Else the version that gives up on the hard calls would look the better one.
    """
    if before is None and after is not None and not gave[0]:
        return False, after
    if after is None and before is not None and not gave[1]:
        return before, False
    return before, after


def _agree(said: Any, happened: bool | float | str) -> bool:
    is_number = isinstance(said, (int, float)) and not isinstance(said, bool)
    if isinstance(happened, bool) and is_number and 0 <= said <= 1:
        return (said >= 0.5) is happened
    if isinstance(happened, bool) or isinstance(said, bool):
        return said is happened
    return said == happened
