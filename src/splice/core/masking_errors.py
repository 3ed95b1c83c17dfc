"""The error of a route for which nothing could be masked."""

from __future__ import annotations

from splice.core.errors import RouteError


class MaskingFailed(RouteError):
    """What would leave the machine could not be masked: the route was not asked."""

    code = "masking_failed"
    retryable = False
