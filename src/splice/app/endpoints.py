"""Endpoints that declared routes lead to: which of them are away just now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from splice.app.hosts import remote_of
from splice.app.settings import Settings
from splice.control.endpoints import REMOTE
from splice.control.registry import split_ref
from splice.core.errors import SpliceError
from splice.core.release import ModelVersion
from splice.core.versions import Endpoint
from splice.declare.discover import Found
from splice.declare.spec import Model
from splice.ports.stores import ModelStore

_SILENT = frozenset({"sagemaker"})
"""Protocols whose endpoints cannot be asked how they are."""


def away(settings: Settings, models: ModelStore, found: Iterable[Found]) -> list[str]:
    """One line for each endpoint of a declared route that is away, not ready, or not reached.

    It is no mistake of the declaration: calls fall back until the endpoint is there.
    """
    refs = {
        timed.route.ref
        for one in found
        for timed in one.declaration.routes
        if isinstance(timed.route, Model)
    }
    versions = (models.resolve(*split_ref(ref)) for ref in sorted(refs))
    remote = {one.label: one for one in versions if one is not None and one.format == REMOTE}
    if not remote:
        return []
    return asyncio.run(_away(settings, models, list(remote.values())))


async def _away(settings: Settings, models: ModelStore, versions: list[ModelVersion]) -> list[str]:
    async def ask(version: ModelVersion) -> str:
        try:
            file = models.file(version.sha256)
            endpoint = msgspec.json.decode(file.read_bytes(), type=Endpoint)
            if endpoint.protocol in _SILENT:
                return ""
            remote = remote_of(settings, endpoint.protocol)
            try:
                await remote.inspect(endpoint)
            finally:
                await remote.close()
        except (SpliceError, OSError, msgspec.DecodeError) as error:
            return f"{version.label}: {error}"
        return ""

    return [said for said in await asyncio.gather(*map(ask, versions)) if said]
