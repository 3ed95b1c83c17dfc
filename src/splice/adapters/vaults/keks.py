"""Key-encryption keys as text: what a vault file holds, and an environment variable."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from splice.core.vault_errors import KeyGone, VaultError
from splice.ports.vaults import Kek

_BYTES = 32
_NONCE = 12


class StoredKek(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key-encryption key: 32 bytes in base64."""

    id: str
    secret: str
    made_us: int = 0


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a vault holds; the first of `keks` wraps."""

    index: str
    keks: tuple[StoredKek, ...]


def fresh(now_us: int) -> Stored:
    """A new vault."""
    index = base64.b64encode(secrets.token_bytes(_BYTES)).decode()
    return Stored(index, (fresh_kek(now_us),))


def fresh_text(now_us: int) -> str:
    """A new vault as the text that a variable holds."""
    return msgspec.json.encode(fresh(now_us)).decode()


def fresh_kek(now_us: int) -> StoredKek:
    """A new key-encryption key."""
    secret = base64.b64encode(secrets.token_bytes(_BYTES)).decode()
    return StoredKek(f"kek-{secrets.token_hex(6)}", secret, now_us)


class Ring:
    """Key-encryption keys in memory, ready to use.

    Args:
        text: JSON of a `Stored`.
        place: Where it came from, for people.

    Raises:
        VaultError: It is not what a vault holds.
    """

    def __init__(self, text: bytes, place: str) -> None:
        self._place = place
        try:
            self.stored = msgspec.json.decode(text, type=Stored)
            self.index_key = _decoded(self.stored.index)
            self._ciphers = {one.id: AESGCM(_decoded(one.secret)) for one in self.stored.keks}
            if not self._ciphers or len(self._ciphers) != len(self.stored.keks):
                raise ValueError("no key-encryption key, or one twice")
        except (ValueError, msgspec.MsgspecError) as error:
            # What it says may quote a key: only its type goes on.
            raise VaultError(
                place, got=f"what no vault holds ({type(error).__name__})",
                promised="what splice encryption init made", mend="bring it back from its own copy",
            ) from None  # fmt: skip

    def keks(self) -> Sequence[Kek]:
        """Those that there are, the one that wraps first."""
        return [Kek(one.id, one.made_us) for one in self.stored.keks]

    def wrap(self, key: bytes, bound: bytes) -> tuple[str, bytes]:
        """The key as it may be stored, and what wrapped it."""
        name = self.stored.keks[0].id
        nonce = os.urandom(_NONCE)
        return name, nonce + self._ciphers[name].encrypt(nonce, key, name.encode() + bound)

    def unwrap(self, wrapped: bytes, kek: str, bound: bytes) -> bytes:
        """The key."""
        cipher = self._ciphers.get(kek)
        if cipher is None:
            raise KeyGone(self._place, got=f"a key that {kek[:40]} wrapped, which is not there")
        try:
            return cipher.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], kek.encode() + bound)
        except (InvalidTag, ValueError):
            raise VaultError(
                self._place, got="a wrapped key that was changed, or is another's",
                mend="bring the key store back from its own copy",
            ) from None  # fmt: skip


def _decoded(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != _BYTES:
        raise ValueError("a key of another length")
    return key
