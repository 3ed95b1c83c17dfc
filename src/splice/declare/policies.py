"""`splice.Policy`: a named rule about what may go into a model, and what may come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from splice.core.policies import PinnedPolicy

Wrong = Callable[[str, str, str, str], None]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A named rule about what may go into a model, and what may come out."""

    name: str


def read_policies(given: Any, wrong: Wrong) -> tuple[PinnedPolicy, ...]:
    """The policies of a class; notes what is wrong with them."""
    if not isinstance(given, (list, tuple)):
        wrong("policies", type(given).__name__, "a list of splice.Policy", "put it into brackets")
        return ()
    read: list[PinnedPolicy] = []
    for one in cast("Sequence[Any]", given):
        if isinstance(one, Policy):
            read.append(PinnedPolicy(one.name))
        else:
            wrong("policies", type(one).__name__, "a splice.Policy", "write splice.Policy(…)")
    return tuple(read)
