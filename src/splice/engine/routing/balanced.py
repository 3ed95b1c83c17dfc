"""Balanced: deployments of one provider share its calls; one that keeps failing is left alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

from splice.core.errors import ProviderLimited
from splice.core.residence import within
from splice.engine.routing.breaker import Breaker, Breaking
from splice.ports.providers import Provider

__all__ = ["Balanced", "Breaking", "Deployment"]


Front: TypeAlias = "Callable[[Provider], Provider]"
"""What stands between a route and a provider."""


class Deployment(Breaker):
    """One place where a provider's models run, with what its last calls have shown."""

    __slots__ = ("in_flight", "name", "provider", "region", "told_until", "weight")

    def __init__(
        self,
        name: str,
        provider: Provider,
        weight: float = 1.0,
        breaking: Breaking | None = None,
        region: str = "",
    ) -> None:
        super().__init__(breaking)
        self.name = name
        self.provider = provider
        self.weight = weight
        self.region = region
        self.in_flight = 0
        self.told_until = 0.0


class Balanced:
    """The deployments of one provider.

    Args:
        name: The provider's name.
        deployments: At least one.
        seed: For the choice between equals.
        front: Stands before each of them; None where nothing does.
    """

    def __init__(
        self,
        name: str,
        deployments: Sequence[Deployment],
        seed: int | None = None,
        front: Front | None = None,
    ) -> None:
        self.name = name
        self._front = front
        self.deployments = tuple(deployments)
        self._only = self.deployments[0] if len(self.deployments) == 1 else None
        self._random = Random(seed)  # noqa: S311 - balance, not secrecy

    def apart(self) -> Balanced:
        """The same places with a memory of their own: what fails here is not held against them.

        For challengers and shadows: their failures must not take the champion from its callers.
        """
        fresh = [
            Deployment(one.name, one.provider, one.weight, one.breaking, one.region)
            for one in self.deployments
        ]
        return Balanced(self.name, fresh, front=self._front)

    def behind(self, front: Front) -> Balanced:
        """The same deployments, with what they have shown, behind something that asks them."""
        return Balanced(self.name, self.deployments, front=front)

    def within(self, regions: Sequence[str]) -> Balanced | None:
        """The deployments in these regions, with what they have shown; None where there is none."""
        kept = [one for one in self.deployments if within(one.region, regions)]
        return Balanced(self.name, kept, front=self._front) if kept else None

    @property
    def regions(self) -> str:
        """Where its deployments are, as far as it is known."""
        return ", ".join(dict.fromkeys(one.region for one in self.deployments if one.region))

    def asked_through(self, one: Deployment) -> Provider:
        """A deployment's provider, or what stands before it."""
        return one.provider if self._front is None else self._front(one.provider)

    @property
    def provider(self) -> Provider:
        """Any of them: they differ in place, not in kind."""
        return self.deployments[0].provider

    def pick(self, avoid: Deployment | None = None) -> Deployment:
        """The least busy for its weight of those that may be asked, another than `avoid` if it can.

        Raises:
            ProviderLimited: All of them are to be left alone for now; says for how long.
        """
        now = time.monotonic()
        only = self._only
        if only is not None and only.ready(now):
            return self._taken(only)
        ready = [one for one in self.deployments if one.ready(now)]
        others = [one for one in ready if one is not avoid] or ready
        if not others:
            soonest = min(one.open_until for one in self.deployments)
            raise ProviderLimited(
                self.name,
                retry_after=max(0.0, soonest - now),
                got="a provider that is left alone after its failures",
            )
        least = min((one.in_flight + 1) / one.weight for one in others)
        equals = [one for one in others if (one.in_flight + 1) / one.weight <= least]
        return self._taken(equals[0] if len(equals) == 1 else self._random.choice(equals))

    def _taken(self, one: Deployment) -> Deployment:
        one.asked()
        return one

    def spare(self, avoid: Deployment) -> bool:
        """Whether another deployment could be asked at once."""
        now = time.monotonic()
        return any(one is not avoid and one.ready(now) for one in self.deployments)
