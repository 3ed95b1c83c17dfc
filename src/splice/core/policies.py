"""Policies: named, versioned rules about what may go into a model and what may come out."""

from __future__ import annotations

import msgspec


class PinnedPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """One policy as a release pins it: `name` is what records, refusals and metrics call it."""

    name: str
