"""Keyring: turns the key that a caller shows into who he is, and says what he may reach.

Keys are checked in memory: the watcher brings them from the ledger. A token is
`sk-splice-<id>-<secret>`; the ledger holds only its HMAC.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from splice.core.access import ANYONE, Key, Peer, Permission, Principal, key_digest
from splice.core.errors import NotAllowed, UnknownKey
from splice.engine.bearers import Bearers

Mode: TypeAlias = Literal["open", "required", "auto"]
"""`required` always asks for a key, `open` never does, `auto` as soon as a key was ever made."""

CALLER = "key:"
"""Begins the caller in the record of a call with a key; the key's id follows."""

_TOKEN = re.compile(r"sk-splice-([a-z0-9]{1,32})-[A-Za-z0-9_-]{43}", re.ASCII)
_LONGEST = 10 + 32 + 1 + 43
_REMEMBERED = 4096
_ADDRESSES = 64  # of one remembered token
_NO_DIGEST = "0" * 64


class _Known:
    """A token whose secret was right, and the addresses it was seen to be allowed from."""

    __slots__ = ("addresses", "expires_us", "former", "key", "principal")

    def __init__(self, key: Key, principal: Principal, *, former: bool = False) -> None:
        self.key, self.principal, self.former = key, principal, former
        # A revoked key is looked at each time, as one that expired long ago.
        ends = [one for one in (key.expires_us, key.former_until_us if former else None) if one]
        self.expires_us = min(ends, default=None) if key.revoked_us is None else 0
        self.addresses: set[str] | None = set() if key.addresses else None


class Keyring:
    """All keys of a deployment, in memory.

    Args:
        mode: Whether a key is asked for.
        pepper: Secret that the digests in the ledger were made with; may be empty.
        clock: Unix microseconds. Give it one that never runs backwards (`Meter.now_us`): a clock
            that was set back must not revive a key.
        bearers: Services that show a signed token or a client certificate instead of a key. Where
            there are some, a key is asked for in mode `auto`, too.
    """

    def __init__(
        self,
        *,
        mode: Mode = "auto",
        pepper: bytes = b"",
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        bearers: Bearers | None = None,
    ) -> None:
        self.mode = mode
        self.bearers = bearers
        self._pepper = pepper
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._principals: dict[str, Principal] = {}
        self._known: dict[bytes, _Known] = {}
        # Before the ledger was read nobody can say that there is no key.
        self._required = mode != "open"

    @property
    def required(self) -> bool:
        """Whether a caller without a key is refused."""
        return self._required

    def replace(self, keys: Sequence[Key]) -> None:
        """These are all keys from now on, the revoked ones included; nothing else is remembered.

        In mode `auto` a revoked or expired key still asks everybody for one: taking the last key
        away must never let anybody in.
        """
        new = {key.id: key for key in keys}
        if new != self._keys:
            before = self._principals
            self._principals = {key.id: _principal(key, before.get(key.id)) for key in keys}
            self._keys = new
            self._known = {}
        known = bool(new) or self.bearers is not None
        self._required = self.mode == "required" or (self.mode == "auto" and known)

    def principal(self, token: str, address: str) -> Principal:
        """Who asks, by the key he shows (empty where he shows none) and his IP address.

        Where no key is asked for, a good one still counts, and another one is as good as none.

        Raises:
            UnknownKey: There is no key, or it is not one that opens this door now.
        """
        if not token or len(token) > _LONGEST:
            return self._bearer(token, address)
        # A digest, so that no secret is kept; surrogates, which have no bytes, are in no token.
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._verified(token)
            if known is None:
                return self._nobody(token)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[digest] = known
        expires_us, addresses = known.expires_us, known.addresses
        if (expires_us is not None and self._clock() >= expires_us) or (
            addresses is not None and address not in addresses
        ):
            return self._checked(known, address)
        return known.principal

    async def asker(self, token: str, address: str) -> Principal:
        """The same where a signed token may be new, and its issuer must be asked for its keys.

        Raises:
            UnknownKey: As of `principal`.
            IdentityAway: The issuer cannot be reached.
        """
        if is_signed(token) and self.bearers is not None:
            if (known := self.bearers.known(token)) is not None:
                return known
            try:
                await self.bearers.meet(token)
            except UnknownKey:
                if self._required:
                    raise
        return self.principal(token, address)

    def must_meet(self, token: str) -> bool:
        """Whether a token is a signed one that `asker` has to look at first."""
        return is_signed(token) and self.bearers is not None and self.bearers.known(token) is None

    def may_read(self, principal: Principal, integration: str, caller: str) -> bool:
        """Whether somebody may read what a caller asked of an integration.

        Who may see an integration reads all its calls, but a key with a tenant of its own only
        those of the tenant. Without such a role a key reads its own calls and those of keys of its
        tenant, within what it may call.
        """
        key = principal.key
        sees = principal.may(Permission.SEE, integration)
        if sees and (key is None or not key.tenant):
            return True
        if key is None or not (sees or key.may_call(integration)):
            return False
        if caller == principal.caller:
            return True
        other = self._principals.get(caller.removeprefix(CALLER))
        return other is not None and other.tenant == principal.tenant

    def _verified(self, token: str) -> _Known | None:
        """The key of a token whose secret is right; None for every other."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        key = self._keys.get(match[1])
        # An unknown id takes as long as a wrong secret.
        expected = _NO_DIGEST if key is None else key.digest
        former = _NO_DIGEST if key is None else key.former or _NO_DIGEST
        shown = key_digest(token, self._pepper)
        right, before = hmac.compare_digest(shown, expected), hmac.compare_digest(shown, former)
        if key is None or not (right or before):
            return None
        return _Known(key, self._principals[key.id], former=not right)

    def _checked(self, known: _Known, address: str) -> Principal:
        """The holder of a key whose secret is right: he may know what else is wrong with it."""
        key = known.key
        got = ""
        if key.revoked_us is not None:
            got = "a key that was revoked"
        elif key.expires_us is not None and self._clock() >= key.expires_us:
            got = "a key that has expired"
        elif known.former and self._clock() >= (key.former_until_us or 0):
            got = "the secret that this key had before it was rotated"
        elif not key.may_come_from(address):
            got = f"a call from {address[:64] or 'an unknown address'}"
        if not got:
            if known.addresses is not None:
                if len(known.addresses) >= _ADDRESSES:
                    known.addresses.clear()
                known.addresses.add(address)
            return known.principal
        if not self._required:
            return ANYONE
        raise UnknownKey(
            f"key {key.id}", got=got, promised="a key that is valid here and now",
            mend="ask whoever gave it to you for another",
        )  # fmt: skip

    def _bearer(self, token: str, address: str) -> Principal:
        """Whom a signed token, or else a client certificate, stands for."""
        if self.bearers is None:
            return self._nobody(token)
        if token:
            found = self.bearers.known(token)
        else:
            found = self.bearers.shown(address.names) if isinstance(address, Peer) else None
        return self._nobody(token) if found is None else found

    def _nobody(self, token: str) -> Principal:
        if not self._required:
            return ANYONE
        raise UnknownKey(
            "key",
            got="a key that is not known here" if token else "no API key",
            promised="an API key of this gateway",
            mend="send it as Authorization: Bearer sk-splice-…, or as x-api-key",
        )


def is_signed(token: str) -> bool:
    """Whether a token is not one of our keys, but may be a signed one (JWT)."""
    return len(token) > _LONGEST


def may_call(principal: Principal, integration: str) -> None:
    """Passes a caller who may call the integration.

    Raises:
        NotAllowed: His key does not reach it.
    """
    if not principal.may_call(integration):
        reached = () if principal.key is None else principal.key.integrations
        raise NotAllowed(
            integration[:80],
            got="a key that does not reach it",
            promised=f"one of {', '.join(reached) or 'no integration at all'}",
            mend="ask for a key with this integration",
        )


def may_name(principal: Principal, model: str) -> None:
    """Passes a caller who may name `provider/model` himself.

    Raises:
        NotAllowed: His key does not let him.
    """
    key = principal.key
    if key is not None and not key.may_name(model):
        raise NotAllowed(
            "model",
            got=f"{model[:128]}, which this key may not name",
            promised="an integration, an alias, or a model that the key allows",
            mend="ask for a key with this model, or call an integration by its name",
        )


def _principal(key: Key, before: Principal | None) -> Principal:
    if before is not None and before.key == key:
        return before
    caller = CALLER + key.id
    tenant = key.tenant or key.team or caller
    return Principal(caller, tenant, key.team, key, key.name, key.grants)
