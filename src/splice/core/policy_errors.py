"""Errors of policies: what a caller is told whose call a policy did not let through."""

from __future__ import annotations

from splice.core.errors import RefusedError


class PolicyRefused(RefusedError):
    """A policy of the integration does not let this through; `where` names the policy."""

    code = "policy_refused"


class PolicyUnavailable(RefusedError):
    """A policy of the integration cannot be asked, and nothing passes unasked."""

    code = "policy_unavailable"
    retryable = True
