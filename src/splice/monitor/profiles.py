"""Profiles of calls as they are recorded: made in batches, merged, and read again.

Needs splice-ai[monitor].
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from splice.core.call import Record, Status
from splice.core.errors import SpliceError
from splice.core.profiles import EVERYTHING, OTHER, PinnedProfile, Profile
from splice.core.rollups import HOUR_S, ProfileKey
from splice.monitor.columns import BASE, PREDICTION, REPLY, Column, Seen, columns_of, seen
from splice.monitor.sketches import join_numbers, join_words
from splice.monitor.texts import Encode, join_texts
from splice.monitor.values import Naming, Terms, profiles_of

log = logging.getLogger("splice.profiles")

Plans = Callable[[str, int], PinnedProfile]
"""Integration and number of the release to what its declaration says about profiles."""

FORM = 1
MOST_SEGMENTS = 50
"""Values of a segment that are kept apart; calls of further ones are in `field=…`."""
MOST_COLUMNS = 300
"""Columns of an integration that one process makes profiles of: the first that it sees."""
_MOST_VALUE = 60
_LONG = 10**8
"""From nine digits on a number may be that of a card, an account or a telephone."""
_BASES = (BASE, PREDICTION, REPLY)

encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Profile)

_Group = tuple[int, str, int, str]
"""Start of the hour, integration, release, variant."""


class Profiler:
    """Makes partial profiles of batches of records. One thread uses it at a time.

    Args:
        plans: What a release declares. A release that cannot be found has a plan without anything.
        encoder: A sentence encoder, for columns that a plan wants the meaning of.
    """

    def __init__(self, plans: Plans, encoder: Encode | None = None) -> None:
        self._plans = plans
        self._encoder = encoder
        self._naming = Naming()
        self._segments: dict[tuple[str, str], set[str]] = {}
        self._columns_of: dict[tuple[str, int], set[str]] = {}

    def add(self, records: Sequence[Record]) -> dict[tuple[int, ProfileKey], bytes]:
        """The profiles of these records alone, encoded, by hour and key.

        The hour is its start in Unix seconds (UTC). Nothing is kept between two calls, but which
        words came often enough to be named, and which columns and segments there are.

        A record without texts (refused, not sampled) gives nothing; none raises.
        """
        groups: dict[_Group, list[Record]] = {}
        for record in records:
            if record.status is Status.REFUSED or not (record.input or record.context):
                continue
            hour = record.asked_us // 1_000_000 // HOUR_S * HOUR_S
            place = (hour, record.integration, record.release, record.variant)
            groups.setdefault(place, []).append(record)
        found: dict[tuple[int, ProfileKey], bytes] = {}
        for (hour, integration, release, variant), group in groups.items():
            for (segment, column), profile in self._profiles(group).items():
                key = ProfileKey(integration, release, variant, segment, column)
                found[hour, key] = encode(profile)
        return found

    def _profiles(self, records: Sequence[Record]) -> dict[tuple[str, str], Profile]:
        """By segment and column, of records of one hour, release and variant."""
        first = records[0]
        plan = self._plans(first.integration, first.release)
        rows = seen(records)
        segments: dict[str, list[int]] = {EVERYTHING: list(range(len(rows)))}
        for field in plan.segments:
            for number, row in enumerate(rows):
                name = self._segment(first.integration, field, row.context)
                segments.setdefault(name, []).append(number)
        found: dict[tuple[str, str], Profile] = {}
        for segment, numbers in segments.items():
            whole = segment == EVERYTHING
            part = rows if whole else [rows[number] for number in numbers]
            theirs = records if whole else [records[number] for number in numbers]
            for column, profile in self._columns(part, theirs, plan).items():
                found[segment, column] = profile
        return found

    def _columns(
        self, rows: Sequence[Seen], records: Sequence[Record], plan: PinnedProfile
    ) -> Mapping[str, Profile]:
        known = self._columns_of.setdefault((records[0].integration, records[0].release), set())
        columns: dict[str, Column] = {}
        for name, values in columns_of(rows).items():
            if plan.hidden and not _harmless(name, values, plan):
                continue
            if name in known or (len(known) < MOST_COLUMNS and _wanted(name, plan)):
                columns[name] = values
                known.add(name)
        entities = {one.entity for one in records if one.entity is not None}

        def private(name: str, values: Column) -> bool:
            if name == plan.entity or (plan.hidden and name not in plan.words):
                return True
            # A context may carry the entity under a name of its own.
            return bool(entities) and sum(value in entities for value in values[:32]) > 0

        return profiles_of(
            columns,
            Terms(
                self._naming, records[0].integration, plan.words, private,
                dict.fromkeys(plan.meaning, self._encode) if self._encoder is not None else {},
            ),
        )  # fmt: skip

    def _encode(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Without an encoder that cannot be had, all else is profiled all the same."""
        if self._encoder is None:
            return ()
        try:
            return self._encoder(texts)
        except SpliceError as error:
            log.warning("texts are compared by their spelling only: %s", error)
            self._encoder = None
            return ()

    def _segment(self, integration: str, field: str, context: Mapping[str, Any] | None) -> str:
        """`country=DE`: bounded in number, and in length."""
        value: Any = context
        for part in field.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        text = _segment_value(value)
        known = self._segments.setdefault((integration, field), set())
        if text not in known:
            if len(known) >= MOST_SEGMENTS:
                return f"{field}={OTHER}"
            known.add(text)
        return f"{field}={text}"


def _segment_value(value: Any) -> str:
    if value is None:
        return "(missing)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, str)):
        text = str(value)
        return text if len(text) <= _MOST_VALUE else OTHER
    return OTHER


def _harmless(column: str, values: Column, plan: PinnedProfile) -> bool:
    """Whether there may be a profile of a column whose values the ledger holds enciphered.

    None of whom a call is about, and none of whole numbers so long that they name somebody: of
    numbers a profile keeps some as they are.
    """
    if plan.person and _within(column, plan.person):
        return False
    return not any(type(one) is int and abs(one) >= _LONG for one in values)


def _wanted(column: str, plan: PinnedProfile) -> bool:
    """Whether a plan wants a column: it names it, or what it is nested in, or names none."""
    if column in _BASES:
        return True
    if any(_within(column, name) for name in plan.skip):
        return False
    return not plan.columns or any(_within(column, name) for name in plan.columns)


def _within(column: str, name: str) -> bool:
    return column == name or column.startswith(f"{name}.")


def merge(one: bytes, other: bytes) -> bytes:
    """The profile of both; their order does not matter. Empty `bytes` are one of nothing.

    A profile in a form that this version does not know (of a later one) counts as nothing.
    """
    return encode(merged((one, other)))


def merged(encoded: Iterable[bytes]) -> Profile:
    """One profile of many: cheaper than merging two and two."""
    return joined([decode(one) for one in encoded])


def joined(profiles: Sequence[Profile]) -> Profile:
    """One profile of many."""
    parts = [one for one in profiles if one.calls]
    if len(parts) < 2:
        return parts[0] if parts else Profile()
    private = any(one.private for one in parts)
    numbers = [one.numbers for one in parts if one.numbers is not None]
    truths = [one.truths for one in parts if one.truths is not None]
    words = [one.words for one in parts if one.words is not None]
    texts = [one.texts for one in parts if one.texts is not None]
    lengths = [one.lengths for one in parts if one.lengths is not None]
    return Profile(
        calls=sum(one.calls for one in parts),
        missing=sum(one.missing for one in parts),
        numbers=join_numbers(numbers) if numbers else None,
        truths=join_words(truths) if truths else None,
        words=join_words(words, private=private) if words else None,
        texts=join_texts(texts) if texts else None,
        lengths=join_numbers(lengths) if lengths else None,
        private=private,
    )


def decode(encoded: bytes) -> Profile:
    """The profile; one of nothing where it cannot be read."""
    if not encoded:
        return Profile()
    try:
        profile = _decoder.decode(encoded)
    except msgspec.MsgspecError:
        return Profile()
    return profile if profile.form == FORM else Profile()
