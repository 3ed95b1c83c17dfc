"""People sign in: by the identity provider, into a session that the ledger holds.

What a browser holds while it is at the provider is one secret, from which state, nonce and PKCE's
verifier are made: nothing is kept here for a sign-in that nobody ends. The session is one, too; the
ledger has only its digest, and a sign-out ends it on every worker at once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from starlette.requests import Request

from splice.console.access import address_of, cookie, headers_of, is_secure, next_of
from splice.core.access import Change, Grant, Principal
from splice.core.audit import Origin, acting
from splice.core.errors import SpliceError
from splice.core.identity_errors import SignInRefused
from splice.core.people import Person, Session, principal_of
from splice.ports.identity import Asked, Identity, IdentityProvider
from splice.ports.people import PeopleStore
from splice.serve.mcp.guard import check_host

log = logging.getLogger("splice.console")

SESSION = "splice_session"
PENDING = "splice_sign_in"
_PENDING_S = 600
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_ID = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")
_MOST_GROUPS = 1000


class SignInOptions(msgspec.Struct, frozen=True):
    """How people sign in; see the settings `[people]`."""

    session_s: float
    provider: str = ""  # what people know it by
    redirect_url: str = ""
    claim: str = "email"
    verified_only: bool = True
    roles_claim: str = "groups"
    roles: Mapping[str, tuple[Grant, ...]] = {}


class Finished(msgspec.Struct, frozen=True):
    """A sign-in that worked: what the browser keeps, and where it goes."""

    cookies: tuple[str, ...]
    after: str


class SignIn:
    """People who come in by the provider, and those who are in.

    Args:
        provider: Knows who they are.
        people: Keeps who came.
        options: How.
        hosts: Names of this server that browsers may use.
    """

    def __init__(
        self,
        provider: IdentityProvider,
        people: PeopleStore,
        options: SignInOptions,
        hosts: frozenset[str],
    ) -> None:
        self._provider = provider
        self._people = people
        self._options = options
        self._hosts = hosts

    async def visitor(self, request: Request) -> Principal | None:
        """Who visits, by his session; None where he has none that counts."""
        held = cookie(request, SESSION)
        if not _SECRET.fullmatch(held):
            return None
        now_us = time.time_ns() // 1000
        found = await asyncio.to_thread(self._people.session, _digest(held), now_us)
        return None if found is None else principal_of(*found)

    async def begun(self, request: Request, base: str, after: str) -> tuple[str, str]:
        """The provider's address for a browser, and the cookie that it comes back with.

        Raises:
            IdentityAway: The provider cannot be reached.
        """
        seed = secrets.token_urlsafe(32)
        target = await self._provider.address(self._asked(request, base, seed))
        kept = base64.urlsafe_b64encode(after.encode()).rstrip(b"=").decode()
        path = f"{base}/sign-in"
        return target, _cookie(request, PENDING, f"{seed}.{kept}", path, _PENDING_S)

    async def finished(self, request: Request, base: str) -> Finished:
        """Let somebody in who came back from the provider.

        Raises:
            SignInRefused: This browser asked for no such answer, or the answer does not count.
            NotAllowed: He is barred, or another account has his name.
            IdentityAway: The provider cannot be reached.
        """
        seed, _, kept = cookie(request, PENDING).partition(".")
        try:
            if not _SECRET.fullmatch(seed):
                raise _refused("an answer that this browser did not ask for", "begin again")
            asked = self._asked(request, base, seed)
            identity = await self._provider.signed_in(asked, dict(request.query_params))
            person = self._person(identity)
            token = secrets.token_urlsafe(32)
            await self._let_in(request, person, identity, token, asked.state)
        except SpliceError as error:
            log.warning("a sign-in from %s was refused: %s", address_of(request), error)
            raise
        log.info("%s signed in from %s", person.id, address_of(request))
        seconds = int(self._options.session_s)
        cookies = (
            _cookie(request, SESSION, token, base, seconds),
            _cookie(request, PENDING, "", f"{base}/sign-in", 0),
        )
        return Finished(cookies, next_of(_unpacked(kept), base))

    async def ended(self, request: Request, base: str) -> str:
        """The cookie that ends a session in the browser; here it is over, too."""
        held = cookie(request, SESSION)
        if _SECRET.fullmatch(held):
            who = await self.visitor(request)
            change = Change(who.name if who else "unknown", time.time_ns() // 1000)
            with acting(_origin(request)):
                await asyncio.to_thread(self._people.sign_out, _digest(held), change)
        return _cookie(request, SESSION, "", base, 0)

    async def _let_in(
        self, request: Request, person: Person, identity: Identity, token: str, state: str
    ) -> None:
        now_us = time.time_ns() // 1000
        session = Session(
            digest=_digest(token),
            person=person.id,
            state=_digest(state),
            created_us=now_us,
            expires_us=now_us + int(self._options.session_s * 1_000_000),
            grants=self._grants(identity),
            address=address_of(request),
        )
        change = Change(person.id, now_us)
        with acting(_origin(request)):
            await asyncio.to_thread(self._people.sign_in, person, session, change)

    def _asked(self, request: Request, base: str, seed: str) -> Asked:
        made = (_made(seed, use) for use in ("state", "nonce", "verifier"))
        return Asked(self._redirect_url(request, base), *made)

    def _redirect_url(self, request: Request, base: str) -> str:
        if self._options.redirect_url:
            return self._options.redirect_url
        # Made of the address that was called, which nobody else may have chosen.
        check_host(headers_of(request), Principal(), self._hosts, "console")
        scheme = "https" if is_secure(request) else "http"
        return f"{scheme}://{request.headers.get('host', '')}{base}/sign-in/back"

    def _person(self, identity: Identity) -> Person:
        options, claims = self._options, identity.claims
        called = claims.get(options.claim)
        if not isinstance(called, str) or not _ID.fullmatch(called.strip()):
            raise _refused(
                f"nothing from the provider that says who this is ({options.claim})",
                "have the provider tell it, or name another claim in people.claim",
            )
        verified = claims.get("email_verified") is True
        if options.claim == "email" and options.verified_only and not verified:
            raise _refused(
                "an address that the provider does not call verified",
                "verify it at the provider, or see people.unverified",
            )
        name = claims.get("name")
        shown = name[:200] if isinstance(name, str) and name.isprintable() else ""
        return Person(called.strip().lower(), shown, identity.issuer, identity.subject)

    def _grants(self, identity: Identity) -> tuple[Grant, ...]:
        """The roles that somebody's groups give him."""
        said: Any = identity.claims.get(self._options.roles_claim)
        groups = cast("list[Any]", said if isinstance(said, list) else [said])[:_MOST_GROUPS]
        known = self._options.roles
        found = [known[one] for one in groups if isinstance(one, str) and one in known]
        return tuple(dict.fromkeys(grant for grants in found for grant in grants))


def _made(seed: str, use: str) -> str:
    """One of the secrets of a sign-in: 43 characters that no other of them tells."""
    raw = hmac.digest(seed.encode(), use.encode(), "sha256")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _unpacked(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return ""


def _origin(request: Request) -> Origin:
    return Origin("console", address_of(request), "", f"{request.method} {request.url.path}"[:200])


def _refused(got: str, mend: str) -> SignInRefused:
    return SignInRefused("sign-in", got=got, mend=mend)


def _cookie(request: Request, name: str, value: str, path: str, seconds: int) -> str:
    """Lax, and not Strict: the browser comes back from the provider, or from a link in a message.

    Whatever changes something is a POST, which `check_action` looks at.
    """
    secure = "; Secure" if is_secure(request) else ""
    return f"{name}={value}; Path={path}; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}"
