"""What goes wrong below the ledger is told in plain words, without a password or a row's value."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, make_url

from splice.adapters.ledgers.payloads import decode, unpack
from splice.adapters.ledgers.sql import open_ledger
from splice.adapters.ledgers.sqlite import SqliteDatabase
from splice.core.errors import SettingsError, StoreError
from splice.core.release import Bundle
from splice.testing.contracts.records import simple_record


def test_a_full_disk_stores_nothing_of_a_batch(sqlite_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url, tmp_path)
    rng = random.Random(1)
    ledger.records.append([simple_record(rng)])
    database = ledger._database
    assert isinstance(database, SqliteDatabase)
    database.engine.dispose()
    event.listen(database.engine, "connect", lambda c, _: c.execute("PRAGMA max_page_count = 60"))
    many = [simple_record(rng) for _ in range(300)]
    for record in many:
        record.input = rng.randbytes(3000)

    with pytest.raises(StoreError, match=r"full disk.*Free space on the volume"):
        ledger.records.append(many)

    assert ledger.records.count() == 1
    ledger.close()


def test_a_file_that_is_no_ledger_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database at all" * 400)

    with pytest.raises(StoreError, match="damaged or not a ledger"):
        open_ledger(f"sqlite:///{tmp_path}/ledger.db", tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="file/ledger"):
        open_ledger(f"sqlite:///{tmp_path}/file/ledger.db", tmp_path)


@pytest.mark.parametrize(
    "url", ["", "ledger.db", "sqlite://", "sqlite:///:memory:", "mysql://u:hunter2@h/db", "x://["]
)
def test_a_url_of_no_ledger_is_a_wrong_setting(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        open_ledger(url, tmp_path)

    assert "hunter2" not in str(caught.value)


def test_a_damaged_payload_is_told(sqlite_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url, tmp_path)
    record = simple_record(random.Random(1))
    ledger.records.append([record])
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("DROP TRIGGER blocks_no_update")
        connection.execute("UPDATE blocks SET body = substr(body, 1, length(body) - 5)")
    connection.close()

    with pytest.raises(StoreError, match="missing or damaged"):
        ledger.records.get(record.call_id)

    ledger.close()


def test_an_encoding_of_the_future_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="encoding 01"):
        decode(b"\x01secret")
    with pytest.raises(ValueError, match="damaged"):
        unpack(b"no zstd")


def test_text_that_is_no_unicode_is_told(sqlite_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url, tmp_path)
    rng = random.Random(1)
    some = [simple_record(rng), simple_record(rng)]
    some[1].entity = "half a \ud83d character"

    with pytest.raises(StoreError, match="lone surrogates") as caught:
        ledger.records.append(some)

    assert "half a" not in str(caught.value)
    assert ledger.records.count() == 0
    ledger.close()


def test_a_ledger_whose_file_is_gone_is_not_ready(sqlite_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url, tmp_path)
    before = ledger.check()

    (tmp_path / "ledger.db").unlink()

    assert before == ""
    assert "may not be written" in ledger.check()
    ledger.close()


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"host": "127.0.0.1", "port": 1, "query": {}}, "no connection"),
        ({"database": "nowhere"}, "a server without this database"),
        ({"username": "nobody-of-that-name"}, "a login that the server refused"),
    ],
)
def test_a_server_that_refuses_is_told_without_the_password(
    postgres_server: str, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    url = make_url(postgres_server).set(password="hunter2").set(**change)

    with pytest.raises(StoreError, match=told) as caught:
        open_ledger(url.render_as_string(hide_password=False), tmp_path)

    assert "hunter2" not in str(caught.value)


def test_a_bundle_that_was_changed_is_told(sqlite_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url, tmp_path)
    good = ledger.releases.put_bundle(Bundle("credit", {"credit.py": "limit = 100"}))
    ledger.releases.put_bundle(Bundle("credit", {"credit.py": "limit = 10**9"}))
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("DROP TRIGGER bundles_no_update")
        connection.execute(
            "UPDATE bundles SET body = (SELECT body FROM bundles WHERE sha256 <> ?)", (good,)
        )
    connection.close()

    with pytest.raises(StoreError, match="another hash"):
        ledger.releases.bundle(good)

    ledger.close()
