"""Drift: which columns are no longer what they were, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from splice.core.profiles import ColumnDrift, Measured, Profile


class Limits(msgspec.Struct, frozen=True):
    """From which distance on a measure makes an alarm; None where it never does by itself.

    PSI 0.2 is the usual bound between a moderate and a great shift. `missing` is the difference of
    the shares of calls without a value.
    """

    psi: float | None = 0.2
    ks: float | None = None
    js: float | None = None
    wasserstein: float | None = None
    chi2: float | None = None
    missing: float | None = 0.1
    text: float | None = 1.0
    vector: float | None = 1.0
    significance: float = 0.05  # of the corrected p


LIMITS = Limits()


def drift(
    current: Mapping[str, Profile],
    reference: Mapping[str, Profile],
    limits: Limits = LIMITS,
) -> list[ColumnDrift]:
    """Every column of either side, those with an alarm first, then the farthest.

    A column that one side lacks altogether is told as such. Nothing raises: what cannot be compared
    says why.
    """
    raise NotImplementedError


def exceeds(measured: Measured, above: float) -> bool:
    """Whether the distance is surely at or above a limit: its whole interval is."""
    return measured.low >= above
