"""Archiving: the retention of the ledger, and calls that are read from where they went."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from splice.app.chores import Chore
from splice.app.settings import Settings
from splice.core.call import Record
from splice.core.duties import Freeze
from splice.core.errors import SettingsError
from splice.core.ids import id_unix_ms
from splice.core.units import seconds
from splice.monitor.archiving import Archiver
from splice.ports.archives import ArchiveFiles, ArchiveList
from splice.ports.stores import CallFilter, RecordStore

EVERY_S = 300.0
_DAY_MS = 86_400_000
_NO_DAY = 1 << 30


def files_of(settings: Settings, calls: ArchiveList) -> ArchiveFiles:
    """The files of the archive.

    Raises:
        SettingsError: The extra that reads and writes them is not installed.
    """
    try:
        from splice.adapters.archives.parquet import ParquetArchive
    except ImportError:
        raise SettingsError(
            "ledger.keep", got="calls in files, without what reads and writes them",
            mend="install splice-ai[archive]",
        ) from None  # fmt: skip
    return ParquetArchive(settings.path(settings.ledger.archive), calls)


def chores_of_archive(
    settings: Settings, calls: ArchiveList, freezes: Callable[[], Sequence[Freeze]] = tuple
) -> list[Chore]:
    """The chore that moves calls older than `ledger.keep`, but for frozen evidence.

    There is none where all calls are kept.
    """
    if not settings.ledger.keep:
        return []
    keep_s = seconds(settings.ledger.keep, "ledger.keep")
    archiver = Archiver(calls, files_of(settings, calls), keep_s, freezes)
    return [Chore("archive", EVERY_S, archiver.step)]


class WithArchive:
    """A RecordStore whose calls can be read after they went to files.

    Args:
        records: The ledger's.
        calls: The list of the files.
        files: Opens the files, when one is read at last.
    """

    def __init__(
        self, records: RecordStore, calls: ArchiveList, files: Callable[[], ArchiveFiles]
    ) -> None:
        self._records = records
        self._calls = calls
        self._files = files
        self.append = records.append
        self.find = records.find
        self.count = records.count
        self.claim = records.claim
        self.release_claim = records.release_claim

    def get(self, call_id: str) -> Record | None:
        """The record of a call, or None."""
        found = self._records.get(call_id)
        return self._archived(call_id) if found is None else found

    def get_many(self, call_ids: Sequence[str]) -> dict[str, Record]:
        """Those of the records that are stored, by call id."""
        found = self._records.get_many(call_ids)
        missing = [call_id for call_id in call_ids if call_id not in found]
        archived = {day for day in set(map(_day, missing)) if self._calls.files(day=day)}
        for call_id in missing:
            if _day(call_id) in archived and (record := self._files().get(call_id)) is not None:
                found[call_id] = record
        return found

    @property
    def has_archive(self) -> bool:
        """Whether any calls moved to files."""
        return bool(self._calls.files())

    def find_archived(self, wanted: CallFilter) -> list[Record]:
        """Archived calls newest first, without payloads."""
        return self._files().find(wanted)

    def _archived(self, call_id: str) -> Record | None:
        return self._files().get(call_id) if self._calls.files(day=_day(call_id)) else None


def _day(call_id: str) -> int:
    """The day of an id; of what is none, one that has no files."""
    try:
        return id_unix_ms(call_id) // _DAY_MS
    except ValueError:
        return _NO_DAY
