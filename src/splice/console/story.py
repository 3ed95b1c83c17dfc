"""One call as a story: the way that it took, station by station, with times, sources and costs."""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec

from splice.core.call import Attempt, Outcome, Reason, Record, Status
from splice.core.erasure import in_place_of_texts
from splice.core.explanations import route_of
from splice.core.release import PinnedRoute, Release

REASONS = {
    Reason.FIRST: "the first route answered",
    Reason.FALLBACK: "the routes before it did not answer",
    Reason.REPEATED: "the stored answer of the same idempotency key",
    Reason.CACHED: "the kept answer to the very same question",
    Reason.SIMILAR: "the kept answer to a question that means the same",
    Reason.SHARED: "the answer to the same question, asked by another at the same time",
    Reason.EXHAUSTED: "no route answered",
    Reason.REJECTED: "the provider says that the request itself is wrong",
    Reason.CONTEXT_FAILED: "context() failed",
    Reason.DECISION_FAILED: "decide() failed",
    Reason.BROKEN: "the stream ended before its time",
    Reason.DISCONNECTED: "the client went away in the middle of the answer",
    Reason.OVER_BUDGET: "a budget has no room",
    Reason.METER_AWAY: "budgets could not be checked",
    Reason.POLICY: "a policy said no",
    Reason.NOT_RECORDED: "it could not be recorded",
    Reason.CANCELLED: "the caller went away",
}
_DEEPEST, _LONGEST = 6, 4000

Tone = Literal["", "good", "warn", "bad"]


class Field(msgspec.Struct, frozen=True):
    """A name and what it was, as text."""

    name: str
    text: str
    long: bool = False


class Bar(msgspec.Struct, frozen=True):
    """An attempt on the axis of the call: where it begins and how long it is, in percent of it."""

    attempt: Attempt
    number: int
    left: float
    width: float
    first_token: float | None = None

    @property
    def tone(self) -> Tone:
        """How it ended."""
        return "good" if self.attempt.ended == "answered" else "bad"


class Story(msgspec.Struct, frozen=True):
    """What the page of a call shows."""

    record: Record
    outcomes: list[Outcome]
    release: Release | None
    asked: list[Field]
    seen: list[Field]
    predicted: list[Field]
    replied: list[Field]
    bars: list[Bar]
    route: PinnedRoute | None
    replay: str

    @property
    def gone(self) -> str:
        """Why the texts of the call are not there, beginning a sentence; empty where they are."""
        why = in_place_of_texts(self.record.notes)
        return f"{why[0].upper()}{why[1:]}." if why else ""

    @property
    def why(self) -> str:
        """Why the caller got what he got."""
        return REASONS.get(self.record.reason, self.record.reason)

    @property
    def tone(self) -> Tone:
        """How it ended."""
        if self.record.status is Status.FAILED:
            return "bad"
        if self.record.status is Status.REFUSED:
            return "warn"
        return "warn" if self.record.reason is Reason.FALLBACK else "good"


def story_of(record: Record, outcomes: list[Outcome], release: Release | None) -> Story:
    """The story of a call."""
    whole = max(
        record.duration_us, *(one.started_us + one.latency_us for one in record.attempts), 1
    )
    bars = [_bar(one, number, whole) for number, one in enumerate(record.attempts, 1)]
    return Story(
        record=record,
        outcomes=outcomes,
        release=release,
        asked=fields_of(record.input),
        seen=fields_of(record.context),
        predicted=fields_of(record.prediction, skip=("cost_nano", "usage")),
        replied=fields_of(record.reply),
        bars=bars,
        route=route_of(release, record.version),
        replay=_replay(record, release),
    )


def fields_of(raw: bytes | None, skip: tuple[str, ...] = ()) -> list[Field]:
    """What JSON holds, a line for each field; one line without a name where it is no object."""
    if not raw:
        return []
    try:
        value: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        value = raw.decode("utf-8", "replace")
    lines: list[Field] = []
    _walk(value, "", lines, skip, 0)
    return lines


def _walk(value: Any, name: str, lines: list[Field], skip: tuple[str, ...], deep: int) -> None:
    if isinstance(value, dict) and value and deep < _DEEPEST:
        for key, inner in cast("dict[str, Any]", value).items():
            if key not in skip or deep:
                _walk(inner, f"{name}.{key}" if name else key, lines, skip, deep + 1)
        return
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… ({len(text):,} characters)"
    lines.append(Field(name, text, "\n" in text or len(text) > 120))


def _bar(attempt: Attempt, number: int, whole: int) -> Bar:
    left = 100 * attempt.started_us / whole
    token = attempt.first_token_us
    return Bar(
        attempt,
        number,
        round(min(left, 99.5), 2),
        round(max(100 * attempt.latency_us / whole, 0.5), 2),
        None if token is None else round(100 * (attempt.started_us + token) / whole, 2),
    )


def _replay(record: Record, release: Release | None) -> str:
    """Why it cannot be replayed; empty where it can."""
    if not record.input:
        return in_place_of_texts(record.notes) or "what was asked is not recorded"
    if release is None:
        return f"release {record.release} is not in this ledger"
    return ""
