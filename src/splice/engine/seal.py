"""Seal: what of a finished call is kept, and what is masked in it, before anything is written."""

from __future__ import annotations

import hashlib

import msgspec

from splice.core.call import Attempt, Gathered, Problem, Record
from splice.core.errors import DeclarationError
from splice.core.persons import person_in
from splice.core.protection import PinnedProtection
from splice.declare.spec import Log
from splice.ports.masking import Masker

NOT_SAMPLED = "not kept: log.keep left this call out"
NOT_MASKED = "not kept: masking failed"

_encode = msgspec.json.encode
_decode = msgspec.json.decode


class Seal:
    """Makes of the record of a call what the ledger may hold of it.

    Whether a call is kept follows from its id alone, so that all who ask agree. Of a call that is
    not kept, neither texts nor errors in words remain: status, codes, times, tokens and costs do.
    What cannot be masked is not kept either, and a note in the record says so.

    A join key (`entity`) in which a rule finds something becomes `sha256:` and 16 hexadecimal
    digits, the same ones each time, so that joins still hold: whoever brings an outcome by that
    entity puts it through `entity` first. It is a pseudonym: who knows the key can recognise it.

    Args:
        log: What the integration declares; None keeps all as it is.
        masker: Finds what `log.mask` names; None where it names nothing.
        protect: What is declared of personal data. Where texts are encrypted, the store puts an
            HMAC in the place of every entity: then it becomes no pseudonym here.

    Raises:
        DeclarationError: Masking is declared, and there is nothing that could do it.
    """

    __slots__ = ("_encrypts", "_keeps_all", "_log", "_masker", "_person", "_threshold")

    def __init__(
        self, log: Log | None, masker: Masker | None, protect: PinnedProtection | None = None
    ) -> None:
        if log is not None and log.mask and masker is None:
            raise DeclarationError(
                "log.mask",
                got="nothing that could mask",
                promised=f"a masker for {', '.join(log.mask)}",
                mend="install splice-ai[masking]",
            )
        self._log = log
        self._encrypts = protect is not None and protect.encrypt
        self._person = protect.subject if protect is not None and protect.encrypt else ""
        self._masker = masker if log is not None and log.mask else None
        self._threshold = 0 if log is None else int(log.keep * 2**64)
        self._keeps_all = log is None or log.keep >= 1

    def keeps(self, call_id: str) -> bool:
        """Whether the texts of a call are kept."""
        if self._keeps_all:
            return True
        digest = hashlib.sha256(call_id.encode()).digest()
        return int.from_bytes(digest[:8], "big") < self._threshold

    def entity(self, key: str) -> str:
        """A join key as it is recorded: itself, or its pseudonym where a rule finds something."""
        if self._masker is None or self._encrypts:
            return key
        try:
            whole = _encode(key)
            found = self._masker.mask(whole) != whole
        except Exception:  # noqa: BLE001 - whatever a masker raises, what it could not read stays out
            found = True
        return pseudonym(key) if found else key

    def sealed(self, record: Record) -> Record:
        """The record as it may be written; the very same where there is nothing to do."""
        if self._log is None:
            return record
        if self._person:  # who it is must be known when what names him is masked
            record = msgspec.structs.replace(record, subject=person_in(record.input, self._person))
        if not self.keeps(record.call_id):
            return self._bare(record, NOT_SAMPLED)
        if self._masker is None:
            return record
        try:
            return self._masked(record, self._masker)
        except Exception:  # noqa: BLE001 - whatever a masker raises, what it could not read stays out
            return self._bare(record, NOT_MASKED)

    def _bare(self, record: Record, note: str) -> Record:
        """Without what anybody said: an error in words may quote it, its code does not."""
        problem = record.problem
        return msgspec.structs.replace(
            record,
            entity=None if record.entity is None else self.entity(record.entity),
            key=None if record.key is None else self.entity(record.key),
            input=b"",
            context=None,
            prediction=None,
            reply=None,
            gathered=tuple(
                msgspec.structs.replace(one, entity=self.entity(one.entity), values={})
                for one in record.gathered
            ),
            attempts=tuple(
                msgspec.structs.replace(one, why="") if one.why else one for one in record.attempts
            ),
            problem=None if problem is None else Problem(problem.code, problem.where),
            notes=(*record.notes, note),
        )

    def _masked(self, record: Record, masker: Masker) -> Record:
        problem = record.problem
        return msgspec.structs.replace(
            record,
            entity=None if record.entity is None else self.entity(record.entity),
            key=None if record.key is None else self.entity(record.key),
            input=_document(record.input, masker) or b"",
            context=_document(record.context, masker),
            prediction=_document(record.prediction, masker),
            reply=_document(record.reply, masker),
            gathered=tuple(self._looked_up(one, masker) for one in record.gathered),
            attempts=tuple(_attempt(one, masker) for one in record.attempts),
            problem=None
            if problem is None
            else Problem(problem.code, problem.where, _text(problem.detail, masker)),
        )

    def _looked_up(self, one: Gathered, masker: Masker) -> Gathered:
        # The store's own types need not be JSON's: what a masker reads is what the ledger writes.
        values = _decode(masker.mask(_encode(one.values, enc_hook=str)))
        return msgspec.structs.replace(one, entity=self.entity(one.entity), values=values)


def pseudonym(key: str) -> str:
    """`sha256:` and 16 hexadecimal digits, the same for the same key."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _document(document: bytes | None, masker: Masker) -> bytes | None:
    return masker.mask(document) if document else document


def _attempt(attempt: Attempt, masker: Masker) -> Attempt:
    if not attempt.why:
        return attempt
    return msgspec.structs.replace(attempt, why=_text(attempt.why, masker))


def _text(text: str, masker: Masker) -> str:
    return _decode(masker.mask(_encode(text)), type=str) if text else text
