"""Reading monitors: every value looked at, bounds as numbers, every mistake named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, cast

import msgspec

from splice.core.errors import DeclarationError
from splice.core.monitors import ACTIONS, KINDS, SEVERITIES, Action, MonitorKind, PinnedMonitor
from splice.core.profiles import MEASURES as DISTANCES
from splice.core.quality import MEASURES as QUALITIES
from splice.core.rollout import WHOLE, share
from splice.core.units import duration_text, money, seconds
from splice.declare.monitors import Monitor

Wrong = Callable[[str, str, str, str], None]

MOST = 100
_LEAST_EVERY_S, _LONGEST_S = 10.0, 400 * 86_400.0
_MIN, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
FIGURES: dict[MonitorKind, tuple[str, ...]] = {
    "drift": (*DISTANCES, "text", "vector"),
    "latency": ("p50", "p95", "p99", "mean"),
    "share": ("errors", "fallbacks", "refused", "cached", "unlabelled"),
    "cost": ("call", "day"),
    "accuracy": tuple(QUALITIES),
    "outcome": (),  # any name
    "traffic": ("calls",),
    "reviews": ("overdue", "open"),
}


class _Usual(msgspec.Struct, frozen=True):
    window_s: float
    every_s: float
    for_s: float
    least: int


# Short windows where a minute counts, long ones where labels must come first. A minute of calls of
# a small integration tells nothing, so few of them do not fire.
_USUAL: dict[MonitorKind, _Usual] = {
    "drift": _Usual(_DAY, _HOUR, 0.0, 200),
    "latency": _Usual(5 * _MIN, _MIN, 2 * _MIN, 50),
    "share": _Usual(10 * _MIN, _MIN, 2 * _MIN, 50),
    "cost": _Usual(_HOUR, 5 * _MIN, 0.0, 20),
    "accuracy": _Usual(30 * _DAY, _HOUR, 0.0, 50),
    "outcome": _Usual(30 * _DAY, _HOUR, 0.0, 50),
    "traffic": _Usual(30 * _MIN, _MIN, 0.0, 0),
    "reviews": _Usual(_MIN, _MIN, 0.0, 0),
}


class _Mistake(Exception):
    """What is wrong with one monitor: got, promised, mend."""


class ReadMonitors(msgspec.Struct, frozen=True):
    """Monitors, read; with the currencies that their bounds are in."""

    monitors: tuple[PinnedMonitor, ...] = ()
    currencies: tuple[str, ...] = ()


def read_monitors(given: Any, *, retrains: bool, wrong: Wrong) -> ReadMonitors:
    """The monitors of a class; notes what is wrong with them.

    Args:
        given: What the class has.
        retrains: Whether it says how it is retrained.
        wrong: Notes a mistake.
    """
    listed: Any = [given] if isinstance(given, Monitor) else given
    if listed is None:
        return ReadMonitors()
    if not isinstance(listed, (list, tuple)):
        wrong("monitors", type(listed).__name__, "a list of splice.Monitor(…)", "put it in [ … ]")
        return ReadMonitors()
    read, currencies = list[PinnedMonitor](), list[str]()
    for one in cast("Sequence[Any]", listed):
        try:
            read.append(_Reader(one, currencies).read(retrains=retrains))
        except _Mistake as mistake:
            wrong("monitors", *mistake.args)
        except DeclarationError as error:
            wrong("monitors", f"{error.where} {error.got}", error.promised, error.mend)
    names = [one.name for one in read]
    for name in sorted({one for one in names if names.count(one) > 1}):
        wrong("monitors", f"two named {name!r}", "a name each", 'say which is which: name="…"')
    if len(read) > MOST:
        wrong("monitors", f"{len(read)} monitors", f"at most {MOST}", "keep those that you act on")
    return ReadMonitors(tuple(read), tuple(currencies))


class _Reader:
    """Reads one monitor."""

    def __init__(self, given: Any, currencies: list[str]) -> None:
        if not isinstance(given, Monitor):
            raise _Mistake(
                type(given).__name__, "a splice.Monitor",
                'write splice.Monitor(drift="psi", above=0.25)',
            )  # fmt: skip
        self._given = given
        self._currencies = currencies
        self._kind: MonitorKind
        self._kind, self._figure = self._watched()

    def read(self, *, retrains: bool) -> PinnedMonitor:
        """It, pinned.

        Raises:
            _Mistake: Something is wrong with it.
            DeclarationError: A duration or an amount is wrong.
        """
        given, usual = self._given, _USUAL[self._kind]
        if (self._kind, self._figure) == ("cost", "day"):
            usual = _Usual(_DAY, 5 * _MIN, 0.0, 1)
        above, below = self._bounds()
        window = self._duration("window", usual.window_s, _MIN)
        every = self._duration("every", min(usual.every_s, window), _LEAST_EVERY_S)
        against = None if given.against is None else self._against()
        return PinnedMonitor(
            name=self._name(),
            kind=self._kind,
            figure=self._figure,
            window_s=window,
            every_s=every,
            for_s=self._duration("for_", usual.for_s, 0.0),
            cooldown_s=self._duration("cooldown", 15 * _MIN, 0.0),
            least=self._least(usual.least),
            severity=self._one_of("severity", given.severity, SEVERITIES),
            then=self._then(retrains=retrains),
            above=above,
            below=below,
            clear=float(f"{self._clear(above, below):.12g}"),
            columns=self._columns(),
            segment=self._segment(),
            against_s=against,
            sure=bool(given.sure),
        )

    def _watched(self) -> tuple[MonitorKind, str]:
        said: list[tuple[MonitorKind, Any]] = [
            (kind, value) for kind in KINDS if (value := getattr(self._given, kind))
        ]
        if len(said) != 1:
            got = " and ".join(kind for kind, _ in said) or "nothing that is watched"
            raise _Mistake(got, f"one of {', '.join(KINDS)}", 'write latency="p99", for one')
        kind, figure = said[0]
        known = FIGURES[kind]
        plain = isinstance(figure, str) and _is_plain(figure, 64)
        if not plain or (known and figure not in known):
            names = ", ".join(known) or "the name of an outcome"
            raise _Mistake(f"{kind}={figure!r:.80}", f"one of {names}" if known else names,
                           f'write {kind}="{(known or ("defaulted",))[0]}"')  # fmt: skip
        return kind, figure

    def _bounds(self) -> tuple[float | None, float | None]:
        above, below = self._given.above, self._given.below
        if (above is None) == (below is None):
            got = "no bound" if above is None else "above and below"
            raise _Mistake(f"{self._kind} with {got}", "above= or below=",
                           "a band is two monitors: one above, one below")  # fmt: skip
        if above is not None:
            return self._number("above", above), None
        return None, self._number("below", below)

    def _number(self, name: str, given: Any) -> float:
        value = self._read_number(name, given)
        if not isfinite(value) or (value < 0 and self._kind != "outcome"):
            raise _Mistake(f"{name}={given!r:.80}", "a finite number, not below 0", f"mend {name}")
        if self._kind == "share" and self._given.against is None and value > 1:
            raise _Mistake(f"{name}={given!r:.80}", "a share from 0 to 1", 'write above="2 %"')
        return value

    def _read_number(self, name: str, given: Any) -> float:
        ratio = self._given.against is not None and self._kind != "drift"
        if isinstance(given, str) and not ratio:
            if self._kind == "latency":
                return seconds(given, name)
            if self._kind == "cost":
                amount = money(given, name)
                self._currencies.append(amount.currency)
                return amount.amount
        if isinstance(given, str) and given.rstrip().endswith("%") and not ratio:
            return share(given, name) / WHOLE
        if isinstance(given, str) and given.rstrip().endswith("%"):  # of before: 150 %
            try:
                return float(given.rstrip()[:-1].strip()) / 100
            except ValueError:
                pass
        if isinstance(given, bool) or not isinstance(given, (int, float)):
            raise _Mistake(f"{name}={given!r:.80}", "a number", f"mend {name}")
        return float(given)

    def _clear(self, above: float | None, below: float | None) -> float:
        if self._given.clear is not None:
            clear = self._number("clear", self._given.clear)
            bound = above if above is not None else below
            if bound is not None and (clear > bound if above is not None else clear < bound):
                raise _Mistake(f"clear={self._given.clear!r:.80}", "a value on the good side",
                               "leave it out: it is a tenth better than the bound")  # fmt: skip
            return clear
        if above is not None:
            return above - 0.1 * abs(above)
        bound = below or 0.0
        if self._kind == "traffic" and self._given.against is None:
            return bound  # one call is one call
        tenth = 0.1 * abs(bound)
        # A share cannot be a tenth above 95 %: there, a tenth of what is left.
        return bound + (min(tenth, 0.1 * (1 - bound)) if 0 < bound < 1 else tenth)

    def _duration(self, name: str, usual: float, least: float) -> float:
        given: Any = getattr(self._given, name)
        if given is None:
            return usual
        value = 0.0 if isinstance(given, (int, float)) and not given else seconds(given, name)
        if not least <= value <= _LONGEST_S:
            span = f"{duration_text(least) if least else '0'} to {duration_text(_LONGEST_S)}"
            raise _Mistake(f"{name}={given!r:.80}", span, f"mend {name}")
        return value

    def _against(self) -> float | None:
        if self._given.against == "training" and self._kind == "drift":
            return None
        return self._duration("against", 0.0, _MIN)

    def _least(self, usual: int) -> int:
        given: Any = self._given.least
        if given is None:
            return usual
        if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= 10**9:
            raise _Mistake(f"least={given!r:.80}", "a whole number", "write least=100")
        return given

    def _one_of(self, name: str, given: Any, known: Sequence[Any]) -> Any:
        if given not in known:
            raise _Mistake(f"{name}={given!r:.80}", f"one of {', '.join(known)}", f"mend {name}")
        return given

    def _then(self, *, retrains: bool) -> tuple[Action, ...]:
        given: Any = self._given.then
        listed: Any = [given] if isinstance(given, str) else given
        if not isinstance(listed, (list, tuple)):
            listed = [given]
        for one in cast("Sequence[Any]", listed):
            self._one_of("then", one, ACTIONS)
        if "retrain" in listed and not retrains:
            raise _Mistake('then="retrain", and no retrain()', "a way to retrain it",
                           "declare def retrain(self): return splice.Pipeline(…)")  # fmt: skip
        return tuple(one for one in ACTIONS if one == "alert" or one in listed)

    def _columns(self) -> tuple[str, ...]:
        given: Any = self._given.columns
        listed: Any = [given] if isinstance(given, str) else given
        if not isinstance(listed, (list, tuple)) or not all(
            isinstance(one, str) and _is_plain(one, 128) for one in cast("Sequence[Any]", listed)
        ):
            raise _Mistake(f"columns={given!r:.80}", "names of columns", 'write columns=["age"]')
        if listed and self._kind != "drift":
            raise _Mistake(f"columns of {self._kind}", "columns of drift", "leave columns out")
        return tuple(dict.fromkeys(cast("Sequence[str]", listed)))

    def _segment(self) -> str:
        given: Any = self._given.segment
        field, found, _ = given.partition("=") if isinstance(given, str) else ("", "", "")
        if given != "" and not (found and _is_plain(field, 64) and _is_plain(given, 200)):
            raise _Mistake(f"segment={given!r:.80}", "field=value", 'write segment="country=DE"')
        if given and self._kind not in ("drift", "accuracy") and self._figure != "unlabelled":
            raise _Mistake(f"segment of {self._kind}", "a segment of drift or accuracy",
                           "leave segment out")  # fmt: skip
        return given

    def _name(self) -> str:
        given: Any = self._given.name
        if given:
            if not isinstance(given, str) or not _is_plain(given, 80):
                raise _Mistake(f"name={given!r:.80}", "1 to 80 printable characters", "mend name")
            return given
        words = [self._kind, self._figure]
        if self._given.columns:
            words += ["of", ", ".join(self._columns())]
        if self._given.segment:
            words += ["where", self._segment()]
        if self._given.against not in (None, "training"):
            words += ["against", str(self._given.against)]
        return " ".join(words)[:80]


def _is_plain(text: str, most: int) -> bool:
    """Whether a text is one line that can be read: it stands in messages and commands."""
    return 0 < len(text) <= most and text.isprintable() and text.strip() == text
