"""A masker takes personal data out of what is recorded."""

from __future__ import annotations

from typing import Protocol


class Masker(Protocol):
    """Replaces what its rules find. It fails closed: what it cannot read, nobody sees."""

    def mask(self, document: bytes) -> bytes:
        """The same JSON with every finding in a string replaced by its rule's name: `[email]`.

        Raises:
            SpliceError: It could not be masked; the caller keeps nothing of it.
        """
        ...
