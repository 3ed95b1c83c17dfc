"""The subject `splice`: keys asked for, budgets counted, every call priced and recorded.

Nothing is switched off for speed: the ledger is SQLite as installed, with the texts of both sides
of every call in it. What the ledger holds is counted afterwards.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
from pathlib import Path

from environments import versions as installed
from gateway.replies import INPUT_TOKENS, MODEL, PIECES, WHOLE_TOKENS
from gateway.subject import PROVIDER_KEY, Bench, Command, own_python

VARIANTS = {
    "governed": "splice serve, one worker: a key with a budget and limits, an integration with a "
    "budget, every call priced and recorded in SQLite with its texts",
    "open": "the same without a key: nobody is known, the integration's budget is counted",
}
PACKAGES = ("splice-ai", "uvicorn", "uvloop", "httptools", "msgspec")
SPLICE = str(own_python().parent / "splice")
INPUT_PRICE, OUTPUT_PRICE = 0.15, 0.6
SETTINGS = """\
[project]
modules = ["chats"]

[access]
keys = "{keys}"

[providers.mock]
base_url = "{provider}"
api_key_env = "MOCK_KEY"

[providers.mock.prices."{model}"]
input = {input_price}
output = {output_price}
"""
DECLARATION = '''\
"""What the benchmark of gateways serves."""

import splice


class Bench(splice.Conversation):
    """Answer customers of a shop."""

    routes = [splice.LLM("mock/{model}")]
    budget = splice.Spend("EUR 1_000_000", per="month")
'''
KEY_OPTIONS = (
    "--budget", "EUR 1000000/month",
    "--requests-per-minute", "100000000", "--tokens-per-minute", "100000000000",
)  # fmt: skip


class UnrecordedError(RuntimeError):
    """The ledger lacks calls, or their costs: the server was fast because it left work out."""


def prepare(bench: Bench) -> Command:
    """A project of one conversation, a key for it, and the server."""
    place = bench.place("splice")
    settings = SETTINGS.format(
        keys="open" if bench.variant == "open" else "required",
        provider=bench.provider,
        model=MODEL,
        input_price=INPUT_PRICE,
        output_price=OUTPUT_PRICE,
    )
    (place / "splice.toml").write_text(settings)
    (place / "chats.py").write_text(DECLARATION.format(model=MODEL))
    return Command(
        argv=[SPLICE, "serve"],
        cwd=place,
        model="bench",
        headers={} if bench.variant == "open" else {"Authorization": f"Bearer {_key(place)}"},
        env={"SPLICE_SERVER_PORT": str(bench.port), "MOCK_KEY": PROVIDER_KEY},
        check_after=lambda whole, streamed: _check_recorded(
            place, "" if bench.variant == "open" else "key:", (whole, streamed)
        ),
    )


def _key(place: Path) -> str:
    """A key that `splice keys create` made in the project."""
    made = subprocess.run(
        [SPLICE, "keys", "create", "bench", *KEY_OPTIONS],
        cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"sk-splice-\S+", made.stdout)
    if not found:
        raise RuntimeError(f"no key was made: {made.stdout}{made.stderr}")
    return found.group()


def versions(cache: Path, variant: str) -> dict[str, str]:
    """Splice, and what carries it."""
    return installed(own_python(), PACKAGES)


def _check_recorded(place: Path, caller: str, answers: tuple[int, int]) -> None:
    """The ledger must hold a call with its cost and its caller for every answer.

    `answers` are the whole and the streamed ones; `caller` is how its name begins.

    Raises:
        UnrecordedError: It holds fewer, or other costs.
    """
    connection = sqlite3.connect(f"file:{place / '.splice' / 'ledger.db'}?mode=ro", uri=True)
    try:
        counted: list[tuple[int | None, int]] = connection.execute(
            "SELECT cost_nano, count(*) FROM calls WHERE caller LIKE ? || '%' GROUP BY 1", (caller,)
        ).fetchall()
    finally:
        connection.close()
    costs = dict(counted)
    for kind, answered, tokens in zip(
        ("whole", "streamed"), answers, (WHOLE_TOKENS, PIECES), strict=True
    ):
        cost = round((INPUT_TOKENS * INPUT_PRICE + tokens * OUTPUT_PRICE) * 1000)
        if costs.get(cost, 0) < answered:
            raise UnrecordedError(f"{answered} {kind} answers at {cost}, recorded: {costs}")
