"""Tending: keys are wrapped anew, erasures finished, and texts dropped when they are old enough."""

from __future__ import annotations

from splice.app.archiving import files_of
from splice.app.chores import Chore
from splice.app.encrypting import Encryption, in_variable
from splice.app.settings import Settings
from splice.app.wiring import Services, Stores
from splice.control.erasure import Eraser, Shelves, tend
from splice.control.retention import Archive, Retention
from splice.core.archives import Archived
from splice.core.units import seconds

_TEND_S, _FINISH_S, _RETAIN_S = 300.0, 60.0, 300.0
_AT_ONCE = 5000
"""Keys that are wrapped anew in one step: about a second."""


def chores_of_encryption(services: Services) -> list[Chore]:
    """The chores of encryption, erasure and retention."""
    settings, stores = services.settings, services.stores
    retention = retention_of(settings, stores)
    eraser = eraser_of(stores)
    return [
        Chore("keys", _TEND_S, Tending(settings, stores.encryption).step),
        Chore("erasures", _FINISH_S, eraser.finish),
        Chore("retention", _RETAIN_S, retention.step),
    ]


def eraser_of(stores: Stores) -> Eraser:
    """Erases persons of a ledger."""
    shelves = Shelves(stores.records, stores.outcomes, stores.subjects, stores.duties, stores.audit)
    return Eraser(stores.encryption.locks, shelves)


def retention_of(settings: Settings, stores: Stores) -> Retention:
    """Drops texts of a ledger that are old enough."""
    folder = settings.path(settings.ledger.archive)

    def remove(file: Archived) -> None:
        (folder / file.file).unlink(missing_ok=True)

    archive = Archive(stores.archives, lambda: files_of(settings, stores.archives), remove)
    return Retention(stores.encryption.protections, stores.subjects, stores.duties, archive)


class Tending:
    """Rotates what wraps keys, where the vault is one that is tended here.

    Args:
        settings: How often.
        encryption: Vault and key store.
    """

    def __init__(self, settings: Settings, encryption: Encryption) -> None:
        self._encryption = encryption
        section = settings.encryption
        self._overlap_us = round(seconds(section.overlap, "encryption.overlap") * 1e6)
        self._rotate_us = 0
        if section.rotate and not in_variable(settings):
            self._rotate_us = round(seconds(section.rotate, "encryption.rotate") * 1e6)

    def step(self, now_us: int) -> bool:
        """Wrap keys anew where that is due; says whether there is more to do at once."""
        if not self._encryption.protections.encrypted():
            return False
        chain = self._encryption.keychain()
        newest = chain.vault.keks()[0]
        due = 0 < self._rotate_us <= now_us - newest.made_us
        return tend(
            chain, now_us, rotate=due, destroy=self._rotate_us > 0, overlap_us=self._overlap_us,
            most=_AT_ONCE,
        )  # fmt: skip
