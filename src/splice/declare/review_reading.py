"""Reading what is declared of reviews: conditions and durations resolved, every mistake named."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from splice.core.errors import DeclarationError
from splice.core.monitors import PinnedMonitor
from splice.core.reviews import PinnedCondition, PinnedReview, Terms, Test
from splice.core.rollout import share
from splice.core.truths import PinnedTruth, Task, Value
from splice.core.units import duration_text, seconds
from splice.declare.codec import Codec
from splice.declare.reviews import Review
from splice.declare.spec import Log

Wrong = Callable[[str, str, str, str], None]

_MOST_ALTERNATIVES, _MOST_CONDITIONS, _MOST_VALUES, _MOST_REASONS = 10, 10, 100, 30
_LONGEST_S = 3660 * 86_400.0
_NAME = re.compile(r"[A-Za-z_][\w.:-]{0,62}")
_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+){0,7}")
_CONDITION = re.compile(r"\s*(<=|>=|!=|<|>|=)\s*(.*?)\s*", re.ASCII | re.DOTALL)
_TESTS: dict[str, Test] = {
    "<": "<", "<=": "<=", ">": ">", ">=": ">=", "!=": "is not", "=": "is",
}  # fmt: skip


class _Mistake(Exception):
    """What is wrong with it: got, promised, mend."""


def read_review(
    given: Any, log: Log | None, truths: Sequence[PinnedTruth], wrong: Wrong
) -> PinnedReview | None:
    """What is pinned of it; notes what is wrong with it."""
    if given is None:
        return None
    if not isinstance(given, Review):
        wrong("review", type(given).__name__, "a splice.Review", "write review = splice.Review(…)")
        return None
    try:
        return _read(given, log, truths)
    except _Mistake as mistake:
        wrong("review", *mistake.args)
    except DeclarationError as error:
        wrong("review", f"{error.where} {error.got}", error.promised, error.mend)
    return None


def check_paths(
    review: PinnedReview | None, request: Codec | None, reply: Codec | None, wrong: Wrong
) -> None:
    """Notes fields that requests and replies have not, and values that none of them can be.

    Such a condition would never hold: calls that a person must look at would pass by, silently.

    Args:
        review: What was read.
        request: Type of the request; None where it has mistakes of its own.
        reply: That of the reply.
        wrong: Notes a mistake.
    """
    if review is None or request is None or reply is None:
        return
    schemas = {"reply": reply.schema(), "request": request.schema()}
    for one in (one for conditions in review.when for one in conditions):
        root, _, path = one.path.partition(".")
        field = _field(schemas[root], path) if root in schemas else {}
        if isinstance(field, list):
            wrong(
                "review", f"when={{{one.path!r}: …}}, which a {root} has not",
                f"one of {', '.join(field)}", "name one of them, or prediction.score",
            )  # fmt: skip
            continue
        known = _values_of(field)
        for value in one.values if known is not None and one.test in ("is", "is not") else ():
            if known is not None and value not in known:
                wrong(
                    "review", f"{one.path} {one.test} {value!r}, which it never is",
                    f"one of {', '.join(map(repr, known))}", "mend when",
                )  # fmt: skip
    if review.terms.value:
        path = review.terms.value.partition(".")[2]
        field = _field(schemas["reply"], path)
        if isinstance(field, list):
            wrong(
                "review", f"value={path!r}, which a reply has not",
                f"one of {', '.join(field)}", "name one of them",
            )  # fmt: skip
        elif field.get("type") in ("array", "object"):
            wrong(
                "review", f"value={path!r}, which is no single value",
                "a text, a number, true or false", "name a field of it, or leave value out",
            )  # fmt: skip


def overdue_monitor(
    review: PinnedReview | None, monitors: Sequence[PinnedMonitor]
) -> tuple[PinnedMonitor, ...]:
    """The one that a service level needs where no other of its kind is declared.

    Without it, nobody would be told.
    """
    if review is None or any(one.kind == "reviews" for one in monitors):
        return ()
    overdue = PinnedMonitor(
        name="reviews overdue", kind="reviews", figure="overdue", window_s=60.0, every_s=60.0,
        for_s=0.0, cooldown_s=60.0, least=0, severity="warning", then=("alert",), above=0.0,
        clear=0.0,
    )  # fmt: skip
    return (overdue,)


def _read(given: Review, log: Log | None, truths: Sequence[PinnedTruth]) -> PinnedReview:
    when = _when(given.when)
    counted = share(given.share, "share")
    if log is not None and log.keep < 1 and when:
        raise _Mistake(
            f"when={given.when!r:.80} with log.keep={log.keep:g}",
            "calls whose texts are all kept: of what is not kept no condition can be read",
            "write log = splice.Log(keep=1), or review a share",
        )
    within_s = _duration(given.within, "within")
    expires_s = None if given.expires is None else _duration(given.expires, "expires")
    if expires_s is not None and expires_s < within_s:
        raise _Mistake(
            f"expires={given.expires!r} before within={given.within!r}",
            f"at least {duration_text(within_s)}", "give people the time that was promised",
        )  # fmt: skip
    if not isinstance(cast("Any", given.four_eyes), bool):
        raise _Mistake(f"four_eyes={given.four_eyes!r:.80}", "True or False", "mend four_eyes")
    outcome, value = _outcome(given, truths)
    terms = Terms(within_s, expires_s, given.four_eyes, _reasons(given.reasons), outcome, value)
    return PinnedReview(when, counted, terms)


def _when(given: Any) -> tuple[tuple[PinnedCondition, ...], ...]:
    listed: Any = [given] if isinstance(given, Mapping) else given
    if not isinstance(listed, (list, tuple)) or len(cast("Sequence[Any]", listed)) > (
        _MOST_ALTERNATIVES
    ):
        raise _Mistake(
            f"when={given!r:.80}", "a mapping of fields, or a list of them",
            'write when={"action": "review"}',
        )  # fmt: skip
    return tuple(map(_conditions, cast("Sequence[Any]", listed)))


def _conditions(given: Any) -> tuple[PinnedCondition, ...]:
    if not isinstance(given, Mapping) or not given:
        raise _Mistake(
            f"when={given!r:.80}", "a mapping of fields to values",
            'write when={"action": "review"}',
        )  # fmt: skip
    fields = cast("Mapping[Any, Any]", given)
    if len(fields) > _MOST_CONDITIONS:
        raise _Mistake(f"{len(fields)} conditions", f"at most {_MOST_CONDITIONS}", "write fewer")
    return tuple(_condition(path, wanted) for path, wanted in fields.items())


def _condition(path: Any, wanted: Any) -> PinnedCondition:
    full = _path(path, "when")
    if isinstance(wanted, (list, tuple)):
        values = cast("Sequence[Any]", wanted)
        if not 0 < len(values) <= _MOST_VALUES:
            raise _Mistake(f"{path}: {wanted!r:.80}", "1 to 100 values", "mend when")
        return PinnedCondition(full, "is", tuple(_value(one, path) for one in values))
    found = _CONDITION.fullmatch(wanted) if isinstance(wanted, str) else None
    if found is None:
        return PinnedCondition(full, "is", (_value(wanted, path),))
    test, text = _TESTS[found[1]], found[2]
    number = _number(text)
    if test in ("is", "is not"):
        return PinnedCondition(full, test, (text if number is None else number,))
    if number is None:
        raise _Mistake(
            f"{path}: {wanted!r:.80}", "a number after the sign",
            f"write {{{path!r}: [{wanted!r}]}} where that is the value itself",
        )  # fmt: skip
    return PinnedCondition(full, test, (number,))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _value(given: Any, path: Any) -> Value:
    # As it comes back out of a ledger, for a release keeps its digest through one.
    if isinstance(given, (bool, str)):
        return given
    if isinstance(given, (int, float)) and math.isfinite(given):
        return float(given)
    raise _Mistake(f"{path}: {given!r:.80}", "true, a number or a text", "mend when")


def _path(given: Any, name: str) -> str:
    if not isinstance(given, str) or not _PATH.fullmatch(given):
        raise _Mistake(
            f"{name}={given!r:.80}", "a field of the reply, or prediction.score", f"mend {name}"
        )
    roots = ("reply", "prediction", "request")
    root, dot, _ = given.partition(".")
    return given if dot and root in roots else f"reply.{given}"


def _duration(given: Any, name: str) -> float:
    found = seconds(given, name)
    if not 1 <= found <= _LONGEST_S:
        raise _Mistake(f"{name}={given!r:.80}", "1 s to ten years", f"mend {name}")
    return found


def _reasons(given: Any) -> tuple[str, ...]:
    listed: Any = [given] if isinstance(given, str) else given
    plain = isinstance(listed, (list, tuple)) and all(
        isinstance(one, str) and 0 < len(one) <= 120 and one.isprintable() and one.strip() == one
        for one in cast("Sequence[Any]", listed)
    )
    if not plain or len(cast("Sequence[Any]", listed)) > _MOST_REASONS:
        raise _Mistake(
            f"reasons={given!r:.80}", "up to 30 short texts", 'write reasons=["wrong amount"]'
        )
    return tuple(dict.fromkeys(cast("Sequence[str]", listed)))


def _outcome(given: Review, truths: Sequence[PinnedTruth]) -> tuple[str, str]:
    name: Any = given.outcome
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _Mistake(f"outcome={name!r:.80}", "a name such as reviewed", "mend outcome")
    value = _path(given.value, "value") if given.value else ""
    if value and not value.startswith("reply."):
        raise _Mistake(f"value={given.value!r:.80}", "a field of the reply", "mend value")
    truth = next((one for one in truths if one.outcome == name), None)
    if truth is not None and not value and truth.task is not Task.RATING:
        raise _Mistake(
            f"outcome={name!r} of a {truth.task} without a value",
            "the field of the reply that the truth is compared with: that a person agreed does not "
            "say that it happened",
            'write value="action", or a truth with task="rating"',
        )
    if truth is not None and value and truth.task is Task.RANKING:
        raise _Mistake(
            f"outcome={name!r} of a ranking", "an outcome of one value", "take another outcome"
        )
    return name, value


def _field(schema: Mapping[str, Any], path: str) -> dict[str, Any] | list[str]:
    """The schema of a field; the names of those that there are, where there is no such.

    `{}` where the schema does not tell.
    """
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    found: Any = schema
    for name in path.split("."):
        found = _plain(found, definitions)
        fields = found.get("properties")
        if not fields:
            return {}
        if name not in fields:
            extra = found.get("additionalProperties", True)
            return {} if extra and extra is not True else list(fields)
        found = fields[name]
    return _plain(found, definitions)


def _plain(schema: Any, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Through references, and past what it may be besides null."""
    for _ in range(20):
        if not isinstance(schema, Mapping):
            return {}
        found = cast("dict[str, Any]", schema)
        if "$ref" in found:
            schema = definitions.get(str(found["$ref"]).rpartition("/")[2], {})
            continue
        others = [one for one in found.get("anyOf", ()) if one != {"type": "null"}]
        if len(others) != 1:
            return found
        schema = others[0]
    return {}


def _values_of(field: Mapping[str, Any]) -> list[Any] | None:
    """All that a field can be; None where that is not bounded."""
    if "enum" in field:
        return list(field["enum"])
    if "const" in field:
        return [field["const"]]
    return [True, False] if field.get("type") == "boolean" else None
