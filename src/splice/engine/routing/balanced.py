"""Balanced: deployments of one provider share its calls; one that keeps failing is left alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random

import msgspec

from splice.core.errors import ProviderFailed, ProviderLimited, RouteError, RouteTimeout
from splice.ports.providers import Provider


class Breaking(msgspec.Struct, frozen=True):
    """When a deployment is left alone: after so many failures in a row, for so many seconds."""

    failures: int = 5
    seconds: float = 10.0


class Deployment:
    """One place where a provider's models run, with what its last calls have shown.

    A client that went away says nothing of the deployment and is never counted.
    """

    __slots__ = ("_breaking", "failures", "in_flight", "name", "open_until", "probing", "provider",
                 "told_until", "weight")  # fmt: skip

    def __init__(
        self, name: str, provider: Provider, weight: float = 1.0, breaking: Breaking | None = None
    ) -> None:
        self.name = name
        self.provider = provider
        self.weight = weight
        self._breaking = breaking or Breaking()
        self.in_flight = 0
        self.failures = 0
        self.open_until = 0.0
        self.probing = False
        self.told_until = 0.0

    def answered(self) -> None:
        """It works."""
        self.failures = 0
        self.open_until = 0.0
        self.probing = False

    def failed(self, error: RouteError) -> None:
        """It did not answer: a limit keeps us away for as long as it says, failures add up."""
        self.probing = False
        if isinstance(error, ProviderLimited):
            wait = error.retry_after
            if wait:
                self.open_until = max(self.open_until, time.monotonic() + min(wait, 300.0))
            return
        if not isinstance(error, (ProviderFailed, RouteTimeout)):
            return
        self.failures += 1
        if self.failures >= self._breaking.failures:
            self.open_until = time.monotonic() + self._breaking.seconds

    def left(self) -> None:
        """The caller went away before it could answer: nothing is known."""
        self.probing = False

    def ready(self, now: float) -> bool:
        """Whether it may be asked now; after its time alone, by one call first."""
        if not self.open_until:
            return True
        return now >= self.open_until and not self.probing


class Balanced:
    """The deployments of one provider.

    Args:
        name: The provider's name.
        deployments: At least one.
        seed: For the choice between equals.
    """

    def __init__(
        self, name: str, deployments: Sequence[Deployment], seed: int | None = None
    ) -> None:
        self.name = name
        self.deployments = tuple(deployments)
        self._only = self.deployments[0] if len(self.deployments) == 1 else None
        self._random = Random(seed)  # noqa: S311 - balance, not secrecy

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
        if one.open_until:
            one.probing = True
        return one

    def spare(self, avoid: Deployment) -> bool:
        """Whether another deployment could be asked at once."""
        now = time.monotonic()
        return any(one is not avoid and one.ready(now) for one in self.deployments)
