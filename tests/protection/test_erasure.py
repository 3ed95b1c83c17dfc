"""An erased person can be read nowhere: not in the ledger, not in what was restored from before."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from protection_house import House

import splice
from splice.app.tending import eraser_of
from splice.control.encryption import cipher_of
from splice.control.erasure import Frozen, NothingToErase, tend
from splice.control.verifying import Verifier
from splice.core.call import Record
from splice.core.duties import Freeze, Incident
from splice.core.erasure import is_erased, receipt
from splice.core.events import DeadLetter, Event, Inbox, Message, Origin, Settled
from splice.core.ids import uuid7
from splice.core.vault_errors import KeyGone
from splice.ports.stores import CallFilter

NOW = 1_900_000_000_000_000
CANARIES = (b"CANARY-NAME", b"CANARY-COMPLAINT", b"CANARY-KEY", b"CANARY-OUTCOME")


def visit(patient: str = "CANARY-NAME", **more: Any) -> dict[str, Any]:
    return {"patient": patient, "complaint": "CANARY-COMPLAINT", "age": 70} | more


async def filled(house: House) -> dict[str, str]:
    """Calls of two persons in every way that leaves a trace; gives the ids of some."""
    async with splice.App(project=house.folder) as app:
        asked = await app.ask("triages", visit(), key="CANARY-KEY")
        for broken in ({"age": 300}, {"age": -1}):
            await app.ask("triages", visit(**broken))
        other = await app.ask("triages", visit("somebody else"))
        await app.outcome("triages", "diagnosis", "CANARY-OUTCOME", entity="CANARY-NAME")
        await app.outcome("triages", "came_back", True, entity="CANARY-NAME")
        services = app.services
        stores = services.stores
        event = Event(Origin("queue:triages", 0, 1), b"CANARY-KEY", _body(), at_us=NOW)
        letter = DeadLetter("triages", event, "bad", "age", "CANARY-COMPLAINT", 1, NOW)
        message = Message("m", "https://example.org/", b"CANARY-NAME", _body())
        stored = await app.record(asked.record.call_id)
        late = msgspec.structs.replace(stored, call_id=uuid7(NOW // 1000, 7))
        settled = [
            Settled(event, dead=letter),
            Settled(event, record=late, inbox=Inbox(b"e" * 16, b"b" * 8, late.call_id),
                    messages=(message,)),
        ]  # fmt: skip
        stores.events.settle(settled, now_us=NOW)
        stores.queue.put("triages", [event], now_us=NOW)
        services.recorder._spool.save([stored])
    return {"mine": asked.record.call_id, "other": other.record.call_id, "late": late.call_id}


def _body() -> bytes:
    return msgspec.json.encode(visit())


def readable(house: House, call_id: str) -> Record:
    with closing(house.stores()) as stores:
        found = stores.records.get(call_id)
        assert found is not None
        return found


def holds(house: House) -> bool:
    """Whether the audit chain and the tree of calls are what they were."""
    with closing(house.stores()) as stores:
        verifier = Verifier(
            stores.checkpoints, stores.audit, stores.records.stored.get_many, None, {}
        )
        seen = verifier.verify()
        assert seen.calls >= 4
        return seen.broken is None


async def test_nothing_of_an_encrypted_call_can_be_read_in_the_ledger_or_beside_it(
    house: House,
) -> None:
    ids = await filled(house)

    everything = house.everything()

    # An outcome that is a text is kept as it was told: it may be the name of a class.
    assert [one for one in CANARIES if one in everything] == [b"CANARY-OUTCOME"]
    assert readable(house, ids["mine"]).input == msgspec.json.encode(visit() | {"ward": "east"})


async def test_who_may_read_gets_calls_events_and_messages_as_they_were(house: House) -> None:
    ids = await filled(house)
    with closing(house.stores()) as stores:
        found = stores.records.find(CallFilter(entity="CANARY-NAME"))
        record = stores.records.get(ids["mine"])
        assert record is not None
        outcomes = stores.outcomes.outcomes_of(record)
        (event,) = stores.queue.take("triages", 9, "me", now_us=NOW, lease_us=10**6)
        (waiting,) = stores.outbox.take_outbox(["https"], 9, "me", now_us=NOW, lease_us=10**6)
        letter = stores.dead_letters.dead_letter(stores.dead_letters.dead_letters()[0].id)

    assert ids["mine"] in {one.call_id for one in found}
    assert len(found) == 4
    assert record.key == "CANARY-KEY"
    assert record.reply is not None
    assert b"CANARY-COMPLAINT" in record.reply
    assert {one.value for one in outcomes} == {"CANARY-OUTCOME", True}
    assert (event.key, event.value) == (b"CANARY-KEY", _body())
    assert (waiting.message.key, waiting.message.value) == (b"CANARY-NAME", _body())
    assert letter is not None
    assert (letter.event.value, letter.detail) == (_body(), "CANARY-COMPLAINT")


async def test_errors_in_words_are_read_again_where_they_were(house: House) -> None:
    await filled(house)
    with closing(house.stores()) as stores:
        ids = [one.call_id for one in stores.records.find(CallFilter(entity="CANARY-NAME"))]
        records = stores.records.get_many(ids).values()

    assert any("CANARY" in one.why for record in records for one in record.attempts)
    assert any("CANARY" in one.problem.detail for one in records if one.problem is not None)


async def test_an_erased_person_can_be_read_nowhere_and_the_ledger_still_verifies(
    house: House,
) -> None:
    ids = await filled(house)
    assert holds(house)

    receipt = house.erase("CANARY-NAME")

    everything = house.everything()
    assert not any(one in everything for one in CANARIES)
    for name in ("mine", "late"):
        record = readable(house, ids[name])
        assert (record.input, record.reply, record.context) == (b"", None, None)
        assert is_erased(record.notes)
    assert readable(house, ids["other"]).input
    assert (receipt.calls, receipt.keys) == (4, 1)
    assert receipt.dropped == {"outcomes": 1, "dead_letters": 1, "waiting": 2}
    assert "CANARY" not in repr(receipt)
    assert holds(house)
    with closing(house.stores()) as stores:
        events = stores.audit.events()
        assert [one.action for one in events][-1] == "subject.erase"
        assert "CANARY" not in repr(events)


async def test_a_ledger_restored_from_before_the_erasure_gives_nothing_back(house: House) -> None:
    ids = await filled(house)
    copy = house.back_up()
    house.erase("CANARY-NAME")

    house.restore(copy)

    record = readable(house, ids["mine"])
    assert (record.input, record.reply) == (b"", None)
    assert is_erased(record.notes)
    _nothing_left_opens(house, ids["mine"])
    # What is readable beside calls is dropped again by the next round of the chore.
    with closing(house.stores()) as stores:
        assert eraser_of(stores).finish(NOW + 1)
        assert not eraser_of(stores).finish(NOW + 2)
    everything = house.everything()
    assert not any(one in everything for one in CANARIES)
    assert holds(house)


def _nothing_left_opens(house: House, call_id: str) -> None:
    """Every key that is still there is tried on what the restored ledger has."""
    with closing(house.stores()) as stores:
        locked = stores.records.stored.get(call_id)
        assert locked is not None
        chain = stores.encryption.keychain()
        keys = [*chain.keys.under([], 1000)]
        assert keys
        envelope = locked.locked
        for key in keys:
            plain = chain._unwrap(key)
            for start in range(len(envelope) - 28):
                with pytest.raises(InvalidTag):
                    cipher_of(plain).decrypt(
                        envelope[start : start + 12], envelope[start + 12 :],
                        envelope[:start] + call_id.encode(),
                    )  # fmt: skip
        with pytest.raises(KeyGone):
            chain.open("triages", envelope, call_id.encode())


async def test_an_old_copy_of_the_key_store_opens_until_its_wrapping_key_is_destroyed(
    small: House, tmp_path: Path
) -> None:
    ids = await filled(small)
    keys = small.folder / ".splice-keys"
    old = (keys / "people.db").read_bytes()
    receipt = small.erase("CANARY-NAME")
    new = (keys / "people.db").read_bytes()

    (keys / "people.db").write_bytes(old)
    assert readable(small, ids["mine"]).input  # so the receipt says that it is not final yet
    assert not receipt.final
    assert receipt.kek

    (keys / "people.db").write_bytes(new)
    with closing(small.stores()) as stores:
        assert not tend(stores.encryption.keychain(), NOW, rotate=True, destroy=True)
    assert readable(small, ids["other"]).input
    (keys / "people.db").write_bytes(old)

    assert readable(small, ids["mine"]).input == b""
    assert receipt.kek not in {one.id for one in small.vault.keks()}


async def test_a_final_erasure_makes_old_copies_of_the_key_store_useless_at_once(
    small: House,
) -> None:
    ids = await filled(small)
    keys = small.folder / ".splice-keys" / "people.db"
    old, vault = keys.read_bytes(), small.vault.keks()[0].id

    receipt = small.erase("CANARY-NAME", final=True)
    assert receipt.final
    assert vault not in {one.id for one in small.vault.keks()}
    assert readable(small, ids["other"]).input
    keys.write_bytes(old)

    assert readable(small, ids["mine"]).input == b""


async def test_a_destroyed_key_is_in_no_file_of_the_key_store(small: House) -> None:
    await filled(small)
    with closing(small.stores()) as stores:
        chain = stores.encryption.keychain()
        whose = (chain.tag("CANARY-NAME"), "triages")
        wrapped = chain.keys.get([whose])[whose].wrapped

    small.erase("CANARY-NAME")

    left = b"".join(one.read_bytes() for one in (small.folder / ".splice-keys").glob("people*"))
    assert wrapped not in left
    assert b"CANARY" not in left


async def test_who_comes_again_has_a_new_key_that_opens_nothing_old(small: House) -> None:
    ids = await filled(small)
    small.erase("CANARY-NAME")

    async with splice.App(project=small.folder) as app:
        again = await app.ask("triages", visit())

    assert readable(small, again.record.call_id).input
    assert readable(small, ids["mine"]).input == b""
    assert is_erased(readable(small, ids["mine"]).notes)


async def test_a_running_server_forgets_the_key_that_it_had_in_memory(small: House) -> None:
    async with splice.App(project=small.folder) as app:
        asked = await app.ask("triages", visit())
        held = app.services.stores.encryption.keychain()._held
        assert len(held) == 1

        small.erase("CANARY-NAME")
        app.watched._ask()

        assert not held
        record = await app.record(asked.record.call_id)
    assert record.input == b""


async def test_evidence_of_an_incident_is_not_erased(small: House) -> None:
    ids = await filled(small)
    with closing(small.stores()) as stores:
        freeze = Freeze(uuid7(1, 1), "triages", 0, 0, NOW, "ben", "an incident")
        stores.duties.open_incident(
            Incident(
                uuid7(1, 2), "triages", "death", "what", NOW, NOW, 0, 0, NOW, "ben", freeze.id
            ),
            freeze,
        )

    with pytest.raises(Frozen, match="an incident"):
        small.erase("CANARY-NAME")
    assert readable(small, ids["mine"]).input

    with closing(small.stores()) as stores:
        stores.duties.lift(freeze.id, by="ben", why="closed", now_us=NOW)
    assert small.erase("CANARY-NAME").keys == 1


async def test_an_erasure_that_was_cut_off_is_finished_by_the_chore(small: House) -> None:
    await filled(small)
    with closing(small.stores()) as stores:
        chain = stores.encryption.keychain()
        chain.keys.erase(chain.tag("CANARY-NAME"), ["triages"], NOW)
        assert eraser_of(stores).finish(NOW)
        (receipt,) = stores.subjects.erasures()

    assert receipt.dropped == {"outcomes": 1, "dead_letters": 1, "waiting": 2}
    assert not any(one in small.everything() for one in CANARIES)


def test_where_nothing_is_encrypted_nothing_can_be_erased(tmp_path: Path) -> None:
    house = House(tmp_path / "p", more=" and False")

    with pytest.raises(NothingToErase):
        house.erase("CANARY-NAME")


async def test_what_is_known_of_a_person_is_given_out_whole_and_after_erasure_as_erased(
    small: House,
) -> None:
    await filled(small)
    with closing(small.stores()) as stores:
        before = eraser_of(stores).known("CANARY-NAME", by="ada", now_us=NOW)
    small.erase("CANARY-NAME")
    with closing(small.stores()) as stores:
        after = eraser_of(stores).known("CANARY-NAME", by="ada", now_us=NOW)

    assert {one["input"]["complaint"] for one in before["calls"]} == {"CANARY-COMPLAINT"}
    assert len(before["calls"]) == len(after["calls"]) == 4
    assert all(one["input"] is None and is_erased(one["notes"]) for one in after["calls"])
    assert len(after["erasures"]) == 1


async def test_calls_from_before_encryption_are_counted_and_not_called_erased(
    tmp_path: Path,
) -> None:
    house = House(tmp_path / "p")
    file = house.folder / "integrations.py"
    encrypted = file.read_text()
    for text in (encrypted.replace("(encrypt=True)", "()"), encrypted):
        file.write_text(text)
        async with splice.App(project=house.folder) as app:
            await app.call("triages", visit("p-77"))

    erased = house.erase("p-77")
    nobody = house.erase("p-78")

    assert (erased.calls, erased.in_clear) == (1, 1)
    assert (nobody.calls, nobody.in_clear, nobody.keys) == (0, 0, 0)
    assert receipt(nobody)["calls"] == 0
