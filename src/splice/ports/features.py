"""A feature store tells what is known of an entity now."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class Features(msgspec.Struct, frozen=True):
    """Values by name; where they are from; how old they are, where the store can say."""

    values: dict[str, Any]  # of the store's own types; they must be JSON values
    source: str
    age_s: float | None = None


class FeatureStore(Protocol):
    """Reads one row of one view by its entity key."""

    async def read(self, view: str, entity: str) -> Features:
        """The row; `values` is empty where the entity is unknown.

        Raises:
            StoreError: No such view, or the store cannot be read.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
