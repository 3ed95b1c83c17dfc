"""Protection: how personal data of an integration is kept from providers and in the ledger."""

from __future__ import annotations

import msgspec


class PinnedProtection(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is masked, encrypted, kept and for how long, and where it may go, as pinned."""
