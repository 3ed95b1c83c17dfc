"""A review: a call that a person must look at, and what he decided; and how that is declared."""

from __future__ import annotations

import msgspec


class PinnedReview(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which calls a person looks at, and by whose eyes, as a release pins it."""
