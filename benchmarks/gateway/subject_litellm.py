"""The subject `litellm`: LiteLLM's proxy with a master key, a priced model and no database.

Tuned as its production page says: one worker, `LITELLM_MODE=PRODUCTION`, log level ERROR (which
switches the access log off too), telemetry off, the price list from the package instead of the
network. Of its servers granian was the fastest, and the steadiest at 64 connections; it takes twice
the memory of uvicorn, its default. Its Rust path does not serve OpenAI-compatible providers.

Without a database it keeps neither keys nor budgets nor a log of calls: the master key is compared,
the cost of each call is computed and told in a header. It does less than Splice does while it is
measured.
"""

from __future__ import annotations

import json
from pathlib import Path

from gateway.replies import MODEL
from gateway.subject import PROVIDER_KEY, Bench, Command, peer_python, peer_versions

VARIANTS = {
    "granian": "on granian; master key, a priced model, logs and telemetry off, no database",
    "uvicorn": "the same on uvicorn",
    "installed": "on uvicorn, everything else as installed too: with its access log",
}
MASTER_KEY = "sk-master-of-the-benchmark"
QUIET = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}


def prepare(bench: Bench) -> Command:
    """The proxy with its configuration file."""
    place = bench.place("litellm")
    model = {
        "model_name": "bench",
        "litellm_params": {
            "model": f"openai/{MODEL}",
            "api_base": bench.provider,
            "api_key": PROVIDER_KEY,
            "input_cost_per_token": 1.5e-07,
            "output_cost_per_token": 6e-07,
        },
    }
    config: dict[str, object] = {
        "model_list": [model],
        "general_settings": {"master_key": MASTER_KEY},
    }
    if bench.variant != "installed":
        config["litellm_settings"] = {"telemetry": False, "set_verbose": False}
    # JSON is YAML.
    (place / "config.yaml").write_text(json.dumps(config, indent=2))
    options = f"--config config.yaml --host 127.0.0.1 --port {bench.port} --num_workers 1".split()
    if bench.variant == "granian":
        options.append("--run_granian")
    return Command(
        argv=[str(peer_python("litellm", bench.cache).parent / "litellm"), *options],
        cwd=place,
        model="bench",
        headers={"Authorization": f"Bearer {MASTER_KEY}"},
        # The price list is fetched from the network at start unless it is told not to.
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        | ({} if bench.variant == "installed" else QUIET),
    )


def versions(cache: Path, variant: str) -> dict[str, str]:
    """LiteLLM, and what serves and asks for it."""
    server = "granian" if variant == "granian" else "uvicorn"
    return peer_versions("litellm", cache, "litellm", "fastapi", server, "uvloop", "aiohttp")
