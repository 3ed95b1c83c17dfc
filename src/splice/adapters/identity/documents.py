"""What an identity provider publishes: its addresses and its keys, fetched and remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from splice.adapters.net.http import Http, HttpFault, HttpReply, origin_of
from splice.core.errors import SettingsError
from splice.core.identity_errors import IdentityAway
from splice.ports.identity import IdentityOptions

_BODY = 1 << 20  # bytes of the longest document
_FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
_FRESH_S = 900.0  # a key that the provider withdraws counts so long at most
_COOLDOWN_S = 2.0  # between two looks for a key that nobody knows, or at a provider that is away
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Documents:
    """The provider's discovery document and its key set.

    Args:
        options: How it is asked.
        clock: Seconds that only grow.
    """

    def __init__(
        self, options: IdentityOptions, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options
        self._clock = clock
        self._clients: dict[tuple[str, bool], Http] = {}
        self._lock = asyncio.Lock()
        self._about: dict[str, Any] | None = None
        self._about_at = 0.0
        self._keys: list[dict[str, Any]] = []
        self._keys_at: float | None = None
        self._failed: tuple[float, IdentityAway] | None = None
        if not safe(options.issuer) or (options.jwks_url and not safe(options.jwks_url)):
            raise SettingsError(
                "issuer", got=options.issuer[:200] or "nothing",
                promised="https://…, or http:// to this machine",
            )  # fmt: skip

    async def about(self) -> dict[str, Any]:
        """The discovery document, whose issuer is the one that was configured.

        Raises:
            IdentityAway: It cannot be had, and none is remembered.
        """
        async with self._lock:
            now = self._clock()
            if self._about is None or now - self._about_at >= _FRESH_S:
                try:
                    self._rest(now)
                    self._about = await self._discover()
                    self._about_at = now
                except IdentityAway as error:
                    self._failed = (now, error)
                    if self._about is None:
                        raise
            return self._about

    def _rest(self, now: float) -> None:
        """Whoever failed a moment ago is not asked again: callers would queue for its timeouts.

        Raises:
            IdentityAway: It was a moment ago.
        """
        if self._failed is not None and now - self._failed[0] < _COOLDOWN_S:
            raise self.away(self._failed[1].got)

    async def keys(self, kid: str | None) -> list[dict[str, Any]]:
        """The provider's keys, fetched anew where they are old, or where `kid` is not among them.

        Raises:
            IdentityAway: They cannot be had, and none are remembered.
        """
        if self._is_enough(kid):
            return self._keys
        about = {} if self._options.jwks_url else await self.about()
        async with self._lock:
            now = self._clock()
            just_now = self._keys_at is not None and now - self._keys_at < _COOLDOWN_S
            if just_now or self._is_enough(kid):
                return self._keys
            try:
                self._rest(now)
                self._keys = await self._fetch_keys(about)
                self._keys_at = now
            except IdentityAway as error:
                self._failed = (now, error)
                # Those remembered go on: who is in stays in while the provider is away.
                if not self._keys:
                    raise
            return self._keys

    def _is_enough(self, kid: str | None) -> bool:
        if self._keys_at is None or self._clock() - self._keys_at >= _FRESH_S:
            return False
        return kid is None or any(one.get("kid") == kid for one in self._keys)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> HttpReply:
        """The answer to a GET.

        Raises:
            IdentityAway: There is none.
        """
        client, path = self._client(url, form=False)
        try:
            return await client.get(path, self._options.timeout_s, headers)
        except HttpFault as fault:
            raise self.away(f"{fault.fault}: {fault.detail}") from None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> HttpReply:
        """The answer to a POST of a form, which is sent once.

        Raises:
            IdentityAway: There is none.
        """
        client, path = self._client(url, form=True)
        try:
            return await client.post(path, body, "", headers, self._options.timeout_s)
        except HttpFault as fault:
            raise self.away(f"{fault.fault}: {fault.detail}") from None

    def away(self, got: str) -> IdentityAway:
        """The error where the provider does not answer as it should."""
        return IdentityAway(
            self._options.issuer[:200], got=got[:300],
            promised="an answer of the identity provider", mend="try again when it is back",
        )  # fmt: skip

    async def close(self) -> None:
        """Hang up."""
        for client in self._clients.values():
            await client.close()

    async def _discover(self) -> dict[str, Any]:
        issuer = self._options.issuer
        reply = await self.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        about = self._read(reply, "its discovery document")
        if about.get("issuer") != issuer:
            raise self.away(f"a discovery document of {about.get('issuer')!r}"[:300])
        for name, url in about.items():
            # Where a provider could be made to name other places, nothing may go there in clear.
            named = name.endswith("_endpoint") or name == "jwks_uri"
            if named and not (isinstance(url, str) and safe(url)):
                raise self.away(f"{name} that is no https address")
        return about

    async def _fetch_keys(self, about: dict[str, Any]) -> list[dict[str, Any]]:
        url = self._options.jwks_url or about.get("jwks_uri") or ""
        if not url:
            raise self.away("a discovery document without jwks_uri")
        keys = self._read(await self.get(url), "its keys").get("keys")
        try:
            return msgspec.convert(keys, list[dict[str, Any]])
        except msgspec.ValidationError:
            raise self.away("a key set without keys") from None

    def _read(self, reply: HttpReply, what: str) -> dict[str, Any]:
        if reply.status != 200:
            raise self.away(f"{reply.status} for {what}")
        try:
            return msgspec.json.decode(reply.body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise self.away(f"no JSON for {what}") from None

    def _client(self, url: str, *, form: bool) -> tuple[Http, str]:
        parts = urlsplit(url)
        base = f"{parts.scheme}://{parts.netloc}"
        client = self._clients.get((base, form))
        if client is None:
            client = self._clients[base, form] = Http(
                origin_of(base, "issuer"),
                _FORM if form else {"accept": "application/json"},
                body_limit=_BODY,
                connect_s=self._options.timeout_s,
                ca_file=self._options.ca_file or None,
            )
        return client, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def safe(url: str) -> bool:
    """Whether secrets may go to an address: over TLS, or to this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    at_home = parts.scheme == "http" and parts.hostname in _LOOPBACK
    plain = not (parts.username or parts.password or parts.fragment)
    return plain and bool(parts.hostname) and (parts.scheme == "https" or at_home)
