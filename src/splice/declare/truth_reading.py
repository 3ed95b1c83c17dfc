"""Reading truths: every value looked at, paths and durations resolved, every mistake named."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from splice.core.errors import DeclarationError
from splice.core.truths import PinnedTruth, Task, Value
from splice.core.units import seconds
from splice.declare.truths import Truth

Wrong = Callable[[str, str, str, str], None]

MOST = 10
_MOST_SEGMENTS = 5
_LONGEST_S = 3660 * 86400.0
_NAME = re.compile(r"[A-Za-z_][\w.:-]{0,127}")
_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+){0,7}")
_DAYS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*days?\s*")


class _Mistake(Exception):
    """What is wrong with one truth: got, promised, mend."""


def read_truths(given: Any, wrong: Wrong) -> tuple[PinnedTruth, ...]:
    """The truths of a class; notes what is wrong with them."""
    if given is None:
        return ()
    listed: Any = [given] if isinstance(given, Truth) else given
    if not isinstance(listed, (list, tuple)):
        wrong(
            "truth", type(listed).__name__, "a splice.Truth, or several",
            'write truth = splice.Truth("defaulted")',
        )  # fmt: skip
        return ()
    read: list[PinnedTruth] = []
    for one in cast("Sequence[Any]", listed):
        try:
            read.append(_read(one))
        except _Mistake as mistake:
            wrong("truth", *mistake.args)
        except DeclarationError as error:
            wrong("truth", f"{error.where} {error.got}", error.promised, error.mend)
    names = [one.outcome for one in read]
    twice = {name for name in names if names.count(name) > 1}
    if twice or len(read) > MOST:
        what = f"{min(twice)} twice" if twice else f"{len(read)} truths"
        wrong("truth", what, f"each outcome once, at most {MOST}", "take one away")
    return tuple(read)


def check_fields(truths: Sequence[PinnedTruth], reply: Any, wrong: Wrong) -> None:
    """Notes fields that replies have not: no call would foretell anything, and nobody be told.

    Replies that are no Struct are not looked into: their names on the wire are their own affair.
    """
    if not (isinstance(reply, type) and issubclass(reply, msgspec.Struct)):
        return
    names = [field.encode_name for field in msgspec.structs.fields(reply)]
    for truth in truths:
        for word in ("score", "predicted"):
            root, _, path = getattr(truth, word).partition(".")
            field = path.partition(".")[0]
            if root == "reply" and field not in names:
                wrong(
                    "truth", f"{word}={path!r}, which a {reply.__name__} has not",
                    f"one of {', '.join(names)}", "name one of them, or prediction.score",
                )  # fmt: skip


def _read(one: Any) -> PinnedTruth:
    if not isinstance(one, Truth):
        raise _Mistake(type(one).__name__, "a splice.Truth", 'write splice.Truth("defaulted")')
    _name(one.outcome)
    try:
        task = Task(one.task)
    except ValueError:
        raise _Mistake(
            f"task={one.task!r}", f"one of {', '.join(Task)}", 'write task="classification"'
        ) from None
    _belongs(one, task)
    matures_s = _duration(one.matures, "matures")
    return PinnedTruth(
        outcome=one.outcome,
        task=task,
        matures_s=matures_s,
        within_s=matures_s if one.within is None else _duration(one.within, "within"),
        score=_path(one.score, "score"),
        predicted=_path(one.predicted, "predicted"),
        positive=_values(one.positive, "positive") if task is Task.CLASSIFICATION else (),
        foretold=_values(one.foretold, "foretold"),
        threshold=_number(one.threshold, "threshold", 0, 1),
        absent=_absent(one, task),
        good=_number(one.good, "good", -math.inf, math.inf),
        at=_places(one.at),
        segments=_segments(one.segments),
    )


_OF_TASK = {
    "score": (Task.CLASSIFICATION,),
    "threshold": (Task.CLASSIFICATION,),
    "foretold": (Task.CLASSIFICATION,),
    "absent": (Task.CLASSIFICATION, Task.RANKING),
    "good": (Task.RATING,),
    "at": (Task.RANKING,),
    "predicted": (Task.CLASSIFICATION, Task.REGRESSION, Task.RANKING),
}


def _belongs(one: Truth, task: Task) -> None:
    """A word that this task does not know would be ignored, and its promise with it."""
    for name, tasks in _OF_TASK.items():
        if getattr(one, name) not in (None, "") and task not in tasks:
            raise _Mistake(
                f"{name}={getattr(one, name)!r} of a {task}",
                f"{name} of a {' or a '.join(tasks)}", f"leave {name} out",
            )  # fmt: skip
    if task is Task.RANKING and not one.predicted:
        raise _Mistake(
            "a ranking without predicted", "the field of the reply that is the list",
            'write predicted="items"',
        )  # fmt: skip
    if one.positive is None and (one.foretold is not None or one.threshold is not None):
        raise _Mistake(
            "foretold or threshold with several classes", "the name of a class in predicted",
            "leave them out, or name a positive value",
        )  # fmt: skip


def _name(given: Any) -> None:
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise _Mistake(
            f"outcome {given!r:.80}", "a name such as defaulted", 'write splice.Truth("defaulted")'
        )


def _path(given: Any, name: str) -> str:
    if given == "":
        return ""
    if not isinstance(given, str) or not _PATH.fullmatch(given):
        raise _Mistake(
            f"{name}={given!r:.80}", "a field of the reply, or prediction.score", f"mend {name}"
        )
    return given if given.partition(".")[0] in ("reply", "prediction") else f"reply.{given}"


def _duration(given: Any, name: str) -> float:
    days = _DAYS.fullmatch(given) if isinstance(given, str) else None
    found = seconds(f"{days[1]} d" if days else given, name)
    if found > _LONGEST_S:
        raise _Mistake(f"{name}={given!r}", "at most ten years", f"mend {name}")
    return found


def _values(given: Any, name: str) -> tuple[Value, ...]:
    if given is None:
        return ()
    listed = cast("Sequence[Any]", given if isinstance(given, (list, tuple)) else [given])
    for value in listed:
        if not isinstance(value, (bool, int, float, str)):
            raise _Mistake(f"{name}={given!r:.80}", "true, a number or a text", f"mend {name}")
    if not listed or len({isinstance(value, str) for value in listed}) > 1:
        raise _Mistake(f"{name}={given!r:.80}", "values of one kind", f"mend {name}")
    # As they come back out of a ledger, for a release keeps its digest through one.
    return tuple(one if isinstance(one, (bool, str)) else float(one) for one in listed)


def _number(given: Any, name: str, low: float, high: float) -> float | None:
    if given is None:
        return None
    real = isinstance(given, (int, float)) and not isinstance(given, bool)
    if not real or not math.isfinite(given) or not low <= given <= high:
        span = "" if math.isinf(high) else f" from {low:g} to {high:g}"
        raise _Mistake(f"{name}={given!r:.80}", f"a number{span}", f"mend {name}")
    return float(given)


def _places(given: Any) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= 100:
        raise _Mistake(f"at={given!r:.80}", "a whole number from 1 to 100", "write at=10")
    return given


def _absent(one: Truth, task: Task) -> Value | None:
    given: Any = one.absent
    if given is None:
        return None
    if task is Task.RANKING or (task is Task.CLASSIFICATION and one.positive is not None):
        if given is not False:
            raise _Mistake(
                f"absent={given!r:.80}", "False: what does not come did not happen",
                "write absent=False",
            )  # fmt: skip
    elif not isinstance(given, str):
        raise _Mistake(f"absent={given!r:.80}", "the name of a class", 'write absent="none"')
    return given


def _segments(given: Any) -> tuple[str, ...]:
    listed: Any = [given] if isinstance(given, str) else given
    if not isinstance(listed, (list, tuple)):
        raise _Mistake(f"segments={given!r:.80}", "fields of the request", 'write ["country"]')
    fields = cast("Sequence[Any]", listed)
    for one in fields:
        if not isinstance(one, str) or not _PATH.fullmatch(one):
            raise _Mistake(f"segments={given!r:.80}", "fields of the request", 'write ["country"]')
    if len(fields) > _MOST_SEGMENTS:
        raise _Mistake(
            f"{len(fields)} segments", f"at most {_MOST_SEGMENTS}", "keep the ones that matter"
        )
    return tuple(fields)
