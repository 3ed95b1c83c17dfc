"""Protection: how personal data of an integration is kept from providers and in the ledger."""

from __future__ import annotations

import msgspec


class PinnedProtection(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is masked, encrypted, kept and for how long, and where it may go, as pinned.

    Attributes:
        mask: Rules; what they find no provider sees. Empty where nothing is masked.
        files: Whether files go out although nobody can look into them.
        subject: Path in the request to the person whom a call is about (`customer.id`); empty for
            the entity.
        encrypt: Whether the texts of a call lie in the ledger enciphered with its subject's key.
        keep_s: Seconds after which the texts of a call are dropped; None keeps them as the ledger
            does.
        regions: Where texts may go; empty for anywhere.
        entity: The field of the request that is the entity, where texts are encrypted.
    """

    mask: tuple[str, ...] = ()
    files: bool = False
    subject: str = ""
    encrypt: bool = False
    keep_s: float | None = None
    regions: tuple[str, ...] = ()
    entity: str = ""

    @property
    def person(self) -> str:
        """Path in the request to the person whom a call is about; empty where nothing names him."""
        return self.subject or self.entity


def protection_text(given: PinnedProtection | None) -> str:
    """In words: "masked: email, iban; encrypted by customer; kept for 400 d; only in eu"."""
    if given is None:
        return ""
    by = f" by {given.person}" if given.person else ""
    said = (
        f"masked: {', '.join(given.mask)}" if given.mask else "",
        "files go out" if given.files else "",
        f"encrypted{by}" if given.encrypt else "",
        "" if given.keep_s is None else f"kept for {given.keep_s / 86_400:g} d",
        f"only in {', '.join(given.regions)}" if given.regions else "",
    )
    return "; ".join(one for one in said if one)
