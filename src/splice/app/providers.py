"""Providers by their settings: each with its deployments, its prices and its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splice.adapters.providers.openai import OpenAISettings
from splice.adapters.providers.pricelist import PriceBook
from splice.adapters.providers.vendors import VENDORS
from splice.app.plugins import plugin
from splice.app.sections import PriceSettings, ProviderSettings
from splice.app.settings import Settings
from splice.core.errors import SettingsError
from splice.core.prices import Price
from splice.core.units import NANO
from splice.engine.routing.balanced import Balanced, Breaking, Deployment
from splice.ports.providers import Provider

# Where each vendor is, and what its guide to batches says that they cost.
# https://platform.openai.com/docs/guides/batch · https://console.groq.com/docs/batch
# https://docs.claude.com/en/docs/build-with-claude/batch-processing
_BATCH_SHARES = {
    "openai": ("api.openai.com", 0.5),
    "groq": ("api.groq.com", 0.5),
    "anthropic": ("api.anthropic.com", 0.5),
}
_EXTRAS = {"llama": "splice-ai[llama]", "pydantic-ai": "splice-ai[pydantic-ai]"}


def providers(settings: Settings) -> dict[str, Balanced]:
    """Every provider of the settings, by name.

    Raises:
        SettingsError: One cannot be made as it is written.
    """
    made: dict[str, Balanced] = {}
    for name, provider in settings.providers.items():
        try:
            made[name] = _balanced(name, provider, settings)
        except SettingsError:
            if name == "local":  # the default one, which nobody asked for by name
                continue
            raise
    return made


async def close(all_of_them: Mapping[str, Balanced]) -> None:
    """Close every deployment of every provider."""
    for balanced in all_of_them.values():
        for deployment in balanced.deployments:
            await deployment.provider.close()


def _balanced(name: str, provider: ProviderSettings, settings: Settings) -> Balanced:
    breaking = Breaking(provider.breaker_failures, provider.breaker_seconds)
    key = settings.secrets.get(provider.api_key_env)
    if not provider.deployments:
        one = _provider(name, provider, settings, provider.base_url, key)
        return Balanced(name, [Deployment(name, one, breaking=breaking, region=provider.region)])
    deployments = [
        Deployment(
            f"{name}[{i}]",
            _provider(
                name,
                provider,
                settings,
                place.base_url,
                settings.secrets.get(place.api_key_env) or key,
            ),
            place.weight,
            breaking,
            place.region or provider.region,
        )
        for i, place in enumerate(provider.deployments)
    ]
    return Balanced(name, deployments)


def is_installed(settings: Settings, provider: ProviderSettings) -> bool:
    """Whether a provider of the kind `llama` has its library and its model."""
    from splice.adapters.providers import llama

    path = settings.path(provider.model_path) if provider.model_path else None
    return llama.is_installed(path)


def _provider(
    name: str, provider: ProviderSettings, settings: Settings, base_url: str, key: str | None
) -> Provider:
    vendor = provider.kind if provider.kind in VENDORS else ""
    adapter = "openai" if vendor else provider.kind
    kind = plugin("providers", adapter, _EXTRAS.get(provider.kind, ""), VENDORS)
    if provider.kind == "llama":
        path = settings.path(provider.model_path) if provider.model_path else None
        return kind(name=name, model_path=path, threads=provider.threads)
    # Another server's model may be called as one of OpenAI's: its price is not theirs.
    foreign = vendor == "openai" and base_url and "api.openai.com" not in base_url
    listed = "" if foreign else provider.model_prefix or vendor or provider.kind
    share = None if foreign else _batch_share(provider.kind, base_url)
    prices = _prices(listed, provider, settings, share)
    if provider.kind == "pydantic-ai":
        return kind(name=name, model_prefix=provider.model_prefix, prices=prices)
    default = VENDORS[vendor].base_url if vendor else ""
    if provider.kind == "anthropic":
        default = "https://api.anthropic.com"
    if not (base_url or default):
        raise SettingsError(
            f"providers.{name}.base_url", got="nothing", promised="the URL of its API",
            mend='write it like base_url = "https://host/v1"',
        )  # fmt: skip
    arguments: dict[str, Any] = {
        "name": name,
        "base_url": base_url or default,
        "api_key": key,
        "prices": prices,
    }
    if vendor:
        arguments["vendor"] = vendor
        arguments["settings"] = OpenAISettings(
            dialect="json_schema" if provider.json_schema else "json_object",
            ca_file=str(settings.path(provider.ca_file)) if provider.ca_file else None,
            api_version=provider.api_version or None,
            key_place=provider.api_key_env and f"the variable {provider.api_key_env}",
        )
    return kind(**arguments)


def _batch_share(kind: str, base_url: str) -> float | None:
    """The share of its prices that a vendor asks in a batch, at its own address; else None."""
    known = _BATCH_SHARES.get(kind)
    return known[1] if known is not None and (not base_url or known[0] in base_url) else None


def _prices(
    vendor: str, provider: ProviderSettings, settings: Settings, share: float | None
) -> PriceBook:
    """What the settings say, and for every other model what the list says."""
    own = {model: _price(price, share) for model, price in provider.prices.items()}
    usd = 1.0 if settings.cost.currency == "USD" else settings.cost.usd
    return PriceBook(vendor, usd, own, batch=share)


def _price(price: PriceSettings, share: float | None) -> Price:
    return Price(
        input_nano=round(price.input * NANO),
        output_nano=round(price.output * NANO),
        cached_nano=None if price.cached is None else round(price.cached * NANO),
        cache_write_nano=None if price.cache_write is None else round(price.cache_write * NANO),
        batch=share if price.batch is None else price.batch,
    )
