"""What of a deployment is open, and to whom: everything that `splice check` tells of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

from splice.app.settings import Settings
from splice.app.wiring import LOOPBACK, key_mode
from splice.core.access import Key, Role
from splice.core.people import Person

_SAFE_SSL = ("verify-full", "verify-ca")


class Open(msgspec.Struct, frozen=True):
    """One thing that is open.

    `level` is `open` where somebody may come in, or listen, who was never let in; `note` where it
    is meant to be, or only wider than it need be.
    """

    level: Literal["open", "note"]
    what: str
    why: str
    mend: str


def openness(
    settings: Settings, keys: Sequence[Key], people: Sequence[Person], now_us: int
) -> list[Open]:
    """What is open, the worst first.

    Args:
        settings: Of the process.
        keys: All keys, the revoked ones included.
        people: Who may sign in.
        now_us: Unix microseconds.
    """
    alive = [one for one in keys if _is_alive(one, now_us)]
    found = [
        *_entrance(settings, bool(keys)),
        *_ways(settings),
        *_secrets(alive, now_us),
        *_people(settings, people),
        *_services(settings),
        *_lines(settings),
    ]
    return sorted(found, key=lambda one: one.level != "open")


def is_public(settings: Settings) -> bool:
    """Whether more than this machine can reach the server."""
    return settings.server.host not in LOOPBACK


def _is_alive(key: Key, now_us: int) -> bool:
    return key.revoked_us is None and (key.expires_us is None or key.expires_us > now_us)


def _entrance(settings: Settings, any_key: bool) -> Iterator[Open]:
    host, mode = settings.server.host, key_mode(settings)
    asked = mode == "required" or (mode == "auto" and (any_key or bool(settings.services)))
    if is_public(settings):
        if not asked:
            yield Open(
                "open", f"server.host is {host}, access.keys is open",
                "anyone who reaches it may call, and operate everything in the console",
                'leave access.keys at "auto", and run splice keys create',
            )  # fmt: skip
        if not settings.tls.cert:
            yield Open(
                "open", f"server.host is {host}, without TLS",
                "keys, requests and answers can be read on the way",
                "set tls.cert and tls.key, or serve on 127.0.0.1 behind a proxy that has TLS",
            )  # fmt: skip
    elif not asked:
        yield Open(
            "note", f"nobody is asked for a key on {host}",
            "whoever is on this machine may call"
            + ("" if settings.people.issuer else ", and operate everything in the console"),
            "splice keys create, or access.keys = \"required\"",
        )  # fmt: skip


def _ways(settings: Settings) -> Iterator[Open]:
    """Ways in beside HTTP calls."""
    if is_public(settings) and settings.access.metrics == "open":
        yield Open(
            "open", "access.metrics is open",
            "anyone may read /metrics, /openapi.json and what /readyz says is wrong",
            'leave access.metrics at "auto", and give Prometheus a key with the role viewer',
        )  # fmt: skip
    if settings.oip.grpc_port is not None and is_public(settings) and not settings.tls.cert:
        yield Open(
            "open", f"gRPC on port {settings.oip.grpc_port}, without TLS",
            "keys, requests and answers can be read on the way", "set tls.cert and tls.key",
        )  # fmt: skip
    if settings.gateway.mcp_origins:
        yield Open(
            "note", f"MCP may be called by web pages of {', '.join(settings.gateway.mcp_origins)}",
            "whoever controls such a page asks with the key of its visitor",
            "name no more than you need in gateway.mcp_origins",
        )  # fmt: skip
    if settings.console.enabled and is_public(settings) and not settings.people.issuer:
        yield Open(
            "note", "people come into the console with API keys",
            "a key tells who made it, and not who uses it", "let them sign in: [people]",
        )  # fmt: skip
    if not settings.tls.cert and settings.services and is_public(settings):
        yield Open(
            "open", "services show signed tokens without TLS",
            "whoever reads one calls with it until it expires", "set tls.cert and tls.key",
        )  # fmt: skip


def _secrets(alive: Sequence[Key], now_us: int) -> Iterator[Open]:
    if endless := [one.name for one in alive if one.expires_us is None]:
        yield Open(
            "note", f"{_keys(endless)} without an end", "a key that leaks counts for ever",
            "make new ones with --expires 90d, and revoke these",
        )  # fmt: skip
    rotated = [one.name for one in alive if (one.former_until_us or 0) > now_us]
    if rotated:
        yield Open(
            "note", f"{_keys(rotated)} with two secrets", "the one before a rotation still counts",
            "it ends by itself; splice keys rotate without --overlap ends it now",
        )  # fmt: skip
    admins = [one.name for one in alive if any(g.role is Role.ADMIN for g in one.grants)]
    if admins:
        yield Open(
            "note", f"{_keys(admins)} with the role admin", "who holds one may do everything",
            "bind them to networks with --addresses, or give people the role",
        )  # fmt: skip


def _people(settings: Settings, people: Sequence[Person]) -> Iterator[Open]:
    if not settings.people.issuer:
        return
    if settings.people.unverified == "accept":
        yield Open(
            "open", "people.unverified is accept",
            "where the provider lets anybody name an address, he has the roles of its owner",
            'set it to "refuse", or people.claim to "sub"',
        )  # fmt: skip
    if not settings.people.redirect_url and is_public(settings):
        yield Open(
            "note", "people.redirect_url is empty",
            "the provider sends browsers back to whatever address they came by",
            "name the one that is registered at the provider",
        )  # fmt: skip
    if not people and not settings.people.roles:
        yield Open(
            "note", "nobody has a role", "people may sign in, and see nothing",
            "splice people grant ADDRESS --role viewer, or people.roles",
        )  # fmt: skip


def _services(settings: Settings) -> Iterator[Open]:
    for name, one in settings.services.items():
        if one.subject == "*":
            yield Open(
                "note", f"services.{name}.subject is *",
                f"every token of {one.issuer} that is meant for this server may call "
                f"{', '.join(one.integrations) or 'nothing'}",
                "name the subjects",
            )  # fmt: skip


def _lines(settings: Settings) -> Iterator[Open]:
    """What goes from here to elsewhere without being protected on its way."""
    ledger = urlsplit(settings.ledger_url)
    if ledger.scheme.startswith("postgres") and _is_away(ledger.hostname):
        mode = parse_qs(ledger.query).get("sslmode", [""])[0]
        if mode not in _SAFE_SSL:
            yield Open(
                "open", "the ledger's database is not asked who it is",
                "whoever stands between can read and change what is recorded",
                "add ?sslmode=verify-full&sslrootcert=… to ledger.url",
            )  # fmt: skip
    for name, url in (("meters.url", settings.meters.url), ("cache.url", settings.cache.url)):
        parts = urlsplit(url)
        if parts.scheme == "redis" and _is_away(parts.hostname):
            yield Open(
                "open", f"{name} is without TLS", "answers and budgets can be read on the way",
                "take rediss://",
            )  # fmt: skip
    for name, provider in settings.providers.items():
        parts = urlsplit(provider.base_url)
        if parts.scheme == "http" and _is_away(parts.hostname):
            yield Open(
                "open", f"providers.{name} is without TLS",
                "its key and every prompt can be read on the way", "take https://",
            )  # fmt: skip


def _is_away(host: str | None) -> bool:
    """Whether a host is another machine; without a host it is a socket of this one."""
    if not host or host in LOOPBACK:
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def _keys(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{len(names)} key{'' if len(names) == 1 else 's'} ({shown})"
