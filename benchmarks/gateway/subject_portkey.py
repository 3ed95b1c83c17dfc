"""The subject `portkey`: Portkey's gateway from npm, on Node.

It keeps no configuration: each request names its provider and where that is. It has no keys, no
budgets and no log of its own; the caller's key goes on to the provider. As installed it answers
every stream with status 500 ("immutable": it adds headers to a response that `@hono/node-server`
from 1.14 on does not let it change), so it gets 1.13.8 of that; whole replies were as fast with
either. Without `--headless` it would also keep its page of recent calls.
"""

from __future__ import annotations

from pathlib import Path

from environments import node_environment, node_versions
from gateway.replies import MODEL
from gateway.subject import HERE, PROVIDER_KEY, Bench, Command

VARIANTS = {"tuned": "Node, --headless, @hono/node-server 1.13.8 (newer ones break its streams)"}
PACKAGES = ("@portkey-ai/gateway", "@hono/node-server", "hono")
START = "node_modules/@portkey-ai/gateway/build/start-server.js"


def prepare(bench: Bench) -> Command:
    """The gateway; every request tells it where the provider is."""
    home = _home(bench.cache)
    return Command(
        argv=["node", str(home / START), f"--port={bench.port}", "--headless"],
        cwd=bench.place("portkey"),
        model=MODEL,
        headers={
            "Authorization": f"Bearer {PROVIDER_KEY}",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": bench.provider,
        },
        env={"NODE_ENV": "production"},
    )


def versions(cache: Path, variant: str) -> dict[str, str]:
    """Node, the gateway, and the server below it."""
    return node_versions(_home(cache), PACKAGES)


def _home(cache: Path) -> Path:
    """The folder with its `node_modules`."""
    return node_environment("portkey", HERE / "portkey", cache)
