"""Vaults: keys that encrypt keys, kept apart from the ledger.

What a vault holds must be in no backup of the ledger: whoever has both can read everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Kek(msgspec.Struct, frozen=True):
    """A key-encryption key: its name, since when it is there (Unix microseconds; 0: unknown)."""

    id: str
    made_us: int = 0


class Vault(Protocol):
    """Wraps keys with keys that it does not give away. Blocks; many threads may use it.

    `bound` is what a wrapped key is tied to: it must be the same at unwrapping.
    """

    @property
    def place(self) -> str:
        """Where it is, for people; never what is in it."""
        ...

    def keks(self) -> Sequence[Kek]:
        """Those that there are, the one that wraps now first.

        Raises:
            VaultError: It cannot be reached or read.
        """
        ...

    def wrap(self, key: bytes, bound: bytes) -> tuple[str, bytes]:
        """The key as it may be stored, and the name of the key-encryption key that did it.

        Raises:
            VaultError: It cannot be reached or read.
        """
        ...

    def unwrap(self, wrapped: bytes, kek: str, bound: bytes) -> bytes:
        """The key.

        Raises:
            KeyGone: There is no such key-encryption key any more.
            VaultError: It is not what was wrapped, or the vault cannot be reached or read.
        """
        ...

    def index_key(self) -> bytes:
        """32 bytes, the same for ever: what HMACs of people in indexes are keyed by.

        Raises:
            VaultError: It cannot be reached or read.
        """
        ...

    def rotate(self, now_us: int) -> Kek:
        """Wrap with a new key-encryption key from now on; the others still unwrap.

        Raises:
            VaultError: It could not be made durable, or this vault is rotated elsewhere.
        """
        ...

    def destroy(self, kek: str) -> None:
        """Destroy a key-encryption key; what only it can unwrap is lost for good.

        Raises:
            VaultError: It is the one that wraps now, or this vault is tended elsewhere.
        """
        ...
