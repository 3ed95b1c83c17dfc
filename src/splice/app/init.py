"""A small project that runs: the files that `splice init` writes."""

from __future__ import annotations

from pathlib import Path

from splice.core.errors import SettingsError

_TOML = """\
# How this process runs. What the AI does is declared in integrations.py.
# Every setting, with its default: docs/reference/settings.md

[project]
modules = ["integrations"]
apply = "new"          # a changed declaration becomes a release when the server starts

[server]
port = 8000

[cost]
currency = "EUR"
machine_hour = 0.05    # what an hour of this machine's core costs you
"""

_INTEGRATIONS = '''\
"""Screening of orders: which ones a person should look at before they are shipped."""

from collections.abc import Mapping
from typing import Literal

import splice


class Order(splice.Request):
    customer: splice.Entity  # joins this call with what becomes of the order
    amount_eur: float
    items: int
    new_customer: bool


class Screening(splice.Reply):
    risk: float
    action: Literal["ship", "review"]


def scorecard(context: Mapping) -> float:
    """A first rule; put a model before it once you have one: splice.Model("orders")."""
    risk = 0.05
    if context["new_customer"]:
        risk += 0.25
    if context["amount_eur"] > 500:
        risk += 0.35
    if context["amount_eur"] / max(1, context["items"]) > 400:
        risk += 0.2
    return min(risk, 1.0)


class OrderScreening(splice.Integration):
    """Find the orders that will not be paid before they are shipped."""

    objective = splice.Objective(
        kpi="unpaid_rate", unit="share of orders", baseline=0.021, target=0.012,
        due="2027-12-31", value_per_unit="EUR 900_000", outcome="unpaid",
    )
    risk = splice.Risk.LIMITED
    deadline = "200 ms"
    routes = [splice.Rule(scorecard)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        # An answer without a score tells nothing of the risk: then a person should look.
        risk = 1.0 if prediction.score is None else prediction.score
        return Screening(risk, "review" if risk >= 0.5 else "ship")
'''

_GATEWAY_TOML = """\
# How this process runs. What the AI does is declared in integrations.py.
# Every setting, with its default: docs/reference/settings.md

[project]
modules = ["integrations"]
apply = "new"          # a changed declaration becomes a release when the server starts

[server]
port = 8000

[cost]
currency = "USD"       # the built-in price list is in dollars
machine_hour = 0.05    # what an hour of this machine's core costs you

# A provider is one table; its key is named, never written here. Those of OPENAI_API_KEY and
# ANTHROPIC_API_KEY are there by themselves, as `openai/…` and `anthropic/…`. Another one:
#
# [providers.groq]
# kind = "groq"
# api_key_env = "GROQ_API_KEY"
"""

_GATEWAY = '''\
"""What applications may ask language models, by the name that they put into `model`."""

import splice


class Assistant(splice.Conversation):
    """Answer questions of the support desk."""

    risk = splice.Risk.LIMITED
    deadline = "60 s"
    aliases = ["support-fast"]
    # In order of trust. Put a vendor's model first, as "openai/gpt-5-mini"; the embedded one
    # needs no key and no network (pip install 'splice-ai[llama]').
    routes = [splice.LLM("local/smollm2-135m-instruct", first_token="30 s")]
    cache = splice.Cache(exact="1 h")      # the very same question is answered once an hour
    budget = splice.Spend("USD 50", per="month")
'''

_CHAT = """\
{"model": "assistant", "messages": [{"role": "user", "content": "Say hello in one word."}]}
"""

_REQUEST = """\
{"customer": "c-1001", "amount_eur": 640.0, "items": 1, "new_customer": true}
"""

_IGNORE = ".splice/\nkey.txt\n"

FILES = {
    "splice.toml": _TOML,
    "integrations.py": _INTEGRATIONS,
    "request.json": _REQUEST,
    ".gitignore": _IGNORE,
}


GATEWAY_FILES = {
    "splice.toml": _GATEWAY_TOML,
    "integrations.py": _GATEWAY,
    "request.json": _CHAT,
    ".gitignore": _IGNORE,
}


def write_project(folder: Path, *, gateway: bool = False) -> list[str]:
    """Writes the files into a folder; returns their names.

    Args:
        folder: Made if it is not there.
        gateway: A project whose callers are OpenAI and Anthropic clients.

    Raises:
        SettingsError: One of them is there already (nothing is written), or cannot be written.
    """
    files = GATEWAY_FILES if gateway else FILES
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise SettingsError(
            str(folder), got=f"{', '.join(there)} there already", promised="a folder without them",
            mend="name a new folder",
        )  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError(str(folder), got=str(error), promised="a folder to write in") from None
    return list(files)
