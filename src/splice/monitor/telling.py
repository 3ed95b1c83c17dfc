"""Telling: news of alerts becomes messages, one for each channel and integration at a time.

A message is stored before it is tried, under an id that it keeps, and marked as sent after its
channel took it. So whatever is killed when, none is lost; one that was killed between the two comes
again under the same id. While a message of an integration waits for its channel, further news of it
is gathered for the next: a channel that was away for a day gets two messages, not a hundred.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping

import msgspec

from splice.core.alerts import Alert, Message, Note
from splice.core.errors import BusError, StoreError
from splice.monitor.words import one_line
from splice.ports.alerts import AlertStore
from splice.ports.notifiers import Notifier

log = logging.getLogger("splice.monitors")

HELD_US = 120_000_000
"""How long a message is held by who tries it; a notifier must be done sooner."""
KEPT_US = 30 * 86_400_000_000
"""How long messages that were sent are kept."""
_FIRST_S, _MOST_S = 5.0, 900.0
_REFUSED_MOST = 5
_ALERTS_MOST = 50


class Pace(msgspec.Struct, frozen=True):
    """How news is gathered: it waits for more of its kind, and messages keep their distance.

    Attributes:
        wait_s: How long the first news waits for others.
        distance_s: How long after a message of an integration the next comes, unless it tells of a
            new critical alert.
    """

    wait_s: float = 10.0
    distance_s: float = 300.0


class Teller:
    """Tells channels of alerts.

    Args:
        store: Notes and messages.
        notifiers: By name of the channel.
        pace: How news is gathered.
        new_id: Gives a fresh UUIDv7.
    """

    def __init__(
        self,
        store: AlertStore,
        notifiers: Mapping[str, Notifier],
        pace: Pace,
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._notifiers = dict(notifiers)
        self._pace = pace
        self._new_id = new_id
        self._chance = random.Random()  # noqa: S311 - it spreads tries, and hides nothing
        self._trouble: dict[str, str] = {}

    def look(self, now_us: int) -> int:
        """Gather what waits, and try what is due; gives how many messages were taken."""
        if not self._notifiers:
            return 0
        waiting = self._store.messages()
        self._gather(waiting, now_us)
        sent, away = 0, set[str]()
        for message in self._store.messages():
            due = not now_us < message.due_us <= now_us + round(2 * _MOST_S * 1e6)
            if due and message.channel in self._notifiers and message.channel not in away:
                if self._try(message, now_us):
                    sent += 1
                else:
                    away.add(message.channel)  # its other messages would wait as long, for nothing
        self._store.prune(now_us - KEPT_US)
        return sent

    def close(self) -> None:
        """Hang up."""
        for one in self._notifiers.values():
            one.close()

    def _gather(self, waiting: list[Message], now_us: int) -> None:
        busy = {(one.channel, one.integration) for one in waiting}
        groups: dict[tuple[str, str], list[Note]] = defaultdict(list)
        for name in self._notifiers:  # each by itself: one that is away must not hide the others
            for note in self._store.waiting_notes([name]):
                groups[name, note.integration].append(note)
        for (channel, integration), notes in groups.items():
            if (channel, integration) in busy or not self._is_time(notes, now_us):
                continue
            found = [self._store.alert(one) for one in dict.fromkeys(note.alert for note in notes)]
            alerts = tuple(one for one in found if one is not None)[:_ALERTS_MOST]
            self._store.gather(
                Message(
                    self._new_id(), channel, integration, "waiting", now_us, tuple(notes),
                    tuple(map(_without_revision, alerts)),
                )
            )  # fmt: skip

    def _is_time(self, notes: list[Note], now_us: int) -> bool:
        first = min(one.at_us for one in notes)
        if 0 <= now_us - first < self._pace.wait_s * 1e6:
            return False
        if any(one.kind == "opened" and one.severity == "critical" for one in notes):
            return True
        last = self._store.last_sent_us(notes[0].channel, notes[0].integration)
        return not 0 <= now_us - last < self._pace.distance_s * 1e6

    def _try(self, message: Message, now_us: int) -> bool:
        """Whether its channel is there; what another tries at the same time is left to him."""
        token = uuid.uuid4().hex
        if not self._store.take_message(message, token, now_us, now_us + HELD_US):
            return True
        tried = msgspec.structs.replace(message, attempts=message.attempts + 1, token=token)
        try:
            self._notifiers[message.channel].tell(message)
        except BusError as error:
            self._say(message.channel, str(error))
            refused = not error.retryable and tried.attempts >= _REFUSED_MOST
            wait_s = min(_MOST_S, _FIRST_S * 2 ** min(message.attempts, 20))
            wait_s = max(wait_s * self._chance.uniform(0.75, 1.0), min(error.retry_after, _MOST_S))
            later = msgspec.structs.replace(
                tried, state="refused" if refused else "waiting",
                due_us=now_us + round(wait_s * 1e6), error=one_line(str(error)),
            )  # fmt: skip
            self._store.save_message(later)
            return refused
        self._say(message.channel, "")
        try:
            self._store.save_message(msgspec.structs.replace(tried, state="sent", error=""))
        except StoreError as error:  # it is told again, under the same id
            log.warning("message %s is sent, and not noted so: %s", message.id, error)
        return True

    def _say(self, channel: str, trouble: str) -> None:
        if self._trouble.get(channel, "") != trouble:
            self._trouble[channel] = trouble
            if trouble:
                log.warning("channel %s is not told for now: %s", channel, trouble)
            else:
                log.info("channel %s is told again", channel)


def _without_revision(alert: Alert) -> Alert:
    return msgspec.structs.replace(alert, revision=0)
