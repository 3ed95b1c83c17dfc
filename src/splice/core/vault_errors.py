"""Errors of keys that encrypt: those that wrap others, and those of the people."""

from __future__ import annotations

from splice.core.errors import StoreError


class VaultError(StoreError):
    """A vault could not be reached or read, or cannot do what it was asked."""

    code = "vault_error"


class KeyGone(VaultError):
    """The key that a thing was encrypted with was destroyed: nobody can read it any more."""

    code = "key_gone"
    at_us: int = 0
    """When, in Unix microseconds; 0 where that is not known."""


class KeyMissing(VaultError):
    """Something is encrypted with a key that is not there, or was changed since."""

    code = "key_missing"
