"""What monitors found, and alerts: opened, acknowledged, acted upon, resolved."""

from __future__ import annotations

from typing import Literal

import msgspec

from splice.core.monitors import Action, PinnedMonitor, Severity

FindingState = Literal["fine", "waiting", "firing", "cooling", "too few", "cannot tell"]
"""`waiting` is beyond the bound, and not yet for as long as it must be; `cooling` is fine again,
and not yet for as long as that must be; `too few` calls or labels tell nothing; `cannot tell` is a
monitor that failed."""

AlertState = Literal["open", "resolved"]
AlertKind = Literal["firing", "cannot tell"]
DeedState = Literal["wanted", "done", "refused"]
NoteKind = Literal["opened", "resolved", "still open", "acted"]
MessageState = Literal["waiting", "sent", "refused"]

MONITOR = "splice monitor"
"""Who does what no person did."""


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the figures that a finding rests on: of a column, a route, a segment."""

    name: str
    value: float
    low: float | None = None  # of its 95 % interval; None where it has none
    high: float | None = None
    count: int = 0
    beyond: bool = False  # the bound
    words: str = ""  # what became different, where that can be said: "median 12 -> 18"


class Measured(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a monitor measured, in the base unit of its figure.

    `value` is None where there was nothing to measure. `calls` are ids of calls that show it.
    """

    value: float | None
    count: int  # calls, or labels, that it rests on
    since_us: int  # the window: from here
    until_us: int  # to before here
    beyond: bool = False  # the bound: surely, where the monitor wants to be sure
    low: float | None = None
    high: float | None = None
    compared: str = ""  # with what, in words; empty where the bound is all
    parts: tuple[Part, ...] = ()  # worst first
    calls: tuple[str, ...] = ()
    release: int = 0  # that answered in the window; 0 where that may be several
    unit: str = ""  # "EUR" of costs


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """The newest answer to a monitor's question; one a monitor."""

    integration: str
    monitor: str  # its name
    state: FindingState
    at_us: int  # when it was evaluated
    since_us: int  # since when it is in this state
    release: int  # the live one, whose monitor it is
    asked: PinnedMonitor
    why: str  # in a sentence, with the figures
    measured: Measured | None = None
    beyond_us: int = 0  # since when it is beyond its bound without a break; 0 where it is not
    blind_us: int = 0  # since when it cannot tell without a break; 0 where it can
    alert: str = ""  # id of the open alert of kind `firing`; empty where there is none
    blind: str = ""  # id of the open alert of kind `cannot tell`
    fine_us: int = 0  # since when it is fine again, while an alert is open; 0 where it is not
    revision: int = 0  # of the row: whoever saves it names the one that he saw


class Deed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an alert wants done; `wanted` until it is. `detail` says what came of it."""

    action: Action
    state: DeedState = "wanted"
    at_us: int = 0
    detail: str = ""
    attempts: int = 0


class Alert(msgspec.Struct, frozen=True, omit_defaults=True):
    """One firing of a monitor, or one time in which it cannot tell."""

    id: str  # UUIDv7
    integration: str
    monitor: str
    kind: AlertKind
    state: AlertState
    severity: Severity
    release: int  # the live one when it opened
    opened_us: int
    why: str  # when it opened, in a sentence with the figures
    asked: PinnedMonitor
    measured: Measured | None = None  # when it opened
    worst: float | None = None  # of the figure while it was open
    deeds: tuple[Deed, ...] = ()
    muted: bool = False  # nobody was told, and nothing done, while it was muted
    told_us: int = 0  # when messages of it were last asked for; 0 where never
    acknowledged_us: int = 0
    acknowledged_by: str = ""
    acknowledged_why: str = ""
    resolved_us: int = 0
    resolved_why: str = ""
    revision: int = 0

    @property
    def wants_review(self) -> bool:
        """Whether it marks the integration for review by a person."""
        return any(one.action == "review" for one in self.deeds)


class Note(msgspec.Struct, frozen=True):
    """One piece of news for one channel; several become one message."""

    channel: str
    integration: str
    alert: str  # its id
    kind: NoteKind
    at_us: int
    severity: Severity
    text: str  # a sentence
    number: int = 0  # in the store; 0 where it is not there yet
    name: str = ""  # of what it tells, where that is no alert: "incident", "trial"


class Message(msgspec.Struct, frozen=True):
    """What a channel is to be told, or was: all the notes of one integration that waited.

    Its id stays the same however often it is tried, so that a receiver can tell one that came
    twice.
    """

    id: str  # UUIDv7
    channel: str
    integration: str
    state: MessageState
    at_us: int  # when it was put together
    notes: tuple[Note, ...]
    alerts: tuple[Alert, ...]  # that the notes are of, as they were then
    due_us: int = 0  # not to be tried before
    attempts: int = 0
    error: str = ""  # of the last attempt
    token: str = ""  # of whoever tries it now


class Mute(msgspec.Struct, frozen=True):
    """Until when a monitor tells nobody and does nothing; it is evaluated all the same."""

    integration: str
    monitor: str  # empty: all of the integration
    until_us: int
    by: str
    why: str = ""
