"""The subject `passthrough`: the least that Python can do between a client and a provider.

No key is looked at, nothing is counted, nothing is recorded: what a gateway adds is what it is
slower than this.
"""

from __future__ import annotations

from pathlib import Path

from gateway.replies import MODEL
from gateway.subject import HERE, PROVIDER_KEY, Bench, Command, peer_python, peer_versions

VARIANTS = {
    "granian": "bytes handed on: granian (RSGI) in front, pyreqwest behind, uvloop",
    "relay": "bytes handed on between two sockets on uvloop, no HTTP looked at",
}


def prepare(bench: Bench) -> Command:
    """The handler of `app_passthrough.py`, or the relay of `app_relay.py`."""
    python = peer_python("passthrough", bench.cache)
    options = f"--interface rsgi --host 127.0.0.1 --port {bench.port} --workers 1"
    argv = [str(python.parent / "granian"), *options.split(), "--loop", "uvloop"]
    argv += ["--no-access-log", "--log-level", "error", "app_passthrough:app"]
    if bench.variant == "relay":
        provider_port = bench.provider.rpartition(":")[2].removesuffix("/v1")
        argv = [str(python), str(HERE / "app_relay.py"), str(bench.port), provider_port]
    return Command(
        argv=argv,
        cwd=bench.place("passthrough"),
        model=MODEL,
        headers={"Authorization": f"Bearer {PROVIDER_KEY}"},
        env={"PYTHONPATH": str(HERE), "PROVIDER": bench.provider},
    )


def versions(cache: Path, variant: str) -> dict[str, str]:
    """What carries the bytes."""
    packages = ("granian", "pyreqwest", "uvloop") if variant == "granian" else ("uvloop",)
    return peer_versions("passthrough", cache, *packages)
