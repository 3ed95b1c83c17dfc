"""Hosts: where models run that do not run in this process, as the settings say."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from splice.app.model_sections import PoolSettings
from splice.app.plugins import available, names, plugin
from splice.app.settings import POOL_ENV, Settings
from splice.core.release import PinnedRoute
from splice.engine.compile import Hosts
from splice.ports.hosts import HostedModel, OpenPool, PoolPlan, PoolTally, RemoteRuntime


def hosts_of(settings: Settings) -> Hosts:
    """The hosts of a process: runtimes by protocol, and worker pools by the name of their model."""
    tallies: dict[str, PoolTally] = {}

    def pool(section: PoolSettings, file: Path, pinned: PinnedRoute) -> HostedModel:
        open_pool: OpenPool = plugin("pools", "processes")
        tally = tallies.setdefault(pinned.model, PoolTally())
        return open_pool(file, pinned, _plan(settings, section, tally))

    return Hosts(
        remotes=remotes_of(settings),
        pools={name: partial(pool, section) for name, section in settings.pools.items()},
        pickles=partial(pool, PoolSettings()) if settings.models.allow_pickle else None,
        tallies=tallies,
    )


def _plan(settings: Settings, section: PoolSettings, tally: PoolTally) -> PoolPlan:
    names = (*POOL_ENV, *section.env)
    return PoolPlan(
        processes=section.processes,
        most_processes=section.most_processes,
        idle_seconds=section.idle_seconds,
        memory_mb=section.memory_mb,
        threads=section.threads,
        start_seconds=section.start_seconds,
        environment={name: settings.secrets[name] for name in names if name in settings.secrets},
        tally=tally,
    )


def remotes_of(settings: Settings) -> dict[str, RemoteRuntime]:
    """The runtimes of every protocol whose library is installed, by the protocol's name."""
    found: dict[str, RemoteRuntime] = {}
    for name in names("remotes"):
        runtime: Any = available("remotes", name)
        if runtime is not None:
            found[name] = runtime(_secrets(settings))
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
