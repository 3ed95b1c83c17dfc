"""Workers of a server, and of consumers, tell what they counted, through small files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from splice.app.settings import Settings
from splice.engine.observe import METRICS, Snapshot

SHARE_SECONDS = 1.0
_FRESH_SECONDS = 5.0
_SERVED, _CONSUMED = "metrics-", "consumed-"
_GAUGES = {metric.name for metric in METRICS if metric.kind == "gauge"}
_decoder = msgspec.msgpack.Decoder(Snapshot)


def run_folder(settings: Settings) -> Path:
    """Where the workers of this project's server keep their counts."""
    return settings.path(".splice/run")


def clear_run_folder(settings: Settings) -> None:
    """A new server starts from zero, as a new process does."""
    for pattern in (_SERVED, _CONSUMED):
        for file in run_folder(settings).glob(pattern + "*"):
            file.unlink(missing_ok=True)


def share(settings: Settings, snapshot: Snapshot, *, consumes: bool = False) -> None:
    """Put down what this worker counted; a failure is no reason to stop answering."""
    folder = run_folder(settings)
    partial = folder / f"partial-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(msgspec.msgpack.encode(snapshot))
        partial.replace(folder / f"{_CONSUMED if consumes else _SERVED}{os.getpid()}")
    except OSError:
        return


def others(settings: Settings) -> list[Snapshot]:
    """What the other workers counted. Of one that is gone, counters stay and gauges do not.

    A server of one worker has no others but those that consume: what else serves in its folder is
    a server of its own.
    """
    found: list[Snapshot] = []
    folder = run_folder(settings)
    files = list(folder.glob(_CONSUMED + "*"))
    if settings.server.workers > 1:
        files += folder.glob(_SERVED + "*")
    for file in files:
        if file.name == f"{_SERVED}{os.getpid()}":
            continue
        try:
            snapshot = _decoder.decode(file.read_bytes())
            fresh = time.time() - file.stat().st_mtime < _FRESH_SECONDS
        except (OSError, msgspec.MsgspecError):
            continue
        if not fresh:
            snapshot = {name: rows for name, rows in snapshot.items() if name not in _GAUGES}
        found.append(snapshot)
    return found
