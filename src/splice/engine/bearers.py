"""Services that show no key of ours: whom a signed token or a client certificate stands for."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from splice.core.access import Key, Principal
from splice.core.errors import UnknownKey
from splice.ports.identity import Identity, IdentityProvider

CALLER = "service:"
"""Begins the caller in the record of a call of a service, and the id of what stands for its key."""

_REMEMBERED = 4096
_AGAIN_US = 300_000_000
"""A token is looked at anew so often: its issuer may have withdrawn the key that signed it."""

_LONGEST_SUBJECT = 200


class Service(msgspec.Struct, frozen=True):
    """A service, what it shows, and what it may, in the form of a key without a secret.

    `issuer` is the name of a provider. Patterns are those of file names.
    """

    key: Key
    issuer: str = ""
    subject: str = ""
    claims: Mapping[str, str] = {}
    certificate: str = ""

    def is_of(self, issuer: str, identity: Identity) -> bool:
        """Whether a token is one of its own."""
        if self.issuer != issuer or not fnmatch.fnmatchcase(identity.subject, self.subject):
            return False
        return all(identity.claims.get(name) == value for name, value in self.claims.items())

    def shows(self, names: Sequence[str]) -> str:
        """The name by which a certificate is one of its own; empty where it is not."""
        if not self.certificate:
            return ""
        return next((one for one in names if fnmatch.fnmatchcase(one, self.certificate)), "")

    def principal(self, pattern: str, name: str) -> Principal:
        """Who it is; those that one pattern stands for are told apart."""
        key = self.key
        if any(sign in pattern for sign in "*?["):
            key = msgspec.structs.replace(key, id=f"{key.id}/{name[:_LONGEST_SUBJECT]}")
        tenant = key.tenant or key.team or key.id
        return Principal(key.id, tenant, key.team, key, key.id.removeprefix(CALLER), key.grants)


class _Known(msgspec.Struct, frozen=True, gc=False):
    principal: Principal
    until_us: int


class Bearers:
    """Tokens and certificates of services, remembered so that a call costs a look-up.

    Args:
        issuers: Providers by name, with the issuer whose tokens each verifies.
        services: In order; the first that fits counts.
        clock: Unix microseconds.
    """

    def __init__(
        self,
        issuers: Mapping[str, tuple[str, IdentityProvider]],
        services: Sequence[Service],
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._issuers = dict(issuers)
        self._services = tuple(services)
        self._clock = clock
        self._tokens: dict[bytes, _Known] = {}
        self._certificates: dict[tuple[str, ...], Principal | None] = {}

    def known(self, token: str) -> Principal | None:
        """Whom a token stands for that was looked at before, and still counts."""
        found = self._tokens.get(_digest(token))
        return None if found is None or self._clock() >= found.until_us else found.principal

    async def meet(self, token: str) -> None:
        """Look at a token; `known` then tells whom it stands for.

        Raises:
            UnknownKey: It is of no issuer, or of no service, that is known here; or it is over.
            IdentityAway: The issuer's keys cannot be had.
        """
        if self.known(token) is not None:
            return
        said = _issuer_of(token)
        named = next((name for name, (at, _) in self._issuers.items() if at == said), None)
        if named is None:
            raise _unknown("a token of no issuer that is trusted here")
        identity = await self._issuers[named][1].verified(token)
        service = next((one for one in self._services if one.is_of(named, identity)), None)
        if service is None:
            raise _unknown("a token of no service that is known here")
        now_us = self._clock()
        until_us = min(identity.expires_us, now_us + _AGAIN_US)
        if until_us <= now_us:  # within the leeway between two clocks: it counts once more
            until_us = now_us + 1_000_000
        if len(self._tokens) >= _REMEMBERED:
            self._tokens.clear()
        principal = service.principal(service.subject, identity.subject)
        self._tokens[_digest(token)] = _Known(principal, until_us)

    def shown(self, names: tuple[str, ...]) -> Principal | None:
        """Whom a client certificate stands for; None where it is nobody's."""
        if names in self._certificates:
            return self._certificates[names]
        found = None
        for one in self._services:
            if name := one.shows(names):
                found = one.principal(one.certificate, name)
                break
        if len(self._certificates) >= _REMEMBERED:
            self._certificates.clear()
        self._certificates[names] = found
        return found

    async def close(self) -> None:
        """Hang up."""
        for _, provider in self._issuers.values():
            await provider.close()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _issuer_of(token: str) -> str:
    """What a token says of its issuer; that it is true is for the issuer's keys to tell."""
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    try:
        raw = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(raw, type=_Said).iss
    except (ValueError, msgspec.DecodeError):
        return ""


class _Said(msgspec.Struct, frozen=True):
    iss: str = ""


def _unknown(got: str) -> UnknownKey:
    return UnknownKey(
        "token", got=got, promised="a token of a service that this server knows",
        mend="have it named in [services.NAME]",
    )  # fmt: skip
