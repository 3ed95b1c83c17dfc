"""Calls that moved to the archive are listed, shown, and given again to those who repeat."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from splice.app.archiving import chores_of_archive
from splice.app.rolling import catch_up
from splice.app.settings import load
from splice.app.wiring import Stores
from splice.core.errors import SettingsError
from splice.testing.contracts.records import DAY_MS, NOON_MS, simple_record


def test_an_archived_call_is_listed_and_shown(
    applied: Callable[..., object], orders: Callable[..., object]
) -> None:
    applied()
    folder: Path = orders.folder
    (folder / "splice.toml").write_text('[ledger]\nkeep = "30 d"\n')
    settings = load(folder, {})
    old, young = (simple_record(random.Random(n), NOON_MS + n * 40 * DAY_MS) for n in (0, 1))
    stores = Stores(settings)
    stores.records.append([old, young])
    assert catch_up(stores)
    while stores.checkpoints.sequence(1000):
        pass
    (chore,) = chores_of_archive(settings, stores.archives)
    while chore.do((NOON_MS + 40 * DAY_MS) * 1000):
        pass
    assert stores.records.get_many([old.call_id, young.call_id]).keys() == {
        old.call_id, young.call_id,
    }  # fmt: skip
    stores.close()

    listed = orders("calls", "list", "--json").json
    archived = orders("calls", "list", "--archived", "--json").json
    shown = orders("calls", "show", old.call_id).json

    assert [one["call_id"] for one in listed] == [young.call_id]
    assert [one["call_id"] for one in archived] == [old.call_id]
    assert shown["call_id"] == old.call_id
    assert shown["input"] == {"age": 41}


def test_a_retention_that_is_none_is_refused(tmp_path: Path) -> None:
    for keep in ("90", "0 d", "12 h", "-1 d"):
        (tmp_path / "splice.toml").write_text(f'[ledger]\nkeep = "{keep}"\n')
        with pytest.raises(SettingsError):
            load(tmp_path, {})


def test_without_a_retention_nothing_is_archived(tmp_path: Path) -> None:
    settings = load(tmp_path, {})
    stores = Stores(settings)

    assert chores_of_archive(settings, stores.archives) == []
    stores.close()
