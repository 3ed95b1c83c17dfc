"""Shards: the rows of a job that go to a provider in one batch, and what is known of it.

They are kept beside the parts of the job, each file whole or not there, so that a run that is
killed at any moment can be gone on with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from splice.core.errors import SettingsError
from splice.engine.offline import Prepared
from splice.engine.spend import Reservation
from splice.serve.batch.lines import cannot, write_whole
from splice.serve.batch.plan import Result

FOLDER = "offline"

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Entry(msgspec.Struct):
    """One row on its way."""

    row: int
    call: Prepared


class Shard(msgspec.Struct, omit_defaults=True):
    """Rows that go to the provider in one batch.

    `trying` is written before a batch is made, `sent` after: what a kill leaves in between is
    looked for at the provider. `held` is room in budgets for all of it, in the counters that
    `epoch` tells apart; `counted_nano` of what its rows cost is in them besides.
    """

    number: int
    rows: int
    requests: int
    next_row: int
    place: str
    state: Literal["ready", "trying", "sent", "done"] = "ready"
    attempt: int = 0
    began_us: int = 0
    batch: str = ""
    held: Reservation = msgspec.field(default_factory=Reservation)
    epoch: str = ""
    counted_nano: int = 0
    tally: Result = msgspec.field(default_factory=Result)


class Shards:
    """The shards of one job, in the order of their rows."""

    def __init__(self, parts: Path) -> None:
        self._folder = parts / FOLDER

    @property
    def begun(self) -> bool:
        """Whether there are any."""
        return self._folder.is_dir()

    def load(self) -> list[Shard]:
        """All of them.

        Raises:
            SettingsError: They cannot be read.
        """
        try:
            self._folder.mkdir(exist_ok=True)
            files = sorted(self._folder.glob("*.shard"))
            return [msgspec.json.decode(file.read_bytes(), type=Shard) for file in files]
        except OSError as error:
            raise cannot(self._folder, error) from error
        except msgspec.MsgspecError as error:
            raise SettingsError(
                str(self._folder), got=str(error), promised="what an earlier run left there"
            ) from error

    def add(self, shard: Shard, entries: Sequence[Entry]) -> None:
        """One more, with its rows."""
        self._write(f"{shard.number:05d}.rows", [*map(_encode, entries)])
        self.save(shard)

    def save(self, shard: Shard) -> None:
        """The shard as it is now."""
        self._write(f"{shard.number:05d}.shard", [_encode(shard)])

    def entries(self, shard: Shard) -> list[Entry]:
        """Its rows."""
        file = self._folder / f"{shard.number:05d}.rows"
        try:
            lines = file.read_bytes().split(b"\n")
            return [msgspec.json.decode(line, type=Entry) for line in lines if line]
        except OSError as error:
            raise cannot(file, error) from error

    def finished(self, shard: Shard, chunk: int) -> list[dict[str, Any]] | None:
        """The lines of a chunk of its rows; None while they are not there."""
        file = self._folder / f"{shard.number:05d}-{chunk:04d}.done"
        try:
            return list(_lines(file))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise cannot(file, error) from error

    def finish(self, shard: Shard, chunk: int, lines: Sequence[dict[str, Any]]) -> None:
        """Keep the lines of a chunk of its rows."""
        self._write(f"{shard.number:05d}-{chunk:04d}.done", [*map(_encode, lines)])

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line that was kept, in the order of the rows."""
        for file in sorted(self._folder.glob("*.done")):
            yield from _lines(file)

    def _write(self, name: str, lines: Sequence[bytes]) -> None:
        file = self._folder / name
        try:
            write_whole(file, b"".join(line + b"\n" for line in lines))
        except OSError as error:
            raise cannot(file, error) from error


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as text:
        for line in text:
            yield msgspec.json.decode(line)
