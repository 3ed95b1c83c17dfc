"""Accuracy: quality by what really happened, from aggregates that are kept up to date."""

from __future__ import annotations

from splice.core.quality import Quality, QualityWanted
from splice.ports.labels import LabelStore
from splice.ports.stores import ReleaseStore


def quality(labels: LabelStore, releases: ReleaseStore, wanted: QualityWanted) -> Quality:
    """How right an integration was in a window, with its parts where `wanted.by` asks for them.

    Costs milliseconds: it reads aggregates by bucket, never calls. Without a truth declared, or
    without calls, it is a Quality that says so in its notes. A release without calls is no part.

    Raises:
        StoreError: The ledger could not be read.
    """
    raise NotImplementedError


def over_time(labels: LabelStore, releases: ReleaseStore, wanted: QualityWanted) -> list[Quality]:
    """The same by day asked (UTC), oldest first; days without calls are left out."""
    raise NotImplementedError
