"""A registry elsewhere: versions of models with aliases, tags and runs, and their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from splice.core.release import ModelVersion


class RegistryOptions(msgspec.Struct, frozen=True):
    """Where a registry is, and how to get in. An adapter is made of this."""

    url: str
    token: str = ""
    user: str = ""
    password: str = ""
    most_bytes: int = 2 * 1024 * 1024 * 1024  # of one version's files together

    def __repr__(self) -> str:
        return "RegistryOptions(…)"  # it holds secrets


class RegistryVersion(msgspec.Struct, frozen=True):
    """A version as the registry has it."""

    name: str
    version: int
    run: str = ""  # id of its training run there
    description: str = ""
    tags: dict[str, str] = {}


class RegistryRun(msgspec.Struct, frozen=True):
    """A training run as the registry has it."""

    id: str
    params: dict[str, str] = {}
    metrics: dict[str, float] = {}
    tags: dict[str, str] = {}
    data: str = ""  # names and digests of what it was trained on


class ModelRegistry(Protocol):
    """Versions elsewhere. Blocks. Every method may raise StoreError: the registry is away."""

    scheme: str
    """What its versions and runs are called by: `mlflow` in `mlflow:credit/3`."""

    def version(self, name: str, ref: str) -> RegistryVersion | None:
        """The version that `champion` (an alias) or `3` (a number) names, or None."""
        ...

    def versions(self, name: str) -> list[RegistryVersion]:
        """All versions of a name."""
        ...

    def aliases(self, name: str) -> dict[str, int]:
        """Alias to version number; empty where there is no such model."""
        ...

    def run(self, run: str) -> RegistryRun | None:
        """A training run, or None."""
        ...

    def fetch(self, version: RegistryVersion, folder: Path) -> Path:
        """Its model file, copied into the folder under a name of our own.

        Raises:
            ModelUnavailable: It is of a kind that is not taken over, a name in it leads elsewhere,
                or it is larger than was allowed.
        """
        ...

    def add(self, version: ModelVersion, file: Path, tags: Mapping[str, str]) -> RegistryVersion:
        """Register a version of ours there, under its own name."""
        ...

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias there at a version there."""
        ...

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version there."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
