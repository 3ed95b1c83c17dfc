"""What vendors publish as their prices, for models that no setting prices.

The list is a file of this package, which `scripts/prices` refreshes; it says its day and its
source. What is not in it is unknown, which is not the same as free.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import msgspec

from splice.core.prices import Price
from splice.core.units import NANO

_FILE = Path(__file__).with_name("pricelist.json")

_ALSO: Mapping[str, str] = {
    "azure-openai": "azure",
    "google": "gemini",
    "google-cloud": "vertex",
    "google-gla": "gemini",
    "google-vertex": "vertex",
    "grok": "xai",
    "moonshotai": "moonshot",
    "together-ai": "together",
    "vertex-ai": "vertex",
    "vertexai": "vertex",
}
"""Other names of vendors, as libraries and their users write them."""

_PREFIXES = ("models/", "publishers/google/models/", "accounts/fireworks/models/")
"""What stands before a model's name in the paths of some APIs."""

_REMEMBERED = 1000
"""Names whose price one provider keeps at hand."""

_DATED = re.compile(r"[-@](\d{4})-?(\d{2})-?(\d{2})$")


class Rates(msgspec.Struct, frozen=True):
    """US dollars for a million tokens of text.

    `output` is None where the model writes none (an embedding). `cached` and `cache_write` are for
    tokens of the input that the vendor read from its cache or wrote into it; None where it asks as
    much as for the others.
    """

    input: float
    output: float | None = None
    cached: float | None = None
    cache_write: float | None = None


class ListedPrice(msgspec.Struct, frozen=True):
    """The published price of one model under the name that it has in the list.

    `above` are the rates of prompts of more than so many tokens, where they cost more, the smallest
    number first. Where a price depends on the hour it is the dearer one. Batches, service tiers,
    audio, images and the vendor's own tools have prices of their own, which are not here.
    """

    vendor: str
    model: str
    rates: Rates
    above: tuple[tuple[int, Rates], ...] = ()


class Source(msgspec.Struct, frozen=True):
    """Where the list comes from."""

    package: str
    version: str
    file: str
    licence: str
    notice: str


_Number: TypeAlias = "float | None"
_Row: TypeAlias = "list[float | list[float | None] | None]"


class _File(msgspec.Struct):
    as_of: date
    source: Source
    vendors: dict[str, dict[str, _Row]]


class PriceList:
    """The published prices; the file is read when the first one is looked up.

    Args:
        file: Another list of the same form.
    """

    def __init__(self, file: Path = _FILE) -> None:
        self._path = file

    @property
    def as_of(self) -> date:
        """The day on which the list was taken from its source."""
        return self._file.as_of

    @property
    def source(self) -> Source:
        """Where the list comes from, and its licence."""
        return self._file.source

    @property
    def vendors(self) -> list[str]:
        """The vendors in the list."""
        return sorted(self._file.vendors)

    def find(self, vendor: str, model: str) -> ListedPrice | None:
        """The price of a model, or None: unknown.

        It is found by its own name, whatever the case, with or without the vendor in front of it;
        a fine-tuned model (`ft:…`) by the price of its kind; a dated snapshot that is not listed by
        the name without the date. Never by the beginning of a name, which may be another model's.
        """
        known = _known(vendor)
        models = self._file.vendors.get(known)
        if models is None:
            return None
        for name in _names(model, (vendor, known)):
            listed = name if name in models else self._folded[known].get(name.casefold())
            if listed is not None:
                return _listed(known, listed, models[listed])
        return None

    def models(self, vendor: str) -> list[str]:
        """The names of a vendor's models in the list; empty where it is not listed."""
        return list(self._file.vendors.get(_known(vendor), ()))

    @cached_property
    def _file(self) -> _File:
        return msgspec.json.decode(self._path.read_bytes(), type=_File)

    @cached_property
    def _folded(self) -> dict[str, dict[str, str]]:
        """Per vendor, the name in the list by the same name in lower case, where that is one."""
        folded: dict[str, dict[str, str]] = {}
        for vendor, models in self._file.vendors.items():
            one = folded[vendor] = {}
            for name in models:
                one[name.casefold()] = "" if name.casefold() in one else name
            folded[vendor] = {lower: name for lower, name in one.items() if name}
        return folded


def to_price(listed: ListedPrice, usd: float | None, batch: float | None = None) -> Price | None:
    """The price in billionths of the account's currency for a million tokens.

    Args:
        listed: From `PriceList.find`.
        usd: What one US dollar is in that currency: 1 where it is the dollar itself. None where
            nobody said, and so the price is unknown too.
        batch: Share of it that the vendor asks in a batch; None where unknown.
    """
    if usd is None:
        return None

    def nano(dollars: float | None) -> int | None:
        return None if dollars is None else round(dollars * usd * NANO)

    def price(rates: Rates, above: tuple[tuple[int, Price], ...] = ()) -> Price:
        return Price(
            input_nano=nano(rates.input) or 0,
            output_nano=nano(rates.output) or 0,
            cached_nano=nano(rates.cached),
            cache_write_nano=nano(rates.cache_write),
            batch=batch,
            above=above,
        )

    return price(listed.rates, tuple((n, price(rates)) for n, rates in listed.above))


class PriceBook(Mapping[str, Price]):
    """The prices of one provider's models: its own first, the published ones for the others.

    A model whose price is unknown is not in it. Going through it gives every name that is listed;
    looking one up also finds it by its other names (see `PriceList.find`).

    Args:
        vendor: Whose published prices; one that is not listed has none.
        usd: As in `to_price`.
        own: Prices that the settings say, by the name of the model.
        published: The list.
        batch: Share of the published prices that the vendor asks in a batch; None where unknown.
    """

    def __init__(
        self,
        vendor: str,
        usd: float | None,
        own: Mapping[str, Price],
        published: PriceList | None = None,
        *,
        batch: float | None = None,
    ) -> None:
        self._vendor = vendor
        self._usd = usd
        self._own = dict(own)
        self._published = published or PriceList()
        self._batch = batch
        self._found: dict[str, Price | None] = {}

    def __getitem__(self, model: str) -> Price:
        price = self._own.get(model)
        if price is None:
            price = self._looked_up(model)
        if price is None:
            raise KeyError(model)
        return price

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        if self._usd is not None:
            for model in self._published.models(self._vendor):
                if model not in self._own:
                    yield model

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _looked_up(self, model: str) -> Price | None:
        if self._usd is None:
            return None  # and the list need not even be read
        if model not in self._found:
            if len(self._found) >= _REMEMBERED:  # names come from callers: they must not pile up
                self._found.clear()
            listed = self._published.find(self._vendor, model)
            found = None if listed is None else to_price(listed, self._usd, self._batch)
            self._found[model] = found
        return self._found[model]


def _known(vendor: str) -> str:
    """Our name of a vendor."""
    name = vendor.lower().replace("_", "-")
    return _ALSO.get(name, name)


def _names(model: str, vendors: tuple[str, str]) -> Iterator[str]:
    """The names under which a model may be listed, the surest first."""
    bare = model
    for prefix in (*(f"{vendor}/" for vendor in vendors), *_PREFIXES):
        bare = bare.removeprefix(prefix)
    if bare.startswith("ft:"):
        bare = ":".join(bare.split(":", 2)[:2])
    yield model
    yield bare
    dated = _DATED.search(bare)
    if dated is not None and _is_day(dated):
        yield bare[: dated.start()]


def _is_day(found: re.Match[str]) -> bool:
    year, month, day = map(int, found.groups())
    try:
        return date(year, month, day).year >= 2020
    except ValueError:
        return False


def _listed(vendor: str, model: str, row: _Row) -> ListedPrice:
    plain = [one for one in row if not isinstance(one, list)]
    above: list[tuple[int, Rates]] = []
    for tier in row:
        if isinstance(tier, list):
            tokens, *rates = tier
            above.append((int(tokens or 0), _rates(rates)))
    return ListedPrice(vendor, model, _rates(plain), tuple(above))


def _rates(numbers: Sequence[_Number]) -> Rates:
    first, *others = numbers
    if first is None:
        raise ValueError("a row of the price list without a price of input")
    return Rates(first, *others)
