"""Hosts: where models run that do not run in this process, as the settings say."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from splice.app.plugins import available, plugin
from splice.app.settings import Settings
from splice.engine.compile import Hosts
from splice.ports.hosts import RemoteRuntime


def hosts_of(settings: Settings) -> Hosts:
    """The hosts of a process: runtimes by protocol, and worker pools by the name of their model."""
    return Hosts(remotes=remotes_of(settings))


def remotes_of(settings: Settings) -> dict[str, RemoteRuntime]:
    """The runtimes of every protocol whose library is installed, by the protocol's name."""
    found: dict[str, RemoteRuntime] = {}
    for one in entry_points(group="splice.remotes"):
        runtime: Any = available("remotes", one.name)
        if runtime is not None:
            found[one.name] = runtime(_secrets(settings))
    return found


def remote_of(settings: Settings, protocol: str) -> RemoteRuntime:
    """The runtime of one protocol.

    Raises:
        SettingsError: There is none of that name, or its library is not installed.
    """
    extra = "splice-ai[grpc,onnx]" if protocol == "oip-grpc" else "splice-ai[onnx]"
    runtime: Any = plugin("remotes", protocol, extra)
    return runtime(_secrets(settings))


def _secrets(settings: Settings) -> dict[str, str]:
    # Only these: whoever may register an endpoint must not send it a secret of another's.
    names = settings.models.endpoint_keys
    return {name: settings.secrets[name] for name in names if name in settings.secrets}


async def close(hosts: Hosts) -> None:
    """Let go of every connection."""
    for remote in hosts.remotes.values():
        await remote.close()
