"""The subject `tensorzero`: the gateway that TensorZero's Python package carries, over HTTP.

The package has the gateway compiled in: what its `patch_openai_client` starts is the same Rust
router, bound to a port of its own choosing on 127.0.0.1, in threads of the Python process. The
client here calls that start itself (`_start_http_gateway`) and then only waits, so what is measured
is Rust: no request passes through Python. tokio makes one worker thread, for one core is all it
sees.

Observability (ClickHouse) and usage analytics are off, authentication is off (keys need a database)
and no cost is configured: it does less than Splice does while it is measured.

It does not set TCP_NODELAY on its connections: on a kept-alive one, the second small segment of a
stream waits for the client's delayed acknowledgement, some 40 ms, so that its streams are bound by
that and not by its speed. That is what its users get, and what is compared; the variant `nodelay`
sets the option from outside, to show the gateway without it.
"""

from __future__ import annotations

from pathlib import Path

from gateway.replies import MODEL
from gateway.subject import HERE, Bench, Command, peer_python, peer_versions

VARIANTS = {
    "embedded": "embedded gateway over HTTP; observability, analytics and keys off; it lacks "
    "TCP_NODELAY, so that its streams wait for acknowledgements",
    "nodelay": "the same with TCP_NODELAY set on its sockets from outside",
}
CONFIG = """\
[gateway]
disable_pseudonymous_usage_analytics = true

[gateway.observability]
enabled = false

[models.bench]
routing = ["mock"]

[models.bench.providers.mock]
type = "openai"
model_name = "{model}"
api_base = "{provider}/"
api_key_location = "none"
"""
ADDRESS = "address.txt"


def prepare(bench: Bench) -> Command:
    """The gateway with its configuration file."""
    place = bench.place("tensorzero")
    (place / "tensorzero.toml").write_text(CONFIG.format(model=MODEL, provider=bench.provider))
    return Command(
        argv=[
            str(peer_python("tensorzero", bench.cache)),
            str(HERE / "app_tensorzero.py"),
            "tensorzero.toml",
            ADDRESS,
            bench.variant,
        ],
        cwd=place,
        model="tensorzero::model_name::bench",
        env={"RUST_LOG": "error"},
        address=lambda: _address(place / ADDRESS),
    )


def versions(cache: Path, variant: str) -> dict[str, str]:
    """The package, whose version is the gateway's."""
    return peer_versions("tensorzero", cache, "tensorzero")


def _address(file: Path) -> str | None:
    """The base URL, without `/v1`, once the gateway has bound its port."""
    if not file.exists():
        return None
    return file.read_text().strip().removesuffix("/v1")
