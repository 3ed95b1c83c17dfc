"""Locks: records as a store may hold them, and as a reader who may gets them.

Texts of a protected call go into one envelope; what is counted (status, route, times, tokens,
costs) stays as it is. In place of its entity stands an HMAC, the same for the same entity.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import msgspec

from splice.control.encryption import Keychain
from splice.control.protections import Protections
from splice.core.call import Gathered, Problem, Reason, Record
from splice.core.erasure import UNREADABLE, erased_note
from splice.core.errors import StoreError
from splice.core.ids import id_unix_ms
from splice.core.persons import person_in
from splice.core.protection import PinnedProtection
from splice.core.vault_errors import KeyGone, KeyMissing

log = logging.getLogger("splice.encryption")

_DAY_MS = 86_400_000


class Texts(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What of a record is enciphered. The order is the format: add at the end only."""

    input: bytes
    gathered: tuple[Gathered, ...]
    context: bytes | None
    whys: tuple[str, ...]  # of the attempts, in their order
    prediction: bytes | None
    reply: bytes | None
    detail: str
    key: str | None


_texts = msgspec.msgpack.Decoder(Texts).decode


class Locks:
    """Locks and opens records.

    Args:
        protections: What is declared.
        keychain: Gives the keys, when the first is needed.
    """

    def __init__(self, protections: Protections, keychain: Callable[[], Keychain]) -> None:
        self.protections = protections
        self.keychain = keychain

    def locked(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records as they may be written; the very same where nothing is to be locked.

        Raises:
            StoreError: A key could not be had, or nobody can tell whether one is needed.
        """
        encrypts = self.protections.encrypts
        # Each release is asked for once: those of a batch are of one, as a rule.
        releases = {(one.integration, one.release) for one in records if not one.locked}
        of = {key: encrypts(*key) for key in releases}
        if not any(of.values()):
            return records
        plans = [None if one.locked else of[one.integration, one.release] for one in records]
        return self._locked(records, plans)

    def _locked(
        self, records: Sequence[Record], plans: Sequence[PinnedProtection | None]
    ) -> list[Record]:
        chain = self.keychain()
        wanted: list[tuple[tuple[bytes, str], Any, bytes]] = []
        bare: list[Record | None] = []
        for record, plan in zip(records, plans, strict=True):
            if plan is None:
                bare.append(None)
                continue
            whose = chain.tag(_person(record, plan)), record.integration
            wanted.append((whose, _texts_of(record), record.call_id.encode()))
            entity = None if record.entity is None else chain.named(record.entity)
            bare.append(_bare(record, entity))
        envelopes = iter(chain.seal(wanted))
        done: list[Record] = []
        for record, one in zip(records, bare, strict=True):
            if one is not None:
                one.locked = next(envelopes)
            done.append(record if one is None else one)
        return done

    def opened(self, records: Sequence[Record], *, strict: bool = False) -> list[Record]:
        """The records with their texts; with a note where nobody can read these any more.

        Args:
            records: As they were stored.
            strict: Whether it is an error that keys cannot be had now; else that is a note too.

        Raises:
            StoreError: Keys cannot be had now (`strict`).
        """
        locked = [one for one in records if one.locked]
        if not locked:
            return list(records)
        try:
            chain = self.keychain()
            chain.ready((one.integration, one.locked) for one in locked)
        except StoreError as error:
            if strict:
                raise
            log.warning("texts cannot be deciphered: %s", error)
            return [_noted(one, UNREADABLE) if one.locked else one for one in records]
        return [self._opened(chain, one, strict=strict) if one.locked else one for one in records]

    def person(self, record: Record) -> str:
        """Whom a record is about that is not locked."""
        plan = self.protections.of(record.integration, record.release)
        return _person(record, plan or PinnedProtection())

    def open(self, record: Record) -> Record:
        """One record with its texts, or with a note."""
        return self.opened([record])[0] if record.locked else record

    def _opened(self, chain: Keychain, record: Record, *, strict: bool) -> Record:
        try:
            packed = chain.open(record.integration, record.locked, record.call_id.encode())
            return _whole(record, _texts(packed))
        except KeyGone as error:
            return _noted(record, erased_note(error.at_us))
        except (KeyMissing, msgspec.MsgspecError) as error:
            log.warning("texts of call %s: %s", record.call_id, error)
        except StoreError as error:
            if strict:
                raise
            log.warning("texts of call %s: %s", record.call_id, error)
        return _noted(record, UNREADABLE)


def _person(record: Record, plan: PinnedProtection) -> str:
    """Whom a call is about; calls about nobody share a key for each day."""
    named = record.subject
    if plan.subject and not named:
        named = person_in(record.input, plan.subject)
    return named or record.entity or nobody(id_unix_ms(record.call_id))


def nobody(unix_ms: int) -> str:
    """Who stands for the calls of a day (UTC) that are about nobody."""
    return f"\0day {unix_ms // _DAY_MS}"


def _texts_of(r: Record) -> tuple[Any, ...]:
    """In the order of `Texts`."""
    whys = tuple([one.why for one in r.attempts]) if _has_whys(r) else ()
    return (
        r.input, r.gathered, r.context, whys, r.prediction, r.reply,
        "" if r.problem is None else r.problem.detail, r.key,
    )  # fmt: skip


def _has_whys(r: Record) -> bool:
    # A loop: `any` over so few takes three times as long.
    for one in r.attempts:  # noqa: SIM110
        if one.why:
            return True
    return False


def _bare(r: Record, entity: str | None) -> Record:
    # By hand: it is done for every call, and `replace` takes three times as long.
    bare = copy(r)
    bare.entity, bare.subject, bare.input, bare.gathered = entity, "", b"", ()
    bare.context = bare.prediction = bare.reply = bare.key = None
    if _has_whys(r):
        bare.attempts = tuple([msgspec.structs.replace(one, why="") for one in r.attempts])
    if r.problem is not None:
        bare.problem = Problem(r.problem.code, r.problem.where)
    return bare


def _whole(r: Record, texts: Texts) -> Record:
    attempts = r.attempts
    if texts.whys:
        attempts = tuple(
            msgspec.structs.replace(one, why=why)
            for one, why in zip(attempts, texts.whys, strict=True)
        )
    problem = r.problem
    # Set aside after its caller was told that it is not recorded: he got no answer.
    answered = r.reason is not Reason.NOT_RECORDED
    if problem is not None and not problem.detail:
        problem = Problem(problem.code, problem.where, texts.detail)
    return msgspec.structs.replace(
        r, locked=b"", input=texts.input, gathered=texts.gathered, context=texts.context,
        attempts=attempts, prediction=texts.prediction, problem=problem,
        reply=texts.reply if answered else None, key=texts.key if answered else None,
    )  # fmt: skip


def _noted(record: Record, note: str) -> Record:
    return msgspec.structs.replace(record, locked=b"", notes=(*record.notes, note))
