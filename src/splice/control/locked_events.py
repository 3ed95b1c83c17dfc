"""Events behind locks: bodies that wait in the ledger are enciphered, as records are.

A body that is locked names its integration, then comes its envelope. Its key is in there too: in
its place stands an HMAC, the same for the same key, so that what has one keeps its order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from splice.control.locks import Locks, nobody
from splice.core.erasure import ERASED
from splice.core.errors import StoreError
from splice.core.events import DeadLetter, Event, Message, Settled
from splice.core.persons import person_in
from splice.core.protection import PinnedProtection
from splice.core.vault_errors import KeyGone, KeyMissing
from splice.ports.events import DeadLetterStore, EventStore, OutboxStore, QueueStore, Waiting

log = logging.getLogger("splice.encryption")

MARK = b"\xc1SPE\x01"
_PLACE = b"event"
_dead = attrgetter("dead")


class EventTexts(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What of an event is enciphered. The order is the format: add at the end only."""

    key: bytes | None
    value: bytes | None
    detail: str = ""


_texts = msgspec.msgpack.Decoder(EventTexts).decode


class EventLocks:
    """Locks and opens events and messages.

    Args:
        locks: Those of records.
    """

    def __init__(self, locks: Locks) -> None:
        self.locks = locks

    def plan(self, integration: str) -> PinnedProtection | None:
        """What is declared now, where texts are to be encrypted."""
        found = self.locks.protections.live(integration)
        return found if found is not None and found.encrypt else None

    def locked(
        self, integration: str, person: str, texts: EventTexts
    ) -> tuple[bytes | None, bytes]:
        """Key and value as they may be written."""
        chain = self.locks.keychain()
        (envelope,) = chain.seal([((chain.tag(person), integration), texts, _PLACE)], alike=True)
        name = integration.encode()
        key = (
            None if texts.key is None else chain.tag(texts.key.decode("utf-8", "backslashreplace"))
        )
        return key, MARK + len(name).to_bytes(2) + name + envelope

    def opened(self, value: bytes) -> EventTexts:
        """What is in a locked value.

        Raises:
            KeyGone, KeyMissing: Nobody can read it any more, or not here.
            StoreError: Keys cannot be had now.
        """
        start = len(MARK) + 2
        end = start + int.from_bytes(value[len(MARK) : start])
        integration = value[start:end].decode()
        return _texts(self.locks.keychain().open(integration, value[end:], _PLACE))


def is_locked(value: bytes | None) -> bool:
    """Whether a value is locked."""
    return value is not None and value.startswith(MARK)


def _person(value: bytes | None, path: str, now_us: int) -> str:
    """Whom a body is about; whoever stands for nobody where that cannot be told."""
    return (person_in(value, path) if path else "") or nobody(now_us // 1000)


class LockedEvents:
    """An EventStore with locks: records, dead letters and messages that wait in the ledger."""

    def __init__(self, events: EventStore, events_locks: EventLocks) -> None:
        self._events = events
        self._locks = events_locks
        self.answered = events.answered
        self.prepare = events.prepare
        self.prune_inbox = events.prune_inbox
        self.begin = events.begin
        self.end = events.end
        self.marks = events.marks
        self.count_attempt = events.count_attempt
        self.attempts = events.attempts

    def settle(
        self, settled: Sequence[Settled], *, sent: Sequence[int] = (), now_us: int
    ) -> Sequence[Settled]:
        """Store what became of events, in one transaction, durable on return."""
        locked = self._locked(settled, now_us)
        late = self._events.settle(locked, sent=sent, now_us=now_us)
        if locked is settled or not late:
            return late
        given = {id(mine): theirs for mine, theirs in zip(locked, settled, strict=True)}
        return [given.get(id(one), one) for one in late]

    def _locked(self, settled: Sequence[Settled], now_us: int) -> Sequence[Settled]:
        records = [one.record for one in settled if one.record is not None]
        mine = self._locks.locks.locked(records)
        if mine is records and not any(map(_dead, settled)):
            return settled
        locked = iter(mine)
        done = [self._one(one, one.record and next(locked), now_us) for one in settled]
        changed = any(a is not b for a, b in zip(done, settled, strict=True))
        return done if changed else settled

    def _one(self, one: Settled, record: Any, now_us: int) -> Settled:
        dead, messages = one.dead, one.messages
        if dead is not None and (plan := self._locks.plan(dead.integration)) is not None:
            dead = self._dead(dead, plan, now_us)
        if messages and record is not None and record is not one.record:
            original: Any = one.record
            person = self._locks.locks.person(original)
            messages = tuple([self._message(record.integration, person, m) for m in messages])
        if record is one.record and dead is one.dead and messages is one.messages:
            return one
        return msgspec.structs.replace(one, record=record, dead=dead, messages=messages)

    def _dead(self, dead: DeadLetter, plan: PinnedProtection, now_us: int) -> DeadLetter:
        event = dead.event
        person = _person(event.value, plan.person, now_us)
        key, value = self._locks.locked(
            dead.integration, person, EventTexts(event.key, event.value, dead.detail)
        )
        event = msgspec.structs.replace(event, key=key, value=value)
        return msgspec.structs.replace(dead, event=event, detail="")

    def _message(self, integration: str, person: str, message: Message) -> Message:
        if message.target.startswith("table:"):
            return message  # a table of the application's own, which it asked for
        key, value = self._locks.locked(integration, person, EventTexts(message.key, message.value))
        return msgspec.structs.replace(message, key=key, value=value)


class LockedOutbox:
    """An OutboxStore with locks: who sends gets what is to be sent."""

    def __init__(self, outbox: OutboxStore, events_locks: EventLocks) -> None:
        self._outbox = outbox
        self._locks = events_locks
        self.sent = outbox.sent
        self.postpone = outbox.postpone
        self.let_go = outbox.let_go
        self.give_up = outbox.give_up
        self.send_again = outbox.send_again
        self.outbox_size = outbox.outbox_size

    def take_outbox(
        self, schemes: Sequence[str], limit: int, holder: str, *, now_us: int, lease_us: int,
        without: Sequence[str] = (),
    ) -> list[Waiting]:  # fmt: skip
        """The oldest messages that are due, in their order, leased to `holder`."""
        taken = self._outbox.take_outbox(
            schemes, limit, holder, now_us=now_us, lease_us=lease_us, without=without
        )
        found: list[Waiting] = []
        try:
            for one in taken:
                try:
                    found.append(self._opened(one))
                except (KeyGone, KeyMissing) as error:
                    gone = isinstance(error, KeyGone)
                    self._outbox.give_up(one.number, why=ERASED if gone else str(error))
        except StoreError:
            self._outbox.let_go([one.number for one in taken], due_us=now_us)
            raise
        return found

    def outbox(self, *, given_up: bool = False, after: int = 0, limit: int = 100) -> list[Waiting]:
        """Messages to be seen by people, the oldest first."""
        found: list[Waiting] = []
        for one in self._outbox.outbox(given_up=given_up, after=after, limit=limit):
            try:
                found.append(self._opened(one))
            except StoreError:
                message = msgspec.structs.replace(one.message, value=None)
                found.append(msgspec.structs.replace(one, message=message))
        return found

    def _opened(self, one: Waiting) -> Waiting:
        value = one.message.value
        if value is None or not is_locked(value):
            return one
        texts = self._locks.opened(value)
        message = msgspec.structs.replace(one.message, key=texts.key, value=texts.value)
        return msgspec.structs.replace(one, message=message)


class LockedDeadLetters:
    """A DeadLetterStore with locks: who looks at one letter sees what is in it."""

    def __init__(self, letters: DeadLetterStore, events_locks: EventLocks) -> None:
        self._letters = letters
        self._locks = events_locks
        self.dead_letters = letters.dead_letters
        self.replay = letters.replay
        self.drop = letters.drop

    def dead_letter(self, number: int) -> DeadLetter | None:
        """One, whole; with a note for its detail where nobody can read it any more."""
        found = self._letters.dead_letter(number)
        value = None if found is None else found.event.value
        if found is None or value is None or not is_locked(value):
            return found
        try:
            texts = self._locks.opened(value)
        except StoreError as error:
            event = msgspec.structs.replace(found.event, key=None, value=None)
            why = ERASED if isinstance(error, KeyGone) else str(error)
            return msgspec.structs.replace(found, event=event, detail=why)
        event = msgspec.structs.replace(found.event, key=texts.key, value=texts.value)
        return msgspec.structs.replace(found, event=event, detail=texts.detail)


class LockedQueue:
    """A QueueStore with locks.

    Args:
        queue: The one within.
        events_locks: Lock and open.
        integration_of: The integration that answers a queue, by the queue's name.
    """

    def __init__(
        self, queue: QueueStore, events_locks: EventLocks, integration_of: Callable[[str], str]
    ) -> None:
        self._queue = queue
        self._locks = events_locks
        self._integration_of = integration_of
        self.extend = queue.extend
        self.give_back = queue.give_back
        self.depth = queue.depth

    def put(self, queue: str, events: Sequence[Event], *, now_us: int) -> list[int]:
        """Store events, durable on return; gives their numbers."""
        integration = self._integration_of(queue)
        plan = self._locks.plan(integration)
        if plan is not None:
            events = [self._locked(integration, plan, one, now_us) for one in events]
        return self._queue.put(queue, events, now_us=now_us)

    def take(
        self, queue: str, limit: int, holder: str, *, now_us: int, lease_us: int
    ) -> list[Event]:
        """Lease the oldest that are due, in their order; what was erased has no body any more."""
        events = self._queue.take(queue, limit, holder, now_us=now_us, lease_us=lease_us)
        try:
            for event in events:
                if event.value is not None and is_locked(event.value):
                    try:
                        texts = self._locks.opened(event.value)
                    except (KeyGone, KeyMissing) as error:
                        log.warning("%s: %s", event.origin, error)
                        texts = EventTexts(None, None)
                    event.key, event.value = texts.key, texts.value
        except StoreError:
            self._queue.give_back(queue, events, due_us=now_us, tried=False)
            raise
        return events

    def _locked(self, integration: str, plan: PinnedProtection, event: Event, now_us: int) -> Event:
        if event.value is None or is_locked(event.value):
            return event
        person = _person(event.value, plan.person, now_us)
        texts = EventTexts(event.key, event.value)
        key, value = self._locks.locked(integration, person, texts)
        return msgspec.structs.replace(event, key=key, value=value)
