"""The price list: facts that vendors publish, found by the right name; no zero by accident."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from splice.adapters.providers import pricelist
from splice.adapters.providers.pricelist import (
    ListedPrice,
    PriceBook,
    PriceList,
    Rates,
    to_price,
)
from splice.core.call import Usage
from splice.core.prices import Price, cost_nano, in_batch

ROOT = Path(__file__).resolve().parents[3]
FILE = Path(pricelist.__file__).with_name("pricelist.json")


@pytest.fixture(scope="module")
def prices() -> PriceList:
    return PriceList()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = SourceFileLoader("prices_script", str(ROOT / "scripts" / "prices"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def found(prices: PriceList, vendor: str, model: str) -> ListedPrice:
    listed = prices.find(vendor, model)
    assert listed is not None, f"{vendor} {model} is not in the list"
    return listed


# Read on the vendors' own pages in November 2026: USD per million tokens.
@pytest.mark.parametrize(
    ("vendor", "model", "rates"),
    [
        ("openai", "gpt-4o", Rates(2.5, 10, 1.25)),
        ("openai", "gpt-4o-mini", Rates(0.15, 0.6, 0.075)),
        ("openai", "gpt-4.1", Rates(2, 8, 0.5)),
        ("openai", "gpt-5.4", Rates(2.5, 15, 0.25)),
        ("openai", "text-embedding-3-small", Rates(0.02)),
        ("anthropic", "claude-opus-5", Rates(5, 25, 0.5, 6.25)),
        ("anthropic", "claude-fable-5-1", Rates(10, 50, 0.25, 12.5)),
        ("anthropic", "claude-haiku-5-5", Rates(0.1, 0.5, 0.01, 0.125)),
        ("deepseek", "deepseek-v4-pro", Rates(1.32, 3.96, 0.044)),
        ("deepseek", "deepseek-flash", Rates(0.3, 1.2, 0.006)),
        ("gemini", "gemini-2.5-pro", Rates(1.25, 10, 0.125)),
    ],
)
def test_the_list_has_the_price_that_the_vendor_publishes(
    prices: PriceList, vendor: str, model: str, rates: Rates
) -> None:
    assert found(prices, vendor, model).rates == rates


def test_a_model_whose_long_prompts_cost_more_says_from_where_on(prices: PriceList) -> None:
    listed = found(prices, "anthropic", "claude-haiku-5-5")

    assert listed.above == ((100_000, Rates(0.5, 2.5, 0.05, 0.625)),)


@pytest.mark.parametrize(
    ("vendor", "model", "name"),
    [
        ("openai", "openai/gpt-4o", "gpt-4o"),
        ("OpenAI", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("openai", "gpt-4o-2031-01-31", "gpt-4o"),
        ("openai", "ft:gpt-4o-2024-08-06:acme::9xYz", "ft:gpt-4o-2024-08-06"),
        ("anthropic", "claude-opus-4-5-20301231", "claude-opus-4-5"),
        ("gemini", "models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("google-gla", "gemini-2.5-pro", "gemini-2.5-pro"),
        ("groq", "openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ("together_ai", "meta-llama/llama-3.3-70b-instruct-turbo",
         "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    ],
)  # fmt: skip
def test_a_model_is_found_by_every_name_that_can_only_be_its_own(
    prices: PriceList, vendor: str, model: str, name: str
) -> None:
    assert found(prices, vendor, model).model == name


@pytest.mark.parametrize(
    ("vendor", "model"),
    [
        ("openai", "gpt-4o-turbo-max"),  # begins as another model does
        ("openai", "gpt-4"[:4]),
        ("openai", "gpt-4o-2024-13-45"),  # no day
        ("openai", "gpt-4o-20240"),
        ("openai", "claude-opus-5"),  # another vendor's
        ("openai", "anthropic/claude-opus-5"),
        ("openai", ""),
        ("vllm", "gpt-4o"),  # a server of one's own
        ("", "gpt-4o"),
    ],
)
def test_what_is_not_listed_is_unknown(prices: PriceList, vendor: str, model: str) -> None:
    assert prices.find(vendor, model) is None


def test_a_dated_snapshot_with_a_price_of_its_own_keeps_it(prices: PriceList) -> None:
    dated = found(prices, "openai", "gpt-4o-2024-05-13")

    assert dated.rates.input == 5
    assert dated.rates.input != found(prices, "openai", "gpt-4o").rates.input


def test_no_number_in_the_file_is_zero() -> None:
    listed = json.loads(FILE.read_text("utf-8"))["vendors"]

    zeros = [(v, m) for v, models in listed.items() for m, row in models.items() if 0 in flat(row)]
    assert zeros == []


def test_only_models_that_write_nothing_have_no_price_of_output(prices: PriceList) -> None:
    listed = json.loads(FILE.read_text("utf-8"))["vendors"]

    silent = {
        model
        for vendor, models in listed.items()
        for model in models
        if found(prices, vendor, model).rates.output is None
    }

    words = ("embed", "bge", "gte-", "e5-", "ada", "voyage", "marengo", "titan", "uae", "m2-bert")
    assert [m for m in sorted(silent) if not any(w in m.lower() for w in words)] == []


def test_every_model_in_the_file_is_found_by_its_own_name(prices: PriceList) -> None:
    listed = json.loads(FILE.read_text("utf-8"))["vendors"]

    assert all(
        found(prices, vendor, model).model == model
        for vendor, models in listed.items()
        for model in models
    )


def test_the_file_is_small_dated_and_names_its_source(prices: PriceList) -> None:
    assert FILE.stat().st_size < 200_000
    assert prices.as_of > date(2026, 1, 1)
    assert (prices.source.package, prices.source.licence) == ("litellm", "MIT")
    assert prices.source.version
    assert "Permission is hereby granted" in prices.source.notice


def test_the_file_is_not_read_before_somebody_asks(tmp_path: Path) -> None:
    prices = PriceList(tmp_path / "missing.json")

    with pytest.raises(FileNotFoundError):
        prices.find("openai", "gpt-4o")


def test_a_price_is_unknown_where_nobody_said_what_a_dollar_is() -> None:
    assert to_price(ListedPrice("v", "m", Rates(1, 2)), None) is None


def test_a_price_is_billionths_of_the_currency_for_a_million_tokens(prices: PriceList) -> None:
    listed = found(prices, "openai", "gpt-4o-mini")

    dollars, euros = to_price(listed, 1.0), to_price(listed, 0.8)

    usage = Usage(1_000_000, 1_000_000, 500_000)
    assert cost_nano(dollars, usage) == 712_500_000  # 0.075 + 0.0375 + 0.6 USD
    assert cost_nano(euros, usage) == 570_000_000


def test_a_listed_price_without_a_price_of_the_cache_leaves_it_to_the_price_of_input() -> None:
    price = to_price(ListedPrice("v", "m", Rates(1, 2)), 1.0)

    assert price is not None
    assert (price.cached_nano, price.cache_write_nano) == (None, None)


def test_a_price_of_the_settings_stands_before_the_published_one() -> None:
    own = Price(input_nano=1, output_nano=2)

    book = PriceBook("openai", 1.0, {"gpt-4o": own})

    assert book["gpt-4o"] == own
    assert book["gpt-4o-mini"].input_nano == 150_000_000
    assert book.get("gpt-4o-mini-2030-01-01") == book["gpt-4o-mini"]


def test_a_price_book_has_no_entry_for_a_model_whose_price_is_unknown() -> None:
    book = PriceBook("openai", 1.0, {})

    assert book.get("my-own-model") is None
    assert "my-own-model" not in book
    assert PriceBook("vllm", 1.0, {}).get("gpt-4o") is None


def test_a_price_book_without_the_price_of_a_dollar_knows_only_its_own_prices() -> None:
    own = Price(input_nano=1, output_nano=2)

    book = PriceBook("openai", None, {"mine": own})

    assert dict(book) == {"mine": own}
    assert book.get("gpt-4o") is None


def test_a_copy_of_a_price_book_has_the_same_prices_under_the_listed_names() -> None:
    book = PriceBook("anthropic", 2.0, {})

    copied = dict(book)

    assert copied["claude-opus-5"] == book["claude-opus-5"]
    assert len(copied) == len(book) > 10


def test_names_that_callers_make_up_do_not_pile_up() -> None:
    book = PriceBook("openai", 1.0, {})

    for number in range(5000):
        book.get(f"made-up-{number}")

    assert len(book._found) <= 1000


CHAT = {"mode": "chat", "input_cost_per_token": Decimal("1e-6"),
        "output_cost_per_token": Decimal("2e-6")}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"input_cost_per_token": 0, "output_cost_per_token": 0},
        {"input_cost_per_token": Decimal("0.0")},
        {"output_cost_per_token": Decimal("0.0")},
        {"input_cost_per_token": None},
        {"output_cost_per_audio_token": Decimal("8e-5")},
        {"output_cost_per_reasoning_token": Decimal("9e-6")},
        {"input_cost_per_token_above_200k_tokens": 0},
    ],
)
def test_the_script_leaves_out_what_the_source_does_not_know(
    script: ModuleType, change: dict[str, Any]
) -> None:
    assert isinstance(script.row_of("model", {**CHAT, **change}), str)


def test_the_script_takes_a_free_cache_for_an_unknown_price_of_it(script: ModuleType) -> None:
    row = script.row_of("model", {**CHAT, "cache_creation_input_token_cost": Decimal("0.0")})

    assert row == [[Decimal("1e-6"), Decimal("2e-6")]]


def test_the_script_leaves_out_a_model_that_the_source_prices_twice(script: ModuleType) -> None:
    one = {**CHAT, "litellm_provider": "acme"}
    source = {"m": one, "acme/m": {**one, "input_cost_per_token": Decimal("3e-6")}, "n": one}

    rows, _ = script.vendor_models(source, "acme", ("acme",))

    assert list(rows) == ["n"]


def flat(row: list[Any]) -> Iterator[float | None]:
    for one in row:
        if isinstance(one, list):
            yield from flat(one)
        else:
            yield one


def test_a_long_prompt_is_priced_at_its_dearer_rate() -> None:
    listed = ListedPrice("v", "m", Rates(1.0, 2.0), ((200_000, Rates(2.0, 3.0)),))

    price = to_price(listed, 1.0, batch=0.5)

    assert price is not None
    assert cost_nano(price, Usage(200_000, 1000)) == 200_000 * 1000 + 1000 * 2000
    assert cost_nano(price, Usage(200_001, 1000)) == 200_001 * 2000 + 1000 * 3000
    assert cost_nano(in_batch(price), Usage(200_001, 1000)) == 200_001 * 1000 + 1000 * 1500
