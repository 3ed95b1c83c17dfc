"""Encrypting: the vault and the key store of a process, and the ledger's stores behind locks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from splice.app.clock import now_us
from splice.app.plugins import made, plugin
from splice.app.settings import Settings
from splice.control.encryption import Keychain, cipher_of
from splice.control.locked_events import EventLocks
from splice.control.locks import Locks
from splice.control.protections import Protections
from splice.core.errors import SettingsError, StoreError
from splice.core.release import Release
from splice.core.vault_errors import VaultError
from splice.ports.stores import ReleaseStore
from splice.ports.subjects import SubjectKeys
from splice.ports.vaults import Vault

log = logging.getLogger("splice.encryption")

EXTRA = "splice-ai[governance]"
KEYS = "sqlite:///.splice-keys/people.db"


class Encryption:
    """What encrypts in this process. Nothing is opened before something is to be encrypted.

    Args:
        settings: Where vault and key store are.
        releases: Where it is declared what is encrypted.
    """

    def __init__(self, settings: Settings, releases: ReleaseStore) -> None:
        self._settings = settings
        self.protections = Protections(releases)
        self.locks = Locks(self.protections, self.keychain)
        self.events = EventLocks(self.locks)
        self._keychain: Keychain | None = None
        self._making = threading.Lock()

    def keychain(self) -> Keychain:
        """The keys of people, opened with the first use.

        Raises:
            VaultError: There is no vault, or it cannot be read.
            StoreError: The key store cannot be opened.
        """
        if self._keychain is None:
            with self._making:
                if self._keychain is None:
                    self._keychain = self._open()
        return self._keychain

    def _open(self) -> Keychain:
        try:
            cipher_of(bytes(32))  # whether the library is there is told before anything is made
            vault = vault_of(self._settings)
            vault.keks()
            return Keychain(vault, keys_of(self._settings), now_us)
        except SettingsError as error:
            raise VaultError(
                error.where, got=error.got, promised=error.promised, mend=error.mend
            ) from None

    def know(self, release: Release) -> None:
        """A release is about to answer: what it declares can be done, here and now.

        Raises:
            StoreError: Its texts are to be encrypted, and they cannot be.
        """
        protection = release.manifest.protect
        self.protections.know(release.integration, release.number, protection)
        if protection is not None and protection.encrypt:
            self.keychain()

    def forget(self) -> None:
        """Let go of keys that were destroyed meanwhile; of all, where that cannot be told."""
        if self._keychain is None:
            return
        try:
            if count := self._keychain.forget():
                log.info("%d keys of people are forgotten", count)
        except StoreError as error:
            log.warning("nobody can tell which keys of people were destroyed: %s", error)

    def close(self) -> None:
        """Close the key store."""
        if self._keychain is not None:
            self._keychain.keys.close()

    def integration_of(self) -> Callable[[str], str]:
        """Which integration answers a queue, by the queue's name."""
        known = {
            one.source.removeprefix("queue:"): name
            for name, one in self._settings.consume.items()
            if one.source.startswith("queue:")
        }
        return lambda queue: known.get(queue, queue)


def vault_of(settings: Settings) -> Vault:
    """The vault of the settings.

    Raises:
        SettingsError: There is no such kind of vault, or its library is not installed.
        VaultError: It cannot be opened.
    """
    scheme, _, rest = settings.encryption.vault.partition(":")
    return made("vaults", scheme, EXTRA, settings.path(rest), settings.secrets.get(rest, ""))


def keys_of(settings: Settings) -> SubjectKeys:
    """The key store of the settings.

    Raises:
        SettingsError: None is named, and several hosts would each make one.
        StoreError: It cannot be opened.
    """
    url = settings.encryption.keys
    if not url:
        if not settings.ledger_url.startswith("sqlite:"):
            raise SettingsError(
                "encryption.keys", got="nothing, with a ledger that several hosts share",
                promised="a database for the keys of people that they share, too",
                mend='write it like keys = "postgresql://user@host/keys", and back it up apart',
            )  # fmt: skip
        url = KEYS
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith(prefix + "/"):
        url = prefix + str(settings.path(url.removeprefix(prefix)))
    open_keys: Any = plugin("vaults", "keys", EXTRA)
    return open_keys(url)


def in_variable(settings: Settings) -> str:
    """Name of the environment variable that the vault is in; empty where it is in none."""
    scheme, _, rest = settings.encryption.vault.partition(":")
    return rest if scheme == "env" else ""
