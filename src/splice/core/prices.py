"""What a provider asks for a million tokens, and what one call therefore cost."""

from __future__ import annotations

import msgspec

from splice.core.call import Usage

_MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Billionths of the account's currency for a million tokens.

    `cached_nano` is for input tokens that the provider read from its cache, `cache_write_nano` for
    those it wrote into it; without them they cost as much as the others. `batch` is the share of
    all these that is asked in a batch (0.5 is half); None where that is unknown. `above` are the
    prices of prompts of more than so many tokens, the smallest number first.
    """

    input_nano: int
    output_nano: int
    cached_nano: int | None = None
    cache_write_nano: int | None = None
    batch: float | None = None
    above: tuple[tuple[int, Price], ...] = ()

    def of(self, input_tokens: int) -> Price:
        """The price of a prompt of so many tokens."""
        found = self
        for more_than, dearer in self.above:
            if input_tokens > more_than:
                found = dearer
        return found


def cost_nano(price: Price | None, usage: Usage) -> int | None:
    """The cost of one call, rounded half up; None where the price or a count is unknown."""
    if price is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    if price.above:
        price = price.of(usage.input_tokens)
    cached = min(usage.cached_tokens or 0, usage.input_tokens)
    written = min(usage.cache_write_tokens or 0, usage.input_tokens - cached)
    cached_price = price.input_nano if price.cached_nano is None else price.cached_nano
    write_price = price.input_nano if price.cache_write_nano is None else price.cache_write_nano
    total = (
        (usage.input_tokens - cached - written) * price.input_nano
        + cached * cached_price
        + written * write_price
        + usage.output_tokens * price.output_nano
    )
    return (total + _MILLION // 2) // _MILLION


def in_batch(price: Price | None) -> Price | None:
    """The same price in a batch; None where either is unknown."""
    if price is None or price.batch is None:
        return None
    share = price.batch

    def part(nano: int | None) -> int | None:
        return None if nano is None else round(nano * share)

    return Price(
        input_nano=round(price.input_nano * share),
        output_nano=round(price.output_nano * share),
        cached_nano=part(price.cached_nano),
        cache_write_nano=part(price.cache_write_nano),
        above=tuple(
            (more_than, cheaper)
            for more_than, dearer in price.above
            if (cheaper := in_batch(msgspec.structs.replace(dearer, batch=share))) is not None
        ),
    )
