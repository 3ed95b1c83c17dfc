"""Whoever writes past the ledger is found, and the first record that he touched is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from tampered import NOW_US, House, chain_anew, tree_anew

from splice.control.checkpoints import Tampered
from splice.control.signing import Signer, new_key
from splice.core.heads import Note, notes


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("tampered")
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        (folder / "ledger.db").write_bytes(template.read_bytes())
        url = f"sqlite:///{folder}/ledger.db"
    else:
        url = request.getfixturevalue("module_postgres_url")
    house = House(url, folder)
    house.keep()
    yield house
    house.ledger.close()


@pytest.fixture
def house(made: House) -> Iterator[House]:
    heads = (made.folder / "heads.txt").read_bytes()
    yield made
    made.put_back()
    (made.folder / "heads.txt").write_bytes(heads)


def test_what_nobody_touched_holds(house: House) -> None:
    seen = house.verified()

    assert seen.broken is None
    assert (seen.events, seen.calls, seen.heads, seen.covered) == (12, 90, 3, 90)
    assert seen.warnings == []


EVENT = {
    "at_us": 7, "by": "bob", "action": "integration.start", "subject": "loans", "why": "",
    "details": '{"n":9}', "details ": "no JSON", "previous": "0" * 64, "sha256": "f" * 64,
    "before": '{"stopped":true}', "after": "null", "origin": '{"surface":"console"}',
    "origin ": "[]",
}  # fmt: skip


@pytest.mark.parametrize("column", EVENT)
def test_an_event_whose_column_was_edited_is_named(house: House, column: str) -> None:
    with house.written_past() as connection:
        edit = f'UPDATE audit_events SET "{column.strip()}" = :value WHERE number = 6'
        connection.execute(text(edit), {"value": EVENT[column]})

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("event", "6")


CALL = {
    "asked_us": 7, "duration_us": 8, "caller": "mallory", "entity": "customer-0", "entity ": None,
    "cost_nano": 0, "cost_nano ": None, "place": 1,
}  # fmt: skip


@pytest.mark.parametrize("column", CALL)
def test_a_call_whose_column_was_edited_is_named(house: House, column: str) -> None:
    with house.written_past() as connection:
        edit = f"UPDATE calls SET {column.strip()} = :value WHERE id = :id"
        values = {"value": CALL[column], "id": house.id_of(47)}
        connection.execute(text(edit), values)

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("call", house.calls[47].call_id)


@pytest.mark.parametrize(
    "column",
    ["integration", "release", "status", "reason", "surface", "route", "variant", "version"],
)
def test_a_kind_that_was_edited_names_the_first_call_of_that_kind(
    house: House, column: str
) -> None:
    values = {"release": "4", "status": "'failed'", "reason": "'fallback'"}
    with house.written_past() as connection:
        value = values.get(column, "'another'")
        connection.execute(text(f"UPDATE call_kinds SET {column} = {value}"))

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("call", house.calls[0].call_id)


def test_payloads_that_were_swapped_are_named(house: House) -> None:
    with house.written_past() as connection:
        wanted = text("SELECT place FROM calls WHERE id = :id")
        places = [connection.execute(wanted, {"id": house.id_of(n)}).scalar_one() for n in (5, 8)]
        for index, place in zip((5, 8), reversed(places), strict=True):
            connection.execute(
                text("UPDATE calls SET place = :place WHERE id = :id"),
                {"place": place, "id": house.id_of(index)},
            )

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("call", house.calls[5].call_id)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_payload_that_cannot_be_read_is_named(house: House, damage: str) -> None:
    does = (
        "DELETE FROM blocks" if damage == "gone" else "UPDATE blocks SET body = substr(body, 1, 9)"
    )
    with house.written_past() as connection:
        place = "(SELECT place / 64 FROM calls WHERE id = :id)"
        connection.execute(text(f"{does} WHERE id = {place}"), {"id": house.id_of(30)})

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("call", house.calls[30].call_id)


@pytest.mark.parametrize("index", [0, 41, 89])
def test_a_call_that_was_deleted_is_named(house: House, index: int) -> None:
    with house.written_past() as connection:
        connection.execute(text("DELETE FROM calls WHERE id = :id"), {"id": house.id_of(index)})

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("call", house.calls[index].call_id)
    assert "removed" in broken.how


@pytest.mark.parametrize("number", [1, 7, 12])
def test_an_event_that_was_deleted_is_named(house: House, number: int) -> None:
    with house.written_past() as connection:
        connection.execute(text(f"DELETE FROM audit_events WHERE number = {number}"))

    broken = house.verified().broken

    assert broken is not None
    # Of the last one nothing is left that could say its number.
    assert (broken.kind, broken.name) == ("event", "after 11" if number == 12 else str(number))


def test_events_that_changed_places_are_named(house: House) -> None:
    with house.written_past() as connection:
        for old, new in ((4, -1), (9, 4), (-1, 9)):
            move = f"UPDATE audit_events SET number = {new} WHERE number = {old}"
            connection.execute(text(move))

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("event", "4")


def test_calls_that_changed_their_ids_are_named(house: House) -> None:
    with house.written_past() as connection:
        spare = "00000000-0000-0000-0000-000000000001"
        other = spare if "postgres" in house.url else bytes.fromhex(spare.replace("-", ""))
        if "postgres" in house.url:  # a partition takes only ids of its day
            connection.execute(text("CREATE TABLE swapped AS SELECT * FROM calls"))
            for old, new in ((10, 20), (20, 10)):
                connection.execute(
                    text("UPDATE calls SET (asked_us, entity, place) = (SELECT asked_us, entity, "
                         "place FROM swapped WHERE id = :old) WHERE id = :new"),
                    {"old": house.id_of(old), "new": house.id_of(new)},
                )  # fmt: skip
            connection.execute(text("DROP TABLE swapped"))
        else:
            for old, new in (
                (house.id_of(10), other), (house.id_of(20), house.id_of(10)),
                (other, house.id_of(20)),
            ):  # fmt: skip
                connection.execute(
                    text("UPDATE calls SET id = :new WHERE id = :old"), {"old": old, "new": new}
                )

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("call", house.calls[10].call_id)


def test_leaves_that_changed_places_are_named(house: House) -> None:
    with house.written_past() as connection:
        first, ids = connection.execute(text("SELECT first, ids FROM tree_calls")).one()
        body = bytes(ids)
        body = body[:160] + body[320:336] + body[176:320] + body[160:176] + body[336:]
        assert len(body) == len(ids)
        connection.execute(
            text("UPDATE tree_calls SET ids = :ids WHERE first = :first"),
            {"ids": body, "first": first},
        )

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("call", house.calls[20].call_id)


def test_a_call_that_was_put_in_is_named(house: House) -> None:
    made_up = house.calls[3].call_id[:-4] + "ffff"
    given = made_up if "postgres" in house.url else bytes.fromhex(made_up.replace("-", ""))
    with house.written_past() as connection:
        connection.execute(
            text("INSERT INTO calls (id, kind, asked_us, duration_us, caller, entity, cost_nano, "
                 "place) SELECT :new, kind, asked_us, duration_us, caller, entity, cost_nano, "
                 "place FROM calls WHERE id = :old"),
            {"new": given, "old": house.id_of(3)},
        )  # fmt: skip

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("call", made_up)
    assert "put in" in broken.how


def test_a_hash_of_the_tree_that_was_changed_is_told_from_a_changed_call(house: House) -> None:
    with house.written_past() as connection:
        hashes = "SELECT hashes FROM tree_tiles WHERE tree = 'calls' AND level = 0"
        body = bytes(connection.execute(text(hashes)).scalar_one())
        bent = body[: 40 * 32] + bytes(32) + body[41 * 32 :]
        connection.execute(
            text("UPDATE tree_tiles SET hashes = :bent WHERE tree = 'calls' AND level = 0"),
            {"bent": bent},
        )

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("call", house.calls[40].call_id)
    assert "holds, but the tree's hash" in broken.how


def rewrite_a_call(house: House) -> None:
    """Call 40 costs nothing, and everything that proves otherwise is made anew."""
    with house.written_past() as connection:
        connection.execute(
            text("UPDATE calls SET cost_nano = 0 WHERE id = :id"), {"id": house.id_of(40)}
        )
    ids = [one.call_id for one in house.calls]
    ledger = house.opened()
    stored = ledger.checkpoints.stored(ids)
    leaves = [leaf.hashed() for one in ids if (leaf := stored[one].leaf) is not None]
    with house.written_past() as connection:
        tree_anew(connection, ledger, "calls", leaves)
    ledger.close()


def test_a_call_that_was_rewritten_with_all_hashes_contradicts_the_next_head(house: House) -> None:
    rewrite_a_call(house)

    broken = house.verified().broken

    assert broken is not None
    # Head 1 covers 30 calls and holds; head 2 covers 60: it is one of those between.
    assert (broken.kind, broken.name, broken.head) == ("call", house.calls[30].call_id, 2)
    assert "rewritten" in broken.how


def test_events_that_were_rewritten_with_all_hashes_contradict_the_next_head(
    house: House,
) -> None:
    with house.written_past() as connection:
        connection.execute(text("UPDATE audit_events SET by = 'eve' WHERE number = 9"))
    ledger = house.opened()
    with house.written_past() as connection:
        leaves = chain_anew(connection, ledger)
        tree_anew(connection, ledger, "events", leaves)
    ledger.close()

    broken = house.verified().broken

    assert broken is not None
    assert (broken.kind, broken.name, broken.head) == ("event", "9", 3)


def kept_head(house: House, number: int) -> Note:
    """What somebody copied away."""
    return notes((house.folder / "heads.txt").read_text())[number - 1]


def test_a_ledger_that_was_rewritten_with_its_heads_contradicts_one_that_was_kept(
    house: House,
) -> None:
    kept = kept_head(house, 2)
    rewrite_a_call(house)
    with house.written_past() as connection:
        connection.execute(text("DELETE FROM tree_heads"))
    (house.folder / "heads.txt").unlink()
    house.head(NOW_US + 9)  # with the right key: even so
    assert house.verified().broken is None, "nothing but the kept head can know of it"

    broken = house.verified([kept]).broken

    assert broken is not None
    assert (broken.kind, broken.head) == ("call", 2)


def test_calls_that_were_cut_off_contradict_a_head_that_was_kept(house: House) -> None:
    kept = kept_head(house, 3)
    ids = [one.call_id for one in house.calls]
    ledger = house.opened()
    stored = ledger.checkpoints.stored(ids)
    leaves = [leaf.hashed() for one in ids[:70] if (leaf := stored[one].leaf) is not None]
    with house.written_past() as connection:
        for index in range(70, 90):
            connection.execute(text("DELETE FROM calls WHERE id = :id"), {"id": house.id_of(index)})
        connection.execute(text("UPDATE tree_calls SET ids = substr(ids, 1, 1120)"))
        tree_anew(connection, ledger, "calls", leaves)
        connection.execute(text("DELETE FROM tree_heads WHERE number = 3"))
    ledger.close()

    broken = house.verified([kept], outside=False).broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("call", f"after {ids[69]}")
    assert broken.head == 3


def test_a_head_that_was_changed_is_named(house: House) -> None:
    with house.written_past() as connection:
        bent = "replace(note, 'number 2', 'number 7')"
        connection.execute(text(f"UPDATE tree_heads SET note = {bent} WHERE number = 2"))

    broken = house.verified(outside=False).broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("head", "7")


def test_a_head_of_another_key_is_named(house: House, tmp_path: Path) -> None:
    stranger = House.__new__(House)
    stranger.__dict__.update(house.__dict__)
    stranger.signer = Signer(new_key("acme/ledger")[0], "another key")
    stranger.heads = type(house.heads)(tmp_path / "none.txt")
    with house.written_past() as connection:
        connection.execute(text("DELETE FROM tree_heads"))
    stranger.head(NOW_US)

    broken = house.verified(outside=False).broken

    assert broken is not None
    assert (broken.kind, broken.name) == ("head", "1")


def test_a_rewritten_ledger_gets_no_further_signature(house: House) -> None:
    rewrite_a_call(house)
    house.ledger.audit.add_event("a.b", "c", by="ada", now_us=NOW_US)

    with pytest.raises(Tampered, match="the tree of calls"):
        house.head(NOW_US + 10)


def test_a_ledger_without_the_heads_that_are_outside_gets_no_further_signature(
    house: House,
) -> None:
    with house.written_past() as connection:
        connection.execute(text("DELETE FROM tree_heads WHERE number = 3"))

    with pytest.raises(Tampered, match="head 3, which the ledger does not have"):
        house.head(NOW_US + 10)
