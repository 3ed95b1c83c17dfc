"""Hosts: where models run that do not run in this process, as the settings say."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from splice.app.plugins import available
from splice.app.settings import Settings
from splice.engine.compile import Hosts
from splice.ports.hosts import RemoteRuntime


def hosts_of(settings: Settings) -> Hosts:
    """The hosts of a process: runtimes by protocol, and worker pools by the name of their model."""
    return Hosts(remotes=remotes_of(settings))


def remotes_of(settings: Settings) -> dict[str, RemoteRuntime]:
    """The runtimes of every protocol whose library is installed, by the protocol's name."""
    # Only these: whoever may register an endpoint must not send it a secret of another's.
    names = settings.models.endpoint_keys
    secrets = {name: settings.secrets[name] for name in names if name in settings.secrets}
    found: dict[str, RemoteRuntime] = {}
    for one in entry_points(group="splice.remotes"):
        runtime: Any = available("remotes", one.name)
        if runtime is not None:
            found[one.name] = runtime(secrets)
    return found


async def close(hosts: Hosts) -> None:
    """Let go of every connection."""
    for remote in hosts.remotes.values():
        await remote.close()
