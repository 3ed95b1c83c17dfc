"""Errors of reviews: the caller's mistake."""

from __future__ import annotations

from splice.core.errors import RequestError


class UnknownReview(RequestError):
    """There is no such review, or none that who asks may know of."""

    code = "unknown_review"
