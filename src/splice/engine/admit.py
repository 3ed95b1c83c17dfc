"""Admit: is it switched on, is there room, is the input valid, was this key answered before."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from typing import Any, cast

from splice.core.call import Call, Record, Status
from splice.core.errors import (
    InputMismatch,
    KeyInFlight,
    KeyReused,
    Overloaded,
    Stopped,
    StoreError,
)
from splice.core.release import NotLoaded
from splice.core.validation import NotValidated
from splice.declare.codec import checked_entity
from splice.engine.line import Line
from splice.engine.record import Recorder
from splice.ports.stores import Claim, RecordStore

_LEASE_SLACK_SECONDS = 10.0
_POLL_SECONDS = 0.02
_MAX_KEY = 255


def may_enter(line: Line, recorder: Recorder, in_flight: int, max_in_flight: int) -> None:
    """Passes a call that may run now.

    Raises:
        Stopped: An operator switched the integration off.
        Overloaded: Too many calls are in flight, or too many wait to be recorded.
    """
    may_answer(line)
    if in_flight >= max_in_flight:
        raise Overloaded(
            line.name, got=f"{in_flight} calls in flight", mend="try again in a moment"
        )
    if recorder.full:
        raise Overloaded(
            line.name,
            got=f"{recorder.waiting} calls that wait to be recorded",
            mend="try again in a moment; /readyz tells why the ledger is behind",
        )


def not_loaded(integration: str) -> NotLoaded:
    """What a caller is told; why it is so may name files, and is for `/readyz` and the log."""
    return NotLoaded(
        integration,
        got="a live release that could not be loaded in this process",
        promised="one that answers",
        mend="try again, for another process may have it; /readyz and the log say why",
    )


def may_answer(line: Line) -> None:
    """Passes an integration that is not switched off.

    Raises:
        Stopped: An operator switched it off.
        NotValidated: The validation of its route has ended, which refuses calls here.
    """
    if line.stopped:
        raise Stopped(line.name, got=f"switched off: {line.stopped}", mend="ask its owner")
    if line.ended:
        raise NotValidated(line.name, got=line.ended, promised="a validation that holds")


def entity_of(line: Line, request: Any) -> str | None:
    """The entity key of a request, or None where its type has none.

    Raises:
        InputMismatch: It is empty or longer than 256 characters.
    """
    field = line.declaration.entity
    if field is None:
        return None
    if isinstance(request, dict):  # its type is a TypedDict
        return checked_entity(cast("dict[str, Any]", request).get(field), f"{line.where}.{field}")
    return checked_entity(getattr(request, field), f"{line.where}.{field}")


def not_kept(integration: str) -> KeyReused:
    """The error for an idempotency key whose answer was given, but is not in the ledger."""
    return KeyReused(
        f"{integration}.idempotency-key",
        got="a key whose answer was given, but not kept",
        promised="a key whose answer is kept: this integration does not log every reply",
        mend="take a fresh key, or set log.keep to 1",
    )


class Claims:
    """Idempotency keys: the first call with a key runs, every other gets its stored answer."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._running: dict[tuple[str, str, str], asyncio.Future[None]] = {}
        self._undoing: set[asyncio.Future[None]] = set()  # a task that nobody holds may vanish

    async def take(self, line: Line, call: Call, key: str) -> Record | None:
        """None where this call shall run; else the record of the call that had the key first.

        Raises:
            InputMismatch: The key is not 1 to 255 printable ASCII characters.
            KeyReused: The key was used with another body.
            KeyInFlight: The first call is still running when this one's deadline has passed.
            StoreError: The claim could not be made durable; the call must not run.
        """
        if not 0 < len(key) <= _MAX_KEY or not (key.isascii() and key.isprintable()):
            raise InputMismatch(
                f"{line.name}.idempotency-key",
                got=f"{len(key)} characters",
                promised=f"1 to {_MAX_KEY} printable ASCII characters",
            )
        slot = (call.integration, call.caller, key)
        body_sha256 = hashlib.sha256(call.body).digest()
        clock = asyncio.get_running_loop().time
        until = clock() + line.deadline_s
        while True:
            here = self._running.get(slot)
            if here is not None:
                await asyncio.wait([here], timeout=max(0.0, until - clock()))
            claim = await self._taken(line, call, key, body_sha256)
            if claim.body_sha256 != body_sha256:
                raise KeyReused(
                    f"{line.name}.idempotency-key",
                    got="another body than the first time",
                    promised="one body for one key",
                    mend="take a fresh key for a new question",
                )
            if claim.mine:
                self._running[slot] = asyncio.get_running_loop().create_future()
                return None
            if claim.done:
                record = await asyncio.to_thread(self._store.get, claim.call_id)
                if record is not None and record.status is Status.ANSWERED:
                    return record
            if clock() >= until:
                raise KeyInFlight(
                    f"{line.name}.idempotency-key",
                    got="a first call that is still running",
                    mend="ask again with the same key in a moment",
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _taken(self, line: Line, call: Call, key: str, body_sha256: bytes) -> Claim:
        """What the ledger says; a caller who goes away meanwhile leaves no claim behind."""
        claiming = asyncio.ensure_future(
            asyncio.to_thread(self._claim, line, call, key, body_sha256)
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            giving_back = asyncio.ensure_future(self._undone(claiming, call, key))
            self._undoing.add(giving_back)
            giving_back.add_done_callback(self._undoing.discard)
            raise

    async def _undone(self, claiming: asyncio.Future[Claim], call: Call, key: str) -> None:
        with contextlib.suppress(StoreError):  # then its lease ends it
            if (await claiming).mine:
                await self.give_back(call, key)

    def _claim(self, line: Line, call: Call, key: str, body_sha256: bytes) -> Claim:
        # The lease runs from now: a call that waited for another has its whole deadline before it.
        lease_us = int((line.deadline_s + _LEASE_SLACK_SECONDS) * 1e6)
        now_us = time.time_ns() // 1000
        return self._store.claim(
            call.integration, call.caller, _stored(key), call.id, body_sha256, now_us, lease_us
        )

    async def give_back(self, call: Call, key: str) -> None:
        """The call ended without an answer: whoever asks next with this key runs."""
        try:
            await asyncio.to_thread(
                self._store.release_claim, call.integration, call.caller, _stored(key), call.id
            )
        finally:
            self.ended(call, key)

    def ended(self, call: Call, key: str) -> None:
        """The call is over; those in this process who wait for it look again."""
        here = self._running.pop((call.integration, call.caller, key), None)
        if here is not None and not here.done():
            here.set_result(None)


def _stored(key: str) -> str:
    """What the ledger holds of a key: callers make keys of what their customers are called."""
    return hashlib.sha256(key.encode()).hexdigest()
