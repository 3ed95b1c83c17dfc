"""What a user writes of profiles: which columns of the calls, and in which segments."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from splice.core.profiles import PinnedProfile

_FIELD = re.compile(r"[^\s=…*]{1,120}")
MOST_FIELDS = 3
"""Fields that make segments: each profiles every call once more."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Which columns of the calls are profiled, and in which segments. Left out, all are, in none.

    A column is a field of the context (of the request, where there is no `context()`), a nested one
    by its dotted name, or a part of the prediction (`prediction.score`) or reply (`reply.action`).

    Attributes:
        segments: Up to three fields whose values have profiles of their own: `("country",)`. Each
            has up to 50 values, the rest is put together.
        columns: Only these, and what is nested in them.
        skip: None of these, nor of what is nested in them.
        meaning: Columns of texts that the sentence encoder of the semantic cache reads, so that
            drift of what they are about is seen. It takes some milliseconds for each text; of a
            batch of calls it reads up to 32.
    """

    segments: Sequence[str] = ()
    columns: Sequence[str] = ()
    skip: Sequence[str] = ()
    meaning: Sequence[str] = ()


def read_profile(
    given: Any, entity: str | None, wrong: Callable[[str, str, str, str], None]
) -> PinnedProfile | None:
    """What a release pins of it; notes what is wrong."""
    if given is None:
        return None
    if not isinstance(given, Profile):
        wrong("profile", type(given).__name__, "a splice.Profile", "write splice.Profile(…)")
        return None
    lists: dict[str, tuple[str, ...]] = {}
    for name in ("segments", "columns", "skip", "meaning"):
        values: Any = getattr(given, name)
        if not isinstance(values, (list, tuple)) or not all(
            isinstance(one, str) and _FIELD.fullmatch(one) for one in cast("Sequence[Any]", values)
        ):
            wrong(
                "profile", f"{name}={values!r}"[:120], "names of columns in brackets",
                f'write {name}=("country",)',
            )  # fmt: skip
            return None
        lists[name] = tuple(dict.fromkeys(cast("Sequence[str]", values)))
    if len(lists["segments"]) > MOST_FIELDS:
        wrong(
            "profile", f"{len(lists['segments'])} segments", f"at most {MOST_FIELDS}",
            "keep those that you would act on",
        )  # fmt: skip
    if entity is not None and entity in lists["segments"]:
        wrong(
            "profile", f"segments by {entity}, the entity", "a field with few values",
            "leave it out: a profile is of many, not of one",
        )  # fmt: skip
    return PinnedProfile(
        lists["segments"], lists["columns"], lists["skip"], lists["meaning"], entity or ""
    )
