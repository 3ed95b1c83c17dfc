"""A masker takes personal data out of what is recorded, and out of what leaves the machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec


class Veiled(msgspec.Struct, frozen=True, gc=False):
    """A document with placeholders, and what they stand for.

    `values` is by placeholder (`[email-1]`), `counts` by rule. It lives as long as its call and is
    written nowhere.
    """

    document: bytes
    values: Mapping[str, str] = {}
    counts: Mapping[str, int] = {}


class Finder(Protocol):
    """Finds what no pattern can, such as names: an entry point in `splice.finders`.

    The name of the entry point is the rule: `splice.Protect(mask=("email", "names"))` asks the one
    that is called `names`. It is made without arguments, and asked from several threads at once.
    Whatever it raises, nothing goes out.
    """

    def find(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        """Start and end of each finding, for each text, in their order."""
        ...


class Masker(Protocol):
    """Replaces what its rules find. It fails closed: what it cannot read, nobody sees."""

    def mask(self, document: bytes) -> bytes:
        """The same JSON with every finding in a string replaced by its rule's name: `[email]`.

        Raises:
            SpliceError: It could not be masked; the caller keeps nothing of it.
        """
        ...

    def veil(self, document: bytes, known: Collection[str] = (), *, files: bool = False) -> Veiled:
        """The same JSON with a placeholder for every finding, each value with one of its own.

        The same document gives the same placeholders. None of them stands in the document itself.

        Args:
            document: JSON.
            known: Values that are no secret, since the declaration says them itself.
            files: Whether files in it (images, sound) go through as they are. Nobody looks into
                them.

        Raises:
            SpliceError: It could not be masked, or it holds a file; nothing of it may go out.
        """
        ...
