"""The section `[encryption]` of `splice.toml`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from splice.app.sections import Section


class EncryptionSettings(Section, frozen=True):
    """Where the keys are that encrypt: never in the ledger, nor in its backups."""

    vault: str = "file:.splice-keys/vault.json"
    """Where the keys are that wrap the keys of people: `file:PATH` (made by `splice encryption
    init`), `env:NAME` (a variable that another system fills), or another entry point in
    `splice.vaults`. It needs a copy of its own: without it nothing encrypted can be read again."""

    keys: str = ""
    """Database with the wrapped keys of people, as a URL. Left out, it is the file
    `.splice-keys/people.db`; a ledger in PostgreSQL, which several hosts share, wants one named."""

    rotate: Annotated[str, Meta(pattern=r"^([1-9]\d{0,4} ?d)?$")] = "30 d"
    """How often a new key wraps, in days. The one before is destroyed `overlap` after its
    last use, and with it every older copy of the key store becomes useless: that is how long an
    erased person's texts could be read again by whoever kept such a copy. Empty: never by itself,
    as with `env:`."""

    overlap: Annotated[str, Meta(pattern=r"^[1-9]\d{0,4} ?(h|d)$")] = "1 d"
    """How long a key that wraps no more is kept, so that processes which begin late find it."""

    def __repr__(self) -> str:
        return "EncryptionSettings(…)"  # the URL of its keys may hold a password
