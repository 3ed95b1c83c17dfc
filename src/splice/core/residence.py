"""Residence: where texts may go, and the error where a route is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from splice.core.errors import RouteError


class OutsideRegion(RouteError):
    """A route leads out of the regions that the integration declares; it was not asked."""

    code = "outside_region"


def within(region: str, regions: Sequence[str]) -> bool:
    """Whether a place lies in one of the regions: `eu-central-1` lies in `eu`; unknown, in none.

    Args:
        region: Of the place, as its settings say; empty where they do not.
        regions: Those that are declared; where there are none, every place is allowed.
    """
    if not regions:
        return True
    return bool(region) and any(region == one or region.startswith(f"{one}-") for one in regions)


def outside(region: str, regions: Sequence[str]) -> str:
    """Why a place is refused, for people."""
    return f"region {region or 'unknown'}, and texts may go to {', '.join(regions)} only"
