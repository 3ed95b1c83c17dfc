"""Training runs as JSON Lines: one file a run, in a folder. The embedded tracker."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from splice.core.errors import StoreError
from splice.ports.trackers import TrackerOptions


class FileTracker:
    """A Tracker that writes `FOLDER/MODEL/RUN.jsonl`."""

    def __init__(self, options: TrackerOptions) -> None:
        self._folder = options.folder

    def start(self, model: str, at_us: int) -> FileRun:
        """A new file; its name is not taken by another run of the same moment."""
        run = f"{at_us:016d}-{secrets.token_hex(4)}"
        file = self._folder / model / f"{run}.jsonl"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _away(file, error) from None
        made = FileRun(f"files:{run}", file)
        made.line({"started_us": at_us, "model": model})
        return made


class FileRun:
    """A TrackedRun in a file."""

    def __init__(self, run: str, file: Path) -> None:
        self.id = run
        self.file = file

    def params(self, values: Mapping[str, Any]) -> None:
        """One line."""
        self.line({"params": dict(values)})

    def metrics(self, values: Mapping[str, float], step: int | None, at_us: int) -> None:
        """One line."""
        self.line({"metrics": dict(values), "step": step, "at_us": at_us})

    def tags(self, values: Mapping[str, str]) -> None:
        """One line."""
        self.line({"tags": dict(values)})

    def finish(self, *, failed: bool, at_us: int) -> None:
        """The last line."""
        self.line({"ended": "failed" if failed else "finished", "at_us": at_us})

    def line(self, what: Mapping[str, Any]) -> None:
        """Append a line; it is on the disk afterwards."""
        try:
            with self.file.open("ab") as sink:
                sink.write(msgspec.json.encode(what, enc_hook=str) + b"\n")
                sink.flush()
                os.fsync(sink.fileno())
        except OSError as error:
            raise _away(self.file, error) from None


def _away(file: Path, error: OSError) -> StoreError:
    return StoreError(
        str(file), got=error.strerror or "no file", mend="check tracking.folder and its room"
    )
