"""What a visitor searches calls for, as it stands in an address."""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

import msgspec

from splice.console.span import Span
from splice.core.call import Outcome, Reason, Record, Status
from splice.core.errors import InputMismatch
from splice.core.ids import id_bytes, id_text
from splice.core.units import NANO
from splice.ports.stores import CallFilter

T = TypeVar("T")
Test: TypeAlias = "Callable[[Any, Any], bool]"

FIELDS = (
    "integration", "entity", "status", "reason", "release", "route", "variant", "caller",
    "surface", "q", "decision", "outcome", "error", "slower", "faster", "dearer", "cheaper",
)  # fmt: skip
"""Names that a search has in an address, beside those of the time."""

_COMPARISON = re.compile(r"\s*([^=<>!]*[^=<>!\s])\s*(?:(!=|>=|<=|=|>|<)\s*(.*\S)?)?\s*", re.DOTALL)
_TESTS: dict[str, Test] = {
    "=": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
    ">=": operator.ge, "<=": operator.le,
}  # fmt: skip


class Comparison(msgspec.Struct, frozen=True):
    """A field and what it must be: `action = block`, `risk > 0.5`; without a sign, that it is."""

    name: str
    sign: str = ""
    wanted: str = ""

    def holds(self, value: Any) -> bool:  # a JSON value
        """Whether a value is as wanted; a number is compared as one."""
        if not self.sign:
            return True
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                return _TESTS[self.sign](float(value), float(self.wanted))
            except (ValueError, OverflowError):
                return self.sign == "!="
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif value is None:
            value = "null"
        text = str(value).casefold()
        return self.sign in ("=", "!=") and _TESTS[self.sign](text, self.wanted.casefold())


class Sieve(msgspec.Struct, frozen=True):
    """What no index knows; None and empty do not restrict. Times in microseconds, money in nano."""

    caller: str = ""
    surface: str = ""
    text: str = ""
    decision: Comparison | None = None
    outcome: Comparison | None = None
    error: str = ""
    slower_us: float | None = None
    faster_us: float | None = None
    dearer_nano: float | None = None
    cheaper_nano: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it lets everything through."""
        return self == _OPEN

    @property
    def needs_payload(self) -> bool:
        """Whether it must see what was asked and answered."""
        return bool(self.text or self.decision or self.error)

    def passes_row(self, record: Record) -> bool:
        """Whether a call passes by what its row says."""
        if self.caller and self.caller != record.caller:
            return False
        if self.surface and self.surface != record.surface:
            return False
        took, nano = record.duration_us, record.cost_nano
        if self.slower_us is not None and took < self.slower_us:
            return False
        if self.faster_us is not None and took > self.faster_us:
            return False
        if self.dearer_nano is not None and (nano is None or nano < self.dearer_nano):
            return False
        return self.cheaper_nano is None or (nano is not None and nano <= self.cheaper_nano)

    def passes_payload(self, record: Record) -> bool:
        """Whether a whole record passes by its texts."""
        if self.text and not _has_text(record, self.text.casefold()):
            return False
        if self.error and not _has_error(record, self.error):
            return False
        if self.decision is None:
            return True
        found = _at(record.reply, self.decision.name)
        return any(self.decision.holds(value) for value in found)

    def passes_outcomes(self, outcomes: list[Outcome]) -> bool:
        """Whether a call passes by what became of it: the latest of the name counts."""
        if self.outcome is None:
            return True
        named = [one for one in outcomes if one.name == self.outcome.name]
        return bool(named) and self.outcome.holds(named[-1].value)


_OPEN = Sieve()


class Search(msgspec.Struct, frozen=True):
    """What is looked for: by index, and through a sieve."""

    wanted: CallFilter
    sieve: Sieve = _OPEN


def search_of(query: Mapping[str, str], span: Span | None) -> Search:
    """The search that an address means.

    Args:
        query: Of the address; what is empty does not restrict.
        span: When the calls were asked; None is any time.

    Raises:
        InputMismatch: A value cannot be read.
    """
    given = {name: text.strip() for name in (*FIELDS, "before") if (text := query.get(name, ""))}
    before = id_in(given["before"]) if "before" in given else None
    if before == "":
        raise InputMismatch("before", got=given["before"][:60], promised="a call id")
    wanted = CallFilter(
        integration=given.get("integration"),
        entity=given.get("entity"),
        status=_one_of(Status, "status", given.get("status")),
        reason=_one_of(Reason, "reason", given.get("reason")),
        release=_whole("release", given.get("release")),
        route=given.get("route"),
        variant=given.get("variant"),
        since_us=None if span is None else span.since_us,
        until_us=None if span is None else span.until_us,
        before_id=before,
    )
    sieve = Sieve(
        caller=given.get("caller", ""),
        surface=given.get("surface", ""),
        text=given.get("q", "")[:200],
        decision=_comparison("decision", given.get("decision", "")),
        outcome=_comparison("outcome", given.get("outcome", "")),
        error=given.get("error", "")[:100],
        slower_us=_number("slower", given.get("slower"), 1000),
        faster_us=_number("faster", given.get("faster"), 1000),
        dearer_nano=_number("dearer", given.get("dearer"), NANO),
        cheaper_nano=_number("cheaper", given.get("cheaper"), NANO),
    )
    return Search(wanted, sieve)


def id_in(text: str) -> str:
    """An id in its usual form; empty where the text is none."""
    try:
        return id_text(id_bytes(text.strip()))
    except ValueError:
        return ""


def _one_of(kind: Callable[[str], T], where: str, text: str | None) -> T | None:
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        raise InputMismatch(where, got=text[:60], promised=f"a {where} of calls") from None


def _whole(where: str, text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputMismatch(where, got=text[:60], promised="the number of a release")
    return int(text)


def _number(where: str, text: str | None, times: int) -> float | None:
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e12:
        raise InputMismatch(where, got=text[:60], promised="a number, such as 250 or 0.002")
    return found * times


def _comparison(where: str, text: str) -> Comparison | None:
    if not text:
        return None
    match = _COMPARISON.fullmatch(text[:300])
    if match is None:
        raise InputMismatch(
            where, got=text[:60], promised="a name, or a comparison: action = block, risk > 0.5"
        )
    return Comparison(match[1], match[2] or "", match[3] or "")


def _has_text(record: Record, wanted: str) -> bool:
    raws = (record.input, record.reply, record.prediction, record.context)
    if any(wanted in _text(raw) for raw in raws if raw):
        return True
    return record.problem is not None and wanted in record.problem.detail.casefold()


def _text(raw: bytes) -> str:
    """JSON as a person reads it: escapes of letters are undone."""
    if b"\\u" in raw:
        with contextlib.suppress(msgspec.DecodeError, UnicodeError):
            raw = msgspec.json.encode(msgspec.json.decode(raw))
    return raw.decode("utf-8", "replace").casefold()


def _has_error(record: Record, wanted: str) -> bool:
    codes = {one.ended for one in record.attempts}
    if record.problem is not None:
        codes.add(record.problem.code)
    return wanted in codes


def _at(raw: bytes | None, path: str) -> list[Any]:  # JSON values
    """What stands at a path such as `card.country`; nothing where nothing does."""
    if not raw:
        return []
    try:
        value: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        return []
    for name in path.split("."):
        fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        if name not in fields:
            return []
        value = fields[name]
    return [value]
