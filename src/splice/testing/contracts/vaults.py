"""What every Vault must hold to.

Inherit `VaultContract` and give it a fixture `vault`: a fresh one. `rotates` says whether it is
tended by us; one that is tended elsewhere refuses to rotate and to destroy.
"""

from __future__ import annotations

import os
from typing import ClassVar

import pytest

from splice.core.vault_errors import KeyGone, VaultError
from splice.ports.vaults import Vault

BOUND = b"whose it is"


class VaultContract:
    """What is wrapped can be unwrapped where it belongs, until its wrapping key is destroyed."""

    rotates: ClassVar[bool] = True

    def test_what_was_wrapped_is_unwrapped(self, vault: Vault) -> None:
        key = os.urandom(32)

        kek, wrapped = vault.wrap(key, BOUND)

        assert vault.unwrap(wrapped, kek, BOUND) == key
        assert key not in wrapped
        assert kek == vault.keks()[0].id

    def test_the_same_key_is_wrapped_otherwise_each_time(self, vault: Vault) -> None:
        assert vault.wrap(bytes(32), BOUND)[1] != vault.wrap(bytes(32), BOUND)[1]

    def test_what_belongs_elsewhere_or_was_changed_is_not_unwrapped(self, vault: Vault) -> None:
        kek, wrapped = vault.wrap(os.urandom(32), BOUND)

        for other, bound in (
            (wrapped, b"another's"),
            (wrapped[:-1] + bytes([wrapped[-1] ^ 1]), BOUND),
            (wrapped[:20], BOUND),
            (b"", BOUND),
        ):
            with pytest.raises(VaultError):
                vault.unwrap(other, kek, bound)

    def test_a_wrapping_key_that_is_not_there_is_gone(self, vault: Vault) -> None:
        _, wrapped = vault.wrap(os.urandom(32), BOUND)

        with pytest.raises(KeyGone):
            vault.unwrap(wrapped, "another", BOUND)

    def test_the_key_of_indexes_stays_the_same(self, vault: Vault) -> None:
        first = vault.index_key()
        if self.rotates:
            vault.rotate(5)

        assert vault.index_key() == first
        assert len(first) == 32
        assert first != bytes(32)

    def test_after_a_rotation_what_was_wrapped_before_is_unwrapped_still(
        self, vault: Vault
    ) -> None:
        if not self.rotates:
            return self._is_tended_elsewhere(vault)
        key = os.urandom(32)
        kek, wrapped = vault.wrap(key, BOUND)

        new = vault.rotate(7)

        assert vault.wrap(key, BOUND)[0] == new.id != kek
        assert vault.unwrap(wrapped, kek, BOUND) == key
        assert [one.id for one in vault.keks()] == [new.id, kek]
        assert vault.keks()[0].made_us == 7

    def test_what_a_destroyed_key_has_wrapped_is_lost(self, vault: Vault) -> None:
        if not self.rotates:
            return self._is_tended_elsewhere(vault)
        kek, wrapped = vault.wrap(os.urandom(32), BOUND)
        vault.rotate(7)

        vault.destroy(kek)

        with pytest.raises(KeyGone):
            vault.unwrap(wrapped, kek, BOUND)
        assert kek not in {one.id for one in vault.keks()}
        vault.destroy(kek)  # once more harms nothing

    def test_the_key_that_wraps_now_is_not_destroyed(self, vault: Vault) -> None:
        with pytest.raises(VaultError):
            vault.destroy(vault.keks()[0].id)

        assert vault.keks()

    def test_what_it_says_of_itself_has_no_key_in_it(self, vault: Vault) -> None:
        assert vault.place
        assert vault.index_key().hex() not in repr(vault) + vault.place

    @staticmethod
    def _is_tended_elsewhere(vault: Vault) -> None:
        with pytest.raises(VaultError):
            vault.rotate(7)
