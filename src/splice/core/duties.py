"""Duties: what the law asks of an integration by its risk, and what a person must attest."""

from __future__ import annotations

import msgspec


class PinnedAssessment(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answers of the risk questionnaire that a declaration gives, as a release pins them."""
