"""Protections: what releases declare about personal data; each release is read once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from splice.core.protection import PinnedProtection
from splice.ports.stores import ReleaseStore

_FRESH_S = 1.0


class Protections:
    """Knows what of a release's calls is encrypted, and how long it is kept.

    Args:
        releases: Where it is declared.
    """

    def __init__(self, releases: ReleaseStore) -> None:
        self._releases = releases
        self._of: dict[tuple[str, int], PinnedProtection | None] = {}
        self._generations: dict[str, int] = {}
        self._encrypted: set[str] = set()
        self._live: dict[str, PinnedProtection | None] = {}
        self._looked = float("-inf")

    def know(self, integration: str, number: int, protection: PinnedProtection | None) -> None:
        """Note what a release declares that was just loaded: later the ledger may be away."""
        self._of[integration, number] = protection
        if protection is not None and protection.encrypt:
            self._encrypted.add(integration)

    def of(self, integration: str, number: int) -> PinnedProtection | None:
        """What a release declares, or None.

        Raises:
            StoreError: It was never read, and cannot be now.
        """
        try:
            return self._of[integration, number]
        except KeyError:
            release = self._releases.release(integration, number)
            protection = None if release is None else release.manifest.protect
            self.know(integration, number, protection)
            return protection

    def encrypts(self, integration: str, number: int) -> PinnedProtection | None:
        """The same where texts are to be encrypted, else None."""
        found = self.of(integration, number)
        return found if found is not None and found.encrypt else None

    def live(self, integration: str) -> PinnedProtection | None:
        """What the live release declares, at the most a second old."""
        self._refresh()
        return self._live.get(integration)

    def kept(self) -> dict[str, float]:
        """Integrations whose live release says how long texts are kept: seconds."""
        self._refresh()
        return {
            name: one.keep_s
            for name, one in self._live.items()
            if one is not None and one.keep_s is not None
        }

    def by_path(self, integration: str) -> bool:
        """Whether any release named whom its calls are about otherwise than by the entity."""
        return any(
            one is not None and one.encrypt and bool(one.subject)
            for (name, _), one in list(self._of.items())
            if name == integration
        )

    def encrypted(self) -> Sequence[str]:
        """Integrations of which a release encrypts, whether it is live or was."""
        self._refresh()
        return sorted(self._encrypted)

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < _FRESH_S:
            return
        for live in self._releases.live():
            if self._generations.get(live.integration) == live.generation:
                continue
            for release in self._releases.releases(live.integration):
                self.know(live.integration, release.number, release.manifest.protect)
            self._live[live.integration] = self._of.get((live.integration, live.number))
            self._generations[live.integration] = live.generation
        self._looked = now
