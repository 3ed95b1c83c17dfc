"""Seals of the live releases, for what is recorded without a running server."""

from __future__ import annotations

import msgspec

from splice.app.settings import Settings
from splice.app.wiring import Stores, masker_of
from splice.core.call import Outcome
from splice.declare.discover import reopen
from splice.engine.seal import Seal


class Seals:
    """Finds the seal of an integration by its live release; each is opened once."""

    def __init__(self, settings: Settings, stores: Stores) -> None:
        self._settings = settings
        self._stores = stores
        self._opened: dict[str, Seal | None] = {}

    def recorded(self, outcome: Outcome) -> Outcome:
        """An outcome as it joins the records of its integration, whose entities may be masked."""
        if outcome.entity is None:
            return outcome
        name = outcome.integration
        if name not in self._opened:
            self._opened[name] = self._open(name)
        seal = self._opened[name]
        if seal is None:
            return outcome
        return msgspec.structs.replace(outcome, entity=seal.entity(outcome.entity))

    def _open(self, name: str) -> Seal | None:
        releases = self._stores.releases
        for live in releases.live():
            release = releases.release(name, live.number) if live.integration == name else None
            if release is not None:
                manifest = release.manifest
                declaration = reopen(releases.bundle(manifest.bundle), manifest.entry)
                log = declaration.options.recorded
                if log is not None and log.mask:
                    masker = masker_of(self._settings)(log.mask)
                    return Seal(log, masker, declaration.options.protect)
        return None
