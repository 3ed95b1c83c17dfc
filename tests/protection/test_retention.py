"""Texts are dropped when they are as old as declared; what is counted and proved stays."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import msgspec
from protection_house import House

import splice
from splice.app.archiving import files_of
from splice.app.auditing import archived_of
from splice.app.rolling import catch_up
from splice.app.tending import retention_of
from splice.control.verifying import Verifier
from splice.core.call import Record
from splice.core.duties import Freeze, Incident
from splice.core.erasure import EXPIRED
from splice.core.ids import uuid7
from splice.core.rollups import Wanted, Window
from splice.monitor.archiving import Archiver
from splice.ports.rollups import Piece

DAY = 86_400_000_000
START = 1_900_000_000_000_000 // DAY * DAY


async def filled(house: House, days: int = 6) -> list[Record]:
    """One call a day, as they were asked then; the first is the oldest."""
    async with splice.App(project=house.folder) as app:
        asked = await app.ask("triages", {"patient": "ada", "complaint": "CANARY", "age": 70})
        whole = await app.record(asked.record.call_id)
        records: list[Record] = []
        for day in range(days):
            at = START + day * DAY + 1_000_000
            records.append(
                msgspec.structs.replace(
                    whole, call_id=uuid7(at // 1000, day), asked_us=at, entity="ada", key=None
                )
            )
        app.services.stores.records.append(records)
    with closing(house.stores()) as stores:
        catch_up(stores)
    return records


def archived(house: House) -> None:
    """All but the last two days moved to files."""
    with closing(house.stores()) as stores:
        while stores.checkpoints.sequence(1000):
            pass
        archiver = Archiver(stores.archives, files_of(house.settings, stores.archives), 86400.0)
        while archiver.step(START + 5 * DAY):
            pass


def retain(house: House, now_us: int) -> None:
    with closing(house.stores()) as stores:
        retention = retention_of(house.settings, stores)
        while retention.step(now_us):
            pass


def kept(house: House, records: list[Record]) -> list[bool]:
    with closing(house.stores()) as stores:
        found = stores.records.get_many([one.call_id for one in records])
        return [one.call_id in found and bool(found[one.call_id].input) for one in records]


def broken(house: House) -> Any:
    with closing(house.stores()) as stores:
        read = archived_of(house.settings, stores)
        return Verifier(stores.checkpoints, stores.audit, read, None, {}).verify().broken


async def test_texts_older_than_declared_go_exactly_and_the_ledger_still_verifies(
    house: House,
) -> None:
    house.project.declare(
        (house.folder / "integrations.py").read_text().replace("True)", 'True, keep="3 d")')
    )
    records = await filled(house)
    now = records[5].asked_us

    retain(house, now)
    assert kept(house, records) == [False, False, True, True, True, True]
    retain(house, now + 1)
    assert kept(house, records) == [False, False, False, True, True, True]
    assert broken(house) is None

    with closing(house.stores()) as stores:
        first = stores.records.get(records[0].call_id)
        # The first day has left its texts behind, and is counted all the same.
        piece = Piece(3600, START // 1_000_000, (START + DAY) // 1_000_000)
        wanted = Wanted(Window(piece.since_s, piece.until_s), "triages")
        assert sum(one.calls for one in stores.rollups.counted(wanted, [piece])) == 1
    assert first is not None
    assert EXPIRED in first.notes
    assert first.entity is None


async def test_frozen_evidence_and_what_is_younger_is_left_alone(small: House) -> None:
    small.project.declare(
        (small.folder / "integrations.py").read_text().replace("True)", 'True, keep="1 d")')
    )
    records = await filled(small)
    freeze = Freeze(uuid7(1, 1), "triages", records[2].asked_us, records[3].asked_us, 1, "ben", "x")
    with closing(small.stores()) as stores:
        stores.duties.open_incident(
            Incident(uuid7(1, 2), "triages", "death", "what", 1, 1, 1, 2, 1, "ben", freeze.id),
            freeze,
        )

    retain(small, records[5].asked_us + DAY)
    assert kept(small, records) == [False, False, True, True, True, True]

    with closing(small.stores()) as stores:
        stores.duties.lift(freeze.id, by="ben", why="closed", now_us=2)
    retain(small, records[5].asked_us + DAY)
    assert kept(small, records) == [False] * 5 + [True]


async def test_texts_in_files_of_the_archive_go_when_all_of_a_file_are_old_enough(
    small: House,
) -> None:
    small.project.declare(
        (small.folder / "integrations.py").read_text().replace("True)", 'True, keep="3 d")')
    )
    records = await filled(small)
    archived(small)
    assert kept(small, records) == [True] * 6
    assert b"CANARY" not in small.everything()

    for _ in "ab":  # once more changes nothing
        retain(small, records[5].asked_us)

    assert kept(small, records) == [False, False, True, True, True, True]
    with closing(small.stores()) as stores:
        left = {one.file for one in stores.archives.files()}
        events = [one for one in stores.audit.events() if one.action == "retention.expire"]
        old = stores.records.get(records[0].call_id)
    folder = small.folder / ".splice" / "archive"
    assert {str(one.relative_to(folder)) for one in folder.rglob("*.parquet")} == left
    assert [one.details["calls"] for one in events if "file" in one.details] == [1] * 3
    assert old is not None
    assert (old.status, old.entity, EXPIRED in old.notes) == (records[0].status, None, True)
    assert broken(small) is None


async def test_an_archived_call_is_read_by_who_may_and_erased_like_any(small: House) -> None:
    records = await filled(small)
    archived(small)
    assert all(kept(small, records))

    receipt = small.erase("ada")

    assert receipt.calls == 7
    assert not any(kept(small, records))
    assert broken(small) is None
