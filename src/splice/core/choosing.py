"""Choosing: which recorded calls a person must look at, by what is declared."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from splice.core.call import Record, Status
from splice.core.erasure import is_erased
from splice.core.ids import derived_uuid7
from splice.core.reviews import PLAIN_TERMS, Cause, PinnedCondition, PinnedReview, Review, Terms
from splice.core.rollout import place, share_text

_ROOTS = {"reply": "reply", "prediction": "prediction", "request": "input"}


def chosen(record: Record, pinned: PinnedReview, now_us: int) -> Review | None:
    """The review that a call needs by its declaration; None where it needs none.

    A shadow needs none, for nobody got its answer, and neither does a call without an answer.
    """
    if record.status is not Status.ANSWERED or record.shadow_of is not None:
        return None
    if asks := asked_by_policy(record):
        return review_of(record, "policy", asks, now_us, pinned.terms)
    if pinned.when and record.reply is None and not is_erased(record.notes):
        why = "what was answered is not kept, so nobody can tell whether it need be looked at"
        return review_of(record, "reply", why, now_us, pinned.terms)
    if pinned.when:
        read = _Read(record)
        for conditions in pinned.when:
            if all(read.holds(one) for one in conditions):
                why = " and ".join(map(condition_text, conditions))
                return review_of(record, "reply", why, now_us, pinned.terms)
    if pinned.share and place("review", record.call_id) < pinned.share:
        why = f"one of {share_text(pinned.share)} of the calls"
        return review_of(record, "sample", why, now_us, pinned.terms)
    return None


def asked_by_policy(record: Record) -> str:
    """What a policy found that a person must look at: "policy no_injection: reveal"; or nothing."""
    for run in record.policies:
        if run.did == "review":
            return f"policy {run.policy}: {run.found}"
    return ""


def review_of(
    record: Record, origin: Cause, why: str, now_us: int, terms: Terms = PLAIN_TERMS
) -> Review:
    """A review of a call. Its id follows from the call's: made twice, it is stored once."""
    begins_us = record.asked_us if origin in ("reply", "sample", "policy") else now_us
    expires = terms.expires_s
    return Review(
        id=derived_uuid7(record.asked_us // 1000, record.call_id, "review"),
        call_id=record.call_id,
        integration=record.integration,
        release=record.release,
        state="open",
        origin=origin,
        why=why,
        asked_us=record.asked_us,
        opened_us=now_us,
        due_us=begins_us + round(terms.within_s * 1e6),
        terms=terms,
        expires_us=0 if expires is None else begins_us + round(expires * 1e6),
    )


def value_at(document: Any, path: str) -> Any:  # JSON values
    """The value at `a.b` in a JSON document; None where there is none."""
    for name in path.split(".") if path else ():
        if not isinstance(document, dict):
            return None
        document = cast("dict[str, Any]", document).get(name)
    return document


def condition_text(one: PinnedCondition) -> str:
    """A condition in words: "action is review", "prediction.score < 0.6"."""
    path = one.path.removeprefix("reply.")
    values = " or ".join(map(_word, one.values))
    return f"{path} {one.test} {values}"


class _Read:
    """The JSON of a record, each part read once, and only what is asked for."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._known: dict[str, Any] = {}

    def holds(self, one: PinnedCondition) -> bool:
        """Whether it holds; of something that is not there, only that it `is not` so."""
        root, _, path = one.path.partition(".")
        found = value_at(self._part(root), path)
        if one.test == "is":
            return any(same(found, value) for value in one.values)
        if one.test == "is not":
            return not any(same(found, value) for value in one.values)
        bound = one.values[0]
        if isinstance(found, bool) or not isinstance(found, (int, float)) or isinstance(bound, str):
            return False
        return _COMPARED[one.test](found, bound)

    def _part(self, root: str) -> Any:
        if root not in self._known:
            text: bytes | None = getattr(self._record, _ROOTS[root])
            try:
                self._known[root] = msgspec.json.decode(text) if text else None
            except msgspec.DecodeError:  # what was masked, or never was JSON
                self._known[root] = None
        return self._known[root]


_COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def same(found: Any, value: Any) -> bool:  # JSON values
    """Whether two values are the same; true is not 1, and a text is never a number."""
    if isinstance(found, bool) or isinstance(value, bool):
        return found is value
    return type(found) in (int, float, str) and isinstance(found, str) == isinstance(
        value, str
    ) and found == value  # fmt: skip


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
