"""Promotions: an alias moves, releases follow, the audit log tells: all of it, or nothing."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from splice.core.audit import AuditEvent
from splice.core.release import Manifest, Release


class Repin(msgspec.Struct, frozen=True):
    """A live release with another version of a model in its routes."""

    integration: str
    seen: int  # the release that was live when this was planned
    manifest: Manifest


class Promotion(msgspec.Struct, frozen=True):
    """A version becomes the champion; every integration that routes by it takes it up.

    `seen` is the champion when this was planned, 0 where there was none.
    """

    action: str  # of the audit event: model.promote or model.rollback
    model: str
    version: int
    sha256: str
    seen: int
    repins: tuple[Repin, ...]
    by: str
    at_us: int
    why: str = ""
    details: dict[str, Any] = {}  # JSON values, for the audit event


class Promoted(msgspec.Struct, frozen=True):
    """What came of it; an older release with the same manifest is live again under its number."""

    releases: tuple[Release, ...]
    event: AuditEvent


class PromotionStore(Protocol):
    """Makes promotions. Blocks."""

    def promote(self, promotion: Promotion) -> Promoted:
        """Do all of it in one transaction.

        Raises:
            Overtaken: The champion or a live release is not the one that was seen any more, or the
                version was withdrawn or changed; nothing was done.
            StoreError: It could not be stored; nothing was done.
        """
        ...
