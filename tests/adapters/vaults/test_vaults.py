"""Vaults in a file and a variable, and the key store in both databases, hold to the contracts."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from splice.adapters.vaults.file import FileVault
from splice.adapters.vaults.keks import fresh_text
from splice.adapters.vaults.keystore import SqlSubjectKeys
from splice.adapters.vaults.variable import VariableVault
from splice.core.errors import SettingsError, StoreError
from splice.core.vault_errors import VaultError
from splice.ports.vaults import Vault
from splice.testing.contracts.subject_keys import SubjectKeysContract, subject_key
from splice.testing.contracts.vaults import VaultContract


class TestFileVault(VaultContract):
    @pytest.fixture
    def vault(self, tmp_path: Path) -> Vault:
        made = FileVault(tmp_path / "keys" / "vault.json")
        made.make(1)
        return made


class TestVariableVault(VaultContract):
    rotates = False

    @pytest.fixture
    def vault(self) -> Vault:
        return VariableVault("SPLICE_VAULT", fresh_text(1))


class TestKeysInSqlite(SubjectKeysContract):
    @pytest.fixture
    def keys(self, tmp_path: Path) -> Iterator[SqlSubjectKeys]:
        made = SqlSubjectKeys(f"sqlite:///{tmp_path}/keys/people.db")
        yield made
        made.close()


@pytest.mark.postgres
class TestKeysInPostgres(SubjectKeysContract):
    @pytest.fixture
    def keys(self, postgres_database: str) -> Iterator[SqlSubjectKeys]:
        made = SqlSubjectKeys(postgres_database)
        yield made
        made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "vault.json"
    FileVault(path).make(1)
    return path


def test_a_vault_is_readable_by_its_owner_alone_and_refused_otherwise(file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)

    with pytest.raises(VaultError, match="others may read"):
        FileVault(file).keks()


def test_a_vault_is_never_made_over_another(file: Path) -> None:
    before = file.read_bytes()

    with pytest.raises(VaultError, match="already"):
        FileVault(file).make(2)
    assert file.read_bytes() == before


def test_what_is_no_vault_is_told_without_what_is_in_it(file: Path) -> None:
    file.write_text('{"index": "SECRET"')

    with pytest.raises(VaultError) as told:
        FileVault(file).keks()
    assert "SECRET" not in str(told.value)


def test_a_lost_vault_says_how_it_comes_back(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="splice encryption init"):
        FileVault(tmp_path / "none.json").index_key()


def test_one_that_is_open_follows_what_another_changes(file: Path) -> None:
    mine, other = FileVault(file), FileVault(file)
    old = mine.wrap(bytes(32), b"")[0]

    new = other.rotate(9).id
    other.destroy(old)

    assert [one.id for one in mine.keks()] == [new]


def test_a_destroyed_key_is_overwritten_where_it_stood(file: Path) -> None:
    vault = FileVault(file)
    with file.open("rb") as held:  # the file that the name leads to no more
        before = held.read()
        vault.rotate(9)
        held.seek(0)
        after = held.read()

    assert after == bytes(len(before))


def _rotate(path: str) -> None:
    for _ in range(5):
        FileVault(Path(path)).rotate(9)


def test_processes_that_rotate_at_once_lose_no_key(file: Path) -> None:
    context = get_context("spawn")
    both = [context.Process(target=_rotate, args=(str(file),)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()

    assert [one.exitcode for one in both] == [0, 0]
    assert len({one.id for one in FileVault(file).keks()}) == 11


def test_an_empty_variable_is_told() -> None:
    with pytest.raises(VaultError, match="SPLICE_VAULT"):
        VariableVault("SPLICE_VAULT", "")


def test_a_key_store_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    store = SqlSubjectKeys(f"sqlite:///{tmp_path}/keys/people.db")
    store.add([subject_key()])
    modes = {stat.S_IMODE(os.stat(one).st_mode) for one in (tmp_path / "keys").iterdir()}
    store.close()

    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


@pytest.mark.parametrize("url", ["mysql://host/keys", "no url", "redis://localhost"])
def test_keys_are_in_no_other_database(url: str) -> None:
    with pytest.raises(SettingsError, match=r"encryption\.keys"):
        SqlSubjectKeys(url)


def test_a_key_store_that_is_away_is_told_without_its_password() -> None:
    with pytest.raises(StoreError) as told:
        SqlSubjectKeys("postgresql://me:SECRET@127.0.0.1:1/keys")
    assert "SECRET" not in str(told.value)
