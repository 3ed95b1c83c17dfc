"""What a user writes of the truth: which outcome tells whether an answer was right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class Truth(msgspec.Struct, frozen=True):
    """Which outcome tells whether the integration was right, and when it is known.

        truth = splice.Truth("defaulted", predicted="action", foretold="decline", matures="40 d")

    Attributes:
        outcome: Name of the outcome.
        task: `classification`: whether it happens (`positive`), or which class it is
            (`positive=None`). `regression`: a number. `ranking`: which of a list is relevant;
            `predicted` is the list, each outcome names one of it. `rating`: a number or true or
            false that a person or a judge gives the answer.
        score: The chance that it happens: a field of the reply, or `prediction.score` where it is
            left out.
        predicted: What was foretold: a field of the reply, or `prediction.value` where it is left
            out. Nested fields are written with dots.
        positive: Value (or values) of the outcome that mean that it happened; True also takes 1.
            None where the outcome is the name of one of several classes.
        foretold: Value (or values) of `predicted` that foretell it. Where neither `predicted` nor
            this is given, a score of `threshold` or more foretells it.
        threshold: See there; one half where it is left out.
        matures: How long after the call the outcome is known at the latest: "40 d". Figures are
            reckoned over calls that are so old.
        within: An outcome that names an entity counts for calls at most so long before it; as long
            as `matures` where it is left out. One that names a call always counts.
        absent: What no outcome within `matures` means: `absent=False` says that no chargeback is a
            good payment. Left out, it means nothing: such calls are awaited.
        good: Of a rating: from which value on it is good.
        at: Of a ranking: how many places count; 10 where it is left out.
        segments: Fields by whose values quality is told apart, of what `context()` gives (of the
            request where there is none); those of `splice.Profile` where they are left out.
    """

    outcome: str
    task: str = "classification"
    score: str = ""
    predicted: str = ""
    positive: Any = True  # a bool, number or text, several of them, or None
    foretold: Any = None
    threshold: float | None = None
    matures: str | float = "1 d"
    within: str | float | None = None
    absent: bool | float | str | None = None
    good: float | None = None
    at: int | None = None
    segments: Sequence[str] = ()
