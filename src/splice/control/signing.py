"""Signing heads of the ledger: an Ed25519 key that signs, and what anybody may verify with."""

from __future__ import annotations

import base64
import re
from typing import Any

from splice.core.errors import SettingsError
from splice.core.heads import Head, Note, PublicKey, note, public_key

_PRIVATE = "SPLICE+AUDIT+KEY"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


class Signer:
    """What a signing key can do.

    Args:
        text: The line that `splice audit init` wrote.
        where: What names it in an error; the text itself never is.

    Raises:
        SettingsError: It is no such line, or cryptography is not installed.
    """

    def __init__(self, text: str, where: str) -> None:
        parts = text.strip().split("+")
        try:
            if "+".join(parts[:3]) != _PRIVATE or len(parts) < 6:
                raise ValueError("another form")
            seed = base64.b64decode("+".join(parts[5:]), validate=True)
            self._key = _ed25519().Ed25519PrivateKey.from_private_bytes(seed)
        except ValueError:
            raise SettingsError(
                where,
                got="what is no signing key",
                promised="the line that splice audit init wrote",
            ) from None
        self.public = PublicKey(parts[3], self._key.public_key().public_bytes_raw())
        if self.public.id.hex() != parts[4]:
            raise SettingsError(where, got="a signing key that was bent", mend="restore it")

    def sign(self, head: Head) -> str:
        """The head as a note."""
        return note(head, self.public, self._key.sign(head.text().encode()))


def new_key(name: str) -> tuple[str, PublicKey]:
    """A new key as a line that must stay secret, and what may be shown to all.

    Raises:
        SettingsError: The name has other characters than letters, digits and `._/-`.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(
            "name", got=repr(name[:100]), promised="letters, digits, dots, slashes and hyphens"
        )
    key = _ed25519().Ed25519PrivateKey.generate()
    public = PublicKey(name, key.public_key().public_bytes_raw())
    seed = base64.b64encode(key.private_bytes_raw()).decode()
    return f"{_PRIVATE}+{name}+{public.id.hex()}+{seed}", public


def read_public_key(text: str, where: str) -> PublicKey:
    """A public key.

    Raises:
        SettingsError: It is none.
    """
    try:
        return public_key(text)
    except ValueError as error:
        raise SettingsError(where, got=str(error)) from None


def is_signed(signed: Note, key: PublicKey) -> bool:
    """Whether a head was signed by that key, and says what its text says."""
    from cryptography.exceptions import InvalidSignature

    if (signed.key_id, signed.name) != (key.id, key.name) or signed.head.origin != key.name:
        return False
    if signed.head.text().encode() != signed.signed:
        return False
    try:
        _ed25519().Ed25519PublicKey.from_public_bytes(key.key).verify(
            signed.signature, signed.signed
        )
    except InvalidSignature:
        return False
    return True


def _ed25519() -> Any:  # the module, whose import takes 30 ms
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise SettingsError(
            "audit", got="signed heads, without what signs and verifies them",
            mend="install splice-ai[governance]",
        ) from None  # fmt: skip
    return ed25519
