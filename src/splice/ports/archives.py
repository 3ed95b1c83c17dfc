"""Archives of calls: what the inner floors need of the files, and of their list. Blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from splice.core.archives import Archived
from splice.core.call import Record
from splice.ports.stores import CallFilter


class ArchiveList(Protocol):
    """Which calls of the ledger are in files. The ledger and this list change together."""

    def next_day(self, after: int, before: int) -> int | None:
        """The first day between these (outside both) with calls in the ledger."""
        ...

    def rolled(self, day: int) -> bool:
        """Whether all calls of a day are in the rollups, and leaves of the tree: then they go."""
        ...

    def integrations_of(self, day: int) -> Sequence[str]:
        """Those that have calls of that day in the ledger."""
        ...

    def calls_of(self, day: int, integration: str) -> Iterator[Sequence[Record]]:
        """Calls of a day, whole, in the order of their ids, page after page.

        Raises:
            StoreError: One of them cannot be read.
        """
        ...

    def next_part(self, day: int, integration: str) -> int:
        """The number of the next file of a day."""
        ...

    def move(self, day: int, files: Sequence[Archived], now_us: int) -> bool:
        """List these files instead of the calls of a day that the ledger has; durable on return.

        False where the ledger has other calls of that day than the files: then nothing was done.
        Claims stay answered. What is still to be deleted is told by `removing`.
        """
        ...

    def removing(self) -> int | None:
        """A day whose calls are in files, and not yet all deleted; None where there is none."""
        ...

    def delete(self, call_ids: Sequence[str]) -> int:
        """Delete these calls of a day that is being removed; says how many were still there."""
        ...

    def delete_blocks(self, day: int) -> bool:
        """Delete what is left of a day when its calls are gone; says whether there is more."""
        ...

    def files(self, integration: str | None = None, day: int | None = None) -> Sequence[Archived]:
        """The files of the archive, newest day first: all, of an integration, of a day."""
        ...


class ArchiveFiles(Protocol):
    """The files themselves."""

    def write(
        self, day: int, integration: str, part: int, pages: Iterable[Sequence[Record]]
    ) -> Archived:
        """Write a file, durable and read back on return; a file of that name is replaced.

        Raises:
            StoreError: It could not be written, or did not read back as it was written.
        """
        ...

    def ids(self, file: Archived) -> Iterator[Sequence[str]]:
        """The ids of the calls in a file, in their order."""
        ...

    def get(self, call_id: str) -> Record | None:
        """A call that is in a file of the list, or None."""
        ...

    def sealed(self, call_ids: Sequence[str]) -> dict[str, Record]:
        """Those of the calls that are in files of the list, whole, with the seals that prove them.

        Raises:
            StoreError: A file is gone, or cannot be read.
        """
        ...

    def find(self, wanted: CallFilter) -> list[Record]:
        """Calls that are in files of the list, newest first, without payloads."""
        ...
