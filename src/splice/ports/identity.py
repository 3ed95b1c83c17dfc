"""Identity providers: who somebody is, by a party that is trusted to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class IdentityOptions(msgspec.Struct, frozen=True):
    """How a provider is asked. Made by the settings; `secret` never stands in them.

    `audience` is whom access tokens must be meant for; a token for anybody else is refused.
    `algorithms` are the only ones that count, whatever a token says of itself.
    """

    issuer: str
    client_id: str = ""
    secret: str = ""
    scopes: tuple[str, ...] = ("openid",)
    audience: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    jwks_url: str = ""  # by discovery if left out
    ca_file: str = ""
    timeout_s: float = 10.0

    def __repr__(self) -> str:
        return f"IdentityOptions(issuer={self.issuer!r})"


class Asked(msgspec.Struct, frozen=True):
    """A sign-in that is under way in one browser; all but the address are secrets of it."""

    redirect_url: str
    state: str
    nonce: str
    verifier: str

    def __repr__(self) -> str:
        return f"Asked(redirect_url={self.redirect_url!r})"


class Identity(msgspec.Struct, frozen=True):
    """Who somebody is, as far as a provider says so; `claims` is all that it said.

    `expires_us` is until when that counts, in Unix microseconds.
    """

    issuer: str
    subject: str
    expires_us: int
    claims: dict[str, Any] = {}  # JSON

    def __repr__(self) -> str:
        return f"Identity(issuer={self.issuer!r}, subject={self.subject!r})"


class IdentityProvider(Protocol):
    """One provider. For use from one event loop."""

    async def address(self, asked: Asked) -> str:
        """Where to send a browser so that its user can sign in.

        Raises:
            IdentityAway: The provider cannot be reached.
        """
        ...

    async def signed_in(self, asked: Asked, answer: Mapping[str, str]) -> Identity:
        """Who came back, by the query that the provider sent the browser back with.

        Raises:
            SignInRefused: It is no answer to what was asked, the provider refused, or what it says
                does not hold.
            IdentityAway: The provider cannot be reached.
        """
        ...

    async def verified(self, token: str) -> Identity:
        """Who shows an access token.

        Raises:
            UnknownKey: It is not signed by this provider, not meant for us, or over.
            IdentityAway: The keys that could tell cannot be had.
        """
        ...

    async def close(self) -> None:
        """Hang up."""
        ...
