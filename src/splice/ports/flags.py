"""Flags: another system says which variant a call gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Flags(Protocol):
    """Reads one flag for one caller."""

    async def variant(self, flag: str, who: str, facts: Mapping[str, Any]) -> str | None:
        """The variant that the flag names for `who`, or None where it says nothing usable.

        It never raises and never waits longer than it was told to: a provider that is away or slow
        says nothing, and the rollout's own shares decide.

        Args:
            flag: The flag's key.
            who: The entity, or the call's id where there is none: OpenFeature's targeting key.
            facts: What the provider may target by: integration, caller, surface.
        """
        ...

    @property
    def trouble(self) -> str:
        """Why it says nothing at present; empty where it works."""
        ...

    async def close(self) -> None:
        """Let go of the provider."""
        ...
