"""Profiles of training data: made where the data is, kept beside the models, found by its hash."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec

from splice.app.settings import Settings
from splice.control.datasets import hashed
from splice.core.errors import SettingsError
from splice.core.profiles import Profile
from splice.core.release import PinnedGates, Release

_Profiles = dict[str, Profile]
_decoder = msgspec.msgpack.Decoder(_Profiles)
_FOLDER = "profiles"


def training_of(settings: Settings) -> Callable[[Release], Mapping[str, Profile] | None]:
    """Gives the profile of the data that the gates of a release name, by column, or None.

    It is made once, where the file is in the project and is still the one that the release pinned,
    and kept in the folder of the models, which all processes share: a server needs no data.
    """
    known: dict[str, Mapping[str, Profile]] = {}

    def training(release: Release) -> Mapping[str, Profile] | None:
        for gates in release.manifest.gates:
            found = known.get(gates.data_sha256) or _kept(settings, gates.data_sha256)
            if found is None:
                found = _made(settings, gates, release)
            if found is not None:
                known[gates.data_sha256] = found
                return found
        return None

    return training


def _path(settings: Settings, sha256: str) -> Path:
    from splice.monitor.profiles import FORM  # an optional dependency: numpy

    return settings.path(settings.models.store) / _FOLDER / f"{sha256}.{FORM}"


def _kept(settings: Settings, sha256: str) -> Mapping[str, Profile] | None:
    try:
        return _decoder.decode(_path(settings, sha256).read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None


def _made(settings: Settings, gates: PinnedGates, release: Release) -> Mapping[str, Profile] | None:
    from splice.monitor.rows import training
    from splice.monitor.tables import read

    file = Path(settings.root, gates.data)
    try:
        if hashed(file) != gates.data_sha256:
            return None
        made = training(read(file, _words_of(release)))
    except SettingsError:
        return None
    _keep(_path(settings, gates.data_sha256), msgspec.msgpack.encode(made))
    return made


def _words_of(release: Release) -> tuple[str, ...]:
    """Fields of the request that are texts: in a CSV they may look like numbers."""
    schema: Mapping[str, Any] = release.manifest.request_schema
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    schema = schema.get("$defs", {}).get(name, schema)
    properties = cast("Mapping[str, Any]", schema.get("properties", {}))
    return tuple(field for field, one in properties.items() if '"string"' in _text(one))


def _text(schema: Any) -> str:
    return msgspec.json.encode(schema).decode()


def _keep(path: Path, body: bytes) -> None:
    """A file that is there as a whole or not at all; without it, it is made anew each time."""
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(body)
            os.replace(name, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name)
            raise
