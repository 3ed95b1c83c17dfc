"""What a subject of the benchmark of gateways is: how it is started, asked and told apart."""

from __future__ import annotations

import importlib
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from environments import environment, versions

HERE = Path(__file__).parent
PROVIDER_KEY = "sk-provider-of-the-benchmark"
"""The key that the provider would ask for; the mock one asks for none."""


@dataclass(frozen=True)
class Bench:
    """Where the benchmark keeps what it makes, and what every subject stands before."""

    cache: Path
    """Environments, and each subject's working directory; git ignores it."""
    port: int
    """The port of the subject's server on 127.0.0.1."""
    provider: str
    """The mock provider's address: `http://127.0.0.1:PORT/v1`."""
    variant: str
    """Which of the subject's variants to prepare."""

    def place(self, subject: str) -> Path:
        """A fresh working directory for `subject`."""
        place = self.cache / "places" / f"gateway-{subject}-{self.variant}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place


@dataclass(frozen=True)
class Command:
    """One prepared gateway: how to start it, and how to ask it."""

    argv: Sequence[str]
    cwd: Path
    model: str
    """What requests name as their model."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """What requests carry beside their content type: a key, usually."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    address: Callable[[], str | None] | None = None
    """The base URL of a server that chooses its own port; None while it has not yet."""
    check_after: Callable[[int, int], None] | None = None
    """Called once the server has ended, with the numbers of whole and of streamed answers that it
    gave at least; raises if what it promised beside them (a record of each) is not there."""


class Subject:
    """One subject: the module `gateway.subject_NAME` with VARIANTS, prepare and versions."""

    def __init__(self, name: str) -> None:
        module: ModuleType = importlib.import_module(f"gateway.subject_{name}")
        self.name = name
        self.variants: Mapping[str, str] = module.VARIANTS
        """Each variant and what it is; the first is the one that is compared."""
        self.prepare: Callable[[Bench], Command] = module.prepare
        self.versions: Callable[[Path, str], dict[str, str]] = module.versions
        """The versions to tell beside the figures, from the cache and the variant."""


def peer_python(name: str, cache: Path) -> Path:
    """The interpreter of the environment that `requirements-NAME.txt` describes."""
    return environment(f"gateway-{name}", HERE / f"requirements-{name}.txt", cache)


def peer_versions(name: str, cache: Path, *packages: str) -> dict[str, str]:
    """The versions of `packages` in that environment."""
    return versions(peer_python(name, cache), packages)


def own_python() -> Path:
    """The interpreter that runs the benchmark."""
    return Path(sys.executable)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
