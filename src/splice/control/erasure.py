"""Erasure: a person's keys are destroyed, and with them all that was encrypted about him.

The order matters: first the keys, durably; then what is readable beside calls; then the receipt. A
process that dies in between is taken up by the next round of `finish`, and so is a ledger that was
restored from before the erasure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from splice.control.encryption import Keychain
from splice.control.envelopes import MARK, owner_of
from splice.control.locked_stores import LockedRecords
from splice.control.locks import Locks
from splice.core.call import Outcome, Record
from splice.core.duties import freeze_of
from splice.core.erasure import Erasure, receipt
from splice.core.errors import RefusedError
from splice.ports.audit import AuditLog
from splice.ports.duties import DutyStore
from splice.ports.stores import CallFilter, OutcomeStore
from splice.ports.subjects import SubjectStore

_PAGE = 500
_KEPT_S = 30
"""A freeze and an erasure that begin together: calls of the last seconds may not be found yet."""


class Frozen(RefusedError):
    """Evidence of an incident is kept; what would destroy it has to wait."""

    code = "frozen"


class NothingToErase(RefusedError):
    """No integration encrypts, so that there is no key to destroy."""

    code = "nothing_to_erase"


class Shelves(msgspec.Struct, frozen=True):
    """The stores that hold something of a person."""

    records: LockedRecords
    outcomes: OutcomeStore
    subjects: SubjectStore
    duties: DutyStore
    audit: AuditLog


class Eraser:
    """Erases persons, and gives out what is known of them.

    Args:
        locks: Locks of this process.
        shelves: Where there may be something.
    """

    def __init__(self, locks: Locks, shelves: Shelves) -> None:
        self._locks = locks
        self._shelves = shelves

    def erase(
        self, person: str, *, by: str, why: str, now_us: int, integrations: Sequence[str] = (),
        final: bool = False,
    ) -> Erasure:  # fmt: skip
        """Destroy the keys of a person, and give the receipt.

        Args:
            person: As calls name him.
            by: Who does it.
            why: Reason; it goes into the audit log, and must not name the person.
            now_us: Unix microseconds.
            integrations: Only in these; in all that encrypt or did if left out.
            final: Also wrap all other keys anew and destroy what wrapped, so that older copies of
                the key store are of no use from now on.

        Raises:
            NothingToErase: No integration, or none of these, encrypts.
            Frozen: Evidence of an incident holds his calls.
            StoreError: A store is away. Said again, it goes on where it ended.
        """
        names = self._names(integrations)
        chain = self._locks.keychain()
        tag, named = chain.tag(person), chain.named(person)
        calls = list(self._calls(tag, named, names))
        self._check_freezes(calls, names, now_us)
        kek = chain.vault.keks()[0].id
        destroyed = chain.keys.erase(tag, names, now_us)
        chain.forget()
        ids = [one.call_id for one in calls]
        dropped = self._shelves.subjects.drop_traces(named, MARK + tag, ids, names)
        if final:
            tend(chain, now_us, rotate=True, destroy=True)
        erasure = Erasure(
            named, now_us, by, why, tuple(names), sum(bool(one.id) for one in destroyed),
            len(calls), dropped, final, "" if final else kek, self._in_clear(person, integrations),
        )  # fmt: skip
        self._shelves.subjects.add_erasure(erasure)
        return erasure

    def known(self, person: str, *, by: str, now_us: int) -> dict[str, Any]:
        """All that is recorded of a person, as JSON values: what he may ask for.

        That it was given out is an audit event, which names his HMAC.

        Raises:
            StoreError: A store is away.
        """
        encrypted = self._locks.protections.encrypted()
        named = self._locks.keychain().named(person) if encrypted else ""
        calls: list[dict[str, Any]] = []
        for page in _pages(self._about(person, encrypted)):
            whole = self._shelves.records.get_many([one.call_id for one in page])
            outcomes = self._shelves.outcomes.outcomes_of_many(list(whole.values()))
            calls += [_shown(one, outcomes.get(one.call_id, [])) for one in whole.values()]
        self._shelves.audit.add_event(
            "subject.export", named or "somebody", by=by, now_us=now_us,
            details={"calls": len(calls)},
        )  # fmt: skip
        receipts = self._shelves.subjects.erasures(named) if named else []
        return {"subject": named, "calls": calls, "erasures": [receipt(one) for one in receipts]}

    def _about(self, person: str, encrypted: Sequence[str]) -> list[Record]:
        """Calls about a person, encrypted or not, archived or not; without their texts."""
        records = self._shelves.records
        finds = [records.find, *([records.find_archived] if records.stored.has_archive else [])]
        found = _by_entity(finds, person)
        for name in filter(self._locks.protections.by_path, encrypted):
            chain = self._locks.keychain()
            some = self._calls(chain.tag(person), chain.named(person), [name])
            found.update((one.call_id, one) for one in some)
        return list(found.values())

    def _in_clear(self, person: str, integrations: Sequence[str]) -> int:
        """Calls about him from before encryption, or of what never encrypted."""
        stored = self._shelves.records.stored
        finds = [stored.find, *([stored.find_archived] if stored.has_archive else [])]
        found = _by_entity(finds, person).values()
        return sum(not integrations or one.integration in integrations for one in found)

    def finish(self, now_us: int) -> bool:
        """Take up erasures whose keys are gone and whose receipt is not in the ledger.

        So are those of a ledger that was restored from a copy of before. Says whether there was
        one. The chore of the servers does it.
        """
        if not self._locks.protections.encrypted():
            return False
        chain = self._locks.keychain()
        open_: dict[bytes, set[str]] = {}
        after = 0
        while some := chain.keys.erased(after):
            for one in some:
                open_.setdefault(one.tag, set()).add(one.integration)
            after = some[-1].number
        found = False
        for tag, names in open_.items():
            named = f"hmac:{tag.hex()}"
            done = {
                name for one in self._shelves.subjects.erasures(named) for name in one.integrations
            }
            left = sorted(names - done)
            if left:
                self._finish(tag, named, left, now_us)
                found = True
        return found

    def _finish(self, tag: bytes, named: str, names: Sequence[str], now_us: int) -> None:
        calls = list(self._calls(tag, named, names))
        ids = [one.call_id for one in calls]
        dropped = self._shelves.subjects.drop_traces(named, MARK + tag, ids, names)
        why = "an erasure that was not finished, or a ledger from before it"
        self._shelves.subjects.add_erasure(
            Erasure(named, now_us, "splice", why, tuple(names), 0, len(calls), dropped)
        )

    def _names(self, integrations: Sequence[str]) -> list[str]:
        encrypted = list(self._locks.protections.encrypted())
        names = [name for name in encrypted if not integrations or name in integrations]
        if not names or len(names) < len(set(integrations)):
            raise NothingToErase(
                ", ".join(integrations)[:80] or "subjects", got="no texts that are encrypted",
                promised=f"one of {', '.join(encrypted) or 'none yet'}",
                mend="declare protect = splice.Protect(encrypt=True)",
            )  # fmt: skip
        return names

    def _check_freezes(self, calls: Sequence[Record], names: Sequence[str], now_us: int) -> None:
        for name in names:
            asked = [one.asked_us for one in calls if one.integration == name]
            first = min(asked, default=now_us - _KEPT_S * 1_000_000)
            held = freeze_of(self._shelves.duties.freezes(name), name, first, now_us + 1)
            if held is not None:
                raise Frozen(
                    name, got=f"evidence that is kept since {held.by} froze it: {held.why}"[:300],
                    mend="lift the freeze first: splice incidents list",
                )  # fmt: skip

    def _calls(self, tag: bytes, named: str, names: Sequence[str]) -> Iterator[Record]:
        """His calls, without their texts; archived ones too."""
        for name in names:
            path = self._locks.protections.by_path(name)
            wanted = CallFilter(integration=name, entity=None if path else named, limit=_PAGE)
            for archived in (False, True):
                for page in self._found(wanted, archived=archived):
                    if not path:
                        yield from page
                        continue
                    # No index names him: the owner of each envelope is looked at.
                    ids = [one.call_id for one in page]
                    for one in self._shelves.records.stored.get_many(ids).values():
                        if one.locked and owner_of(one.locked)[0] == tag:
                            yield one

    def _found(self, wanted: CallFilter, *, archived: bool) -> Iterator[list[Record]]:
        stored = self._shelves.records.stored
        find = stored.find_archived if archived else stored.find
        if archived and not stored.has_archive:
            return
        while page := find(wanted):
            yield page
            if len(page) < _PAGE:
                return
            wanted = msgspec.structs.replace(wanted, before_id=page[-1].call_id)


def tend(
    chain: Keychain, now_us: int, *, rotate: bool = False, destroy: bool = False,
    overlap_us: int = 0, most: int = 1 << 62,
) -> bool:  # fmt: skip
    """Keys are wrapped by the key that wraps now; says whether there is more to do.

    Args:
        chain: Vault and key store.
        now_us: Unix microseconds.
        rotate: Begin with a new key that wraps.
        destroy: Destroy those that wrap nothing any more, `overlap_us` after a newer one was made.
        overlap_us: Microseconds.
        most: Keys that are wrapped anew at the most.
    """
    if rotate:
        chain.vault.rotate(now_us)
    keks = chain.vault.keks()
    while most > 0 and (some := chain.keys.under([keks[0].id], min(_PAGE, most))):
        chain.keys.rewrap(chain.rewrapped(some))
        most -= len(some)
    used = chain.keys.count()
    if any(kek != keks[0].id for kek in used):
        return True
    if destroy and keks[0].made_us + overlap_us <= now_us:
        for old in keks[1:]:
            chain.vault.destroy(old.id)
    return False


def _by_entity(
    finds: Sequence[Callable[[CallFilter], list[Record]]], person: str
) -> dict[str, Record]:
    """Calls of an entity by their ids, of each that finds some, page by page."""
    found: dict[str, Record] = {}
    for find in finds:
        wanted = CallFilter(entity=person, limit=_PAGE)
        while page := find(wanted):
            found.update((one.call_id, one) for one in page)
            wanted = msgspec.structs.replace(wanted, before_id=page[-1].call_id)
    return found


def _pages(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    for start in range(0, len(records), _PAGE):
        yield records[start : start + _PAGE]


def _shown(record: Record, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """A call as the person may have it: what was asked and answered, and what became of it."""

    def plain(document: bytes | None) -> Any:
        return msgspec.json.decode(document) if document else None

    return {
        "call_id": record.call_id, "integration": record.integration, "release": record.release,
        "asked_us": record.asked_us, "status": str(record.status), "reason": str(record.reason),
        "version": record.version, "input": plain(record.input), "context": plain(record.context),
        "gathered": msgspec.to_builtins(record.gathered, enc_hook=str),
        "prediction": plain(record.prediction), "reply": plain(record.reply),
        "problem": msgspec.to_builtins(record.problem), "notes": list(record.notes),
        "outcomes": [msgspec.to_builtins(one) for one in outcomes],
    }  # fmt: skip
