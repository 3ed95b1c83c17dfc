"""`splice.Review`: which calls a person must look at, and how they are decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls a person must look at, within which time, and by whose eyes.

        review = splice.Review(when={"action": "review"}, share="1 %", within="4 h")

    Attributes:
        when: Fields and what they are then: of the reply by their names, of the prediction as
            `prediction.score`, of the request as `request.amount`. A value, a list of values, or a
            condition in a text: `"< 0.6"`, `">= 10"`, `"!= ship"`. All must hold; of a list of such
            mappings, one.
        share: Of all other answered calls, so many, by chance: `"1 %"`. The same call is always in
            or always out.
        within: The service level: how long after the call it should be decided.
        expires: When nobody need look any more; never where left out.
        four_eyes: Whether two different people must say the same; the second is one who may
            approve. Where they disagree, a third decides.
        reasons: What an override is for: one of these; any text where left out.
        outcome: Name of the outcome that a verdict becomes, which may be that of a `splice.Truth`.
        value: The field of the reply, as the person would have it, that is the outcome's value;
            left out, it is whether he agreed.
    """

    when: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()
    share: str | float = 0
    within: str | float = "1 d"
    expires: str | float | None = None
    four_eyes: bool = False
    reasons: Sequence[str] = ()
    outcome: str = "reviewed"
    value: str = ""
