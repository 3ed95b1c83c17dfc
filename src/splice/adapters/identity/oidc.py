"""OpenID Connect: the authorization code flow with PKCE for people, access tokens for services.

After OpenID Connect Core 1.0 (code flow, section 3.1), RFC 7636 (PKCE), RFC 9207 (`iss` in the
answer) and RFC 9700 (best current practice). Not spoken: implicit and hybrid flows, encrypted
tokens, refresh tokens (a session lasts as long as the settings say, then one signs in again).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from splice.adapters.identity.documents import Documents
from splice.adapters.identity.tokens import Wanted, Wrong, claims_of
from splice.core.errors import UnknownKey
from splice.core.identity_errors import SignInRefused
from splice.ports.identity import Asked, Identity, IdentityOptions


class OidcProvider:
    """An IdentityProvider that speaks OpenID Connect."""

    def __init__(self, options: IdentityOptions) -> None:
        self._options = options
        self._documents = Documents(options)

    async def address(self, asked: Asked) -> str:
        """Where to send a browser so that its user can sign in."""
        about = await self._documents.about()
        digest = hashlib.sha256(asked.verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        query = urlencode({
            "response_type": "code",
            "client_id": self._options.client_id,
            "redirect_uri": asked.redirect_url,
            "scope": " ".join(self._options.scopes),
            "state": asked.state,
            "nonce": asked.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        })  # fmt: skip
        at: str = self._endpoint(about, "authorization_endpoint")
        return f"{at}{'&' if '?' in at else '?'}{query}"

    async def signed_in(self, asked: Asked, answer: Mapping[str, str]) -> Identity:
        """Who came back, by the query that the provider sent the browser back with."""
        state = answer.get("state", "")
        if not hmac.compare_digest(state.encode(), asked.state.encode()):
            raise refused("an answer to another sign-in", mend="begin again")
        about = await self._documents.about()
        must_say = about.get("authorization_response_iss_parameter_supported") is True
        said = answer.get("iss")
        if said != self._options.issuer and (said is not None or must_say):
            raise refused("an answer of another provider", mend="begin again")
        if "error" in answer:
            told = f"{answer['error'][:80]}: {answer.get('error_description', '')[:200]}"
            raise refused(f"a refusal of the provider ({told.strip(': ')})")
        if not answer.get("code"):
            raise refused("an answer without a code", mend="begin again")
        tokens = await self._exchanged(about, answer["code"], asked)
        claims = await self._claims(tokens.get("id_token"), asked.nonce)
        more = await self._more(about, claims, tokens.get("access_token"))
        return _identity({**more, **claims})

    async def verified(self, token: str) -> Identity:
        """Who shows an access token."""
        options = self._options
        wanted = Wanted(options.issuer, options.audience, options.algorithms)
        try:
            return _identity(await claims_of(token, wanted, self._documents))
        except Wrong as wrong:
            raise UnknownKey(
                "token", got=str(wrong), promised=f"an access token for {options.audience}",
                mend="ask the issuer for another",
            ) from None  # fmt: skip

    async def close(self) -> None:
        """Hang up."""
        await self._documents.close()

    async def _exchanged(self, about: dict[str, Any], code: str, asked: Asked) -> dict[str, Any]:
        """The tokens for a code."""
        options = self._options
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": asked.redirect_url,
            "code_verifier": asked.verifier,
        }
        headers: dict[str, str] = {}
        ways: Any = about.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if not options.secret:
            form["client_id"] = options.client_id
        elif "client_secret_basic" in ways:
            pair = f"{quote(options.client_id, safe='')}:{quote(options.secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": options.client_id, "client_secret": options.secret}
        at = self._endpoint(about, "token_endpoint")
        reply = await self._documents.post(at, urlencode(form).encode(), headers)
        try:
            said = msgspec.json.decode(reply.body, type=dict[str, Any])
        except msgspec.DecodeError:
            said = {}
        if reply.status >= 500:
            raise self._documents.away(f"{reply.status} for a code")
        if reply.status != 200:
            wrong = str(said.get("error", reply.status))[:80]
            raise refused(f"a code that the provider does not take ({wrong})", mend="begin again")
        return said

    async def _claims(self, token: Any, nonce: str) -> dict[str, Any]:  # JSON
        """The claims of the ID token."""
        options = self._options
        wanted = Wanted(options.issuer, options.client_id, options.algorithms, nonce)
        if not isinstance(token, str):
            raise refused("an answer without an ID token")
        try:
            return await claims_of(token, wanted, self._documents)
        except Wrong as wrong:
            raise refused(str(wrong), mend="begin again") from None

    async def _more(
        self,
        about: dict[str, Any],
        claims: dict[str, Any],
        token: Any,  # JSON
    ) -> dict[str, Any]:
        """What the provider says of the person beside the ID token, which is often little."""
        at: Any = about.get("userinfo_endpoint")
        if not isinstance(at, str) or not isinstance(token, str):
            return {}
        reply = await self._documents.get(at, {"authorization": f"Bearer {token}"})
        try:
            said = msgspec.json.decode(reply.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return {}
        # A token of somebody else put in its place would make him another.
        return said if reply.status == 200 and said.get("sub") == claims["sub"] else {}

    def _endpoint(self, about: dict[str, Any], name: str) -> str:
        at = about.get(name)
        if not isinstance(at, str):
            raise self._documents.away(f"a discovery document without {name}")
        return at


def refused(got: str, *, mend: str = "ask who runs this") -> SignInRefused:
    """The error of a sign-in that does not count."""
    return SignInRefused("sign-in", got=got, mend=mend)


def _identity(claims: dict[str, Any]) -> Identity:
    expires_us = int(claims["exp"] * 1_000_000)
    return Identity(claims["iss"], claims["sub"], expires_us, claims)
