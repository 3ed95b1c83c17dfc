"""The section of `splice.toml` about proof: who signs heads of the ledger, and where they go."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from splice.app.sections import Section


class AuditSettings(Section, frozen=True):
    """Signed heads of the audit log and of all calls."""

    signing_key_env: str = ""
    """Name of the environment variable with the signing key, the line that `splice audit init`
    writes. It goes before the file."""

    signing_key: str = ".splice/audit.key"
    """File with the signing key. Where there is neither file nor variable, nothing is signed."""

    public_key: str = ".splice/audit.pub"
    """File with the public key, which verifies."""

    heads: str = ".splice/audit-heads.txt"
    """Where signed heads go besides the ledger: a file that is only appended to, best on another
    machine or volume, or an `https://` address that each is posted to as text."""

    every_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 60.0
    """How long a change waits for a signed head that covers it."""

    every_calls: Annotated[int, Meta(ge=1, le=100_000_000)] = 10_000
    """After how many new calls a head is signed although that time has not passed."""
