"""Errors of signing in: the provider is away, or what it said does not count."""

from __future__ import annotations

from splice.core.errors import RefusedError


class IdentityAway(RefusedError):
    """The identity provider cannot be reached, so that nobody new can be let in."""

    code = "identity_away"
    retryable = True


class SignInRefused(RefusedError):
    """Whoever wanted to sign in may not, or did not come back from the provider as he left."""

    code = "sign_in_refused"
