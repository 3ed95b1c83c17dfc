"""Residing: whether what is declared of personal data can be kept by these settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from splice.app.encrypting import vault_of
from splice.app.sections import ProviderSettings
from splice.app.settings import Settings
from splice.control.apply import Control
from splice.core.errors import DeclarationError, SettingsError, StoreError
from splice.core.protection import PinnedProtection
from splice.core.residence import outside, within
from splice.declare.discover import Found
from splice.declare.spec import LLM

_OURS = ("queue:", "table:")


class Residing:
    """Finds what these settings cannot keep of a declaration.

    Args:
        settings: Of the process.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def wrong(self, found: Found) -> list[DeclarationError]:
        """What of it cannot be kept; empty where all can."""
        declaration = found.declaration
        protect = declaration.options.protect
        if protect is None:
            return []
        told = [*self._routes(found, protect), *self._streams(declaration.name, protect)]
        if protect.encrypt:
            told += self._encrypted(found)
        file, line = declaration.places.get("protect") or declaration.places[""]
        return [
            DeclarationError(
                f"{declaration.cls.__name__}.protect", got=got, promised=promised, mend=mend,
                file=file, line=line,
            )
            for got, promised, mend in told
        ]  # fmt: skip

    def check_streams(self, integration: str, protect: PinnedProtection | None) -> None:
        """Passes streams that an integration may use.

        Raises:
            SettingsError: One leads out of its regions.
        """
        for got, promised, mend in self._streams(integration, protect) if protect else ():
            raise SettingsError(f"consume.{integration}", got=got, promised=promised, mend=mend)

    def stream_region(self, target: str) -> str:
        """The region of a stream or a webhook; empty where the settings do not say."""
        if target.startswith("kafka:"):
            return self._settings.kafka.region
        known = [one for one in self._settings.webhooks.values() if target.startswith(one.url)]
        return max(known, key=lambda one: len(one.url)).region if known else ""

    def _routes(self, found: Found, protect: PinnedProtection) -> Iterator[tuple[str, str, str]]:
        if not protect.regions:
            return
        declaration = found.declaration
        plan = declaration.plan
        for timed in (*declaration.routes, *plan.challenger, *plan.shadow):
            route = timed.route
            provider = route.ref.partition("/")[0] if isinstance(route, LLM) else ""
            settings = self._settings.providers.get(provider)
            if settings is None or settings.kind == "llama":
                continue
            regions = regions_of(settings)
            if not any(within(one, protect.regions) for one in regions):
                where = outside(", ".join(filter(None, regions)), protect.regions)
                yield (
                    f"a route to {provider}: {where}", f"a provider in {_named(protect)}",
                    f'write region = "…" in [providers.{provider}], or take another',
                )  # fmt: skip

    def _streams(
        self, integration: str, protect: PinnedProtection
    ) -> Iterator[tuple[str, str, str]]:
        consumed = self._settings.consume.get(integration)
        if consumed is None or not protect.regions:
            return
        for target in (consumed.source, *consumed.targets):
            if not target or target.startswith(_OURS):
                continue
            region = self.stream_region(target)
            if not within(region, protect.regions):
                section = "[kafka]" if target.startswith("kafka:") else "[webhooks.…]"
                yield (
                    f"{target[:80]}: {outside(region, protect.regions)}",
                    f"a stream in {_named(protect)}", f'write region = "…" in {section}',
                )  # fmt: skip

    def _encrypted(self, found: Found) -> Iterator[tuple[str, str, str]]:
        options = found.declaration.options
        try:
            vault_of(self._settings).keks()
        except (SettingsError, StoreError) as error:
            yield (
                f"texts to encrypt, and no vault ({error.where}: {error.got})",
                (error.promised or "a vault"),
                error.mend or "splice encryption init",
            )
        if options.exact_s is not None or options.semantic_s is not None:
            yield (
                "texts to encrypt, and a cache, in which answers would lie readable",
                "one of the two", "leave out the cache, or encrypt=True",
            )  # fmt: skip


class Resident(Control):
    """A Control that also looks whether the settings can keep what is declared."""

    residing: Residing | None = None

    def check(self, found: Found) -> list[DeclarationError]:
        """Every mistake of a declaration that can be found before it runs."""
        wrong = super().check(found)
        return wrong if self.residing is None else [*wrong, *self.residing.wrong(found)]


def regions_of(provider: ProviderSettings) -> Sequence[str]:
    """The regions of the places of a provider; empty texts where the settings do not say."""
    if not provider.deployments:
        return (provider.region,)
    return tuple(one.region or provider.region for one in provider.deployments)


def _named(protect: PinnedProtection) -> str:
    return ", ".join(protect.regions)
