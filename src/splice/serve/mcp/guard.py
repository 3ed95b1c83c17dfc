"""Which pages of a browser may ask: a name that someone else controls is no address.

A web page whose host name is made to mean 127.0.0.1 (DNS rebinding) reaches servers that listen on
this machine only, and asks as if it were at home. It cannot rebind an IP address or `localhost`,
and it has no key: so a caller without a key must name the server by one of these, or by a name that
the operator allowed; and whatever page asks (`Origin`) must be at home here, key or not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from splice.core.access import Principal
from splice.core.errors import NotAllowed

_LOCAL = "localhost"


def check_origin(
    headers: Mapping[bytes, bytes], allowed: Collection[str], surface: str = "mcp"
) -> None:
    """Passes a request that comes from no web page, or from one that may ask.

    Args:
        headers: Names in lower case.
        allowed: Further origins, as `https://agents.example.com`.
        surface: What is asked, for the error.

    Raises:
        NotAllowed: It comes from another page.
    """
    given = headers.get(b"origin")
    if given is None:
        return
    origin = given.decode("latin-1")
    if origin in allowed:
        return
    host = _host_of(origin, scheme=True)
    here = _host_of(headers.get(b"host", b"").decode("latin-1"))
    # A page may speak to the host that it came from; whether that host is one is checked apart.
    if host and (host == here or _cannot_be_rebound(host)):
        return
    raise NotAllowed(
        f"{surface}.origin",
        got=f"a web page of {origin[:100]}",
        promised="a page of this server, of this machine, or one that the operator allows",
        mend="call from a program, or have the origin allowed",
    )


def check_host(
    headers: Mapping[bytes, bytes],
    principal: Principal,
    allowed: Collection[str],
    surface: str = "mcp",
) -> None:
    """Passes a request that says who asks, or to a host name that no foreign page can have.

    Raises:
        NotAllowed: It says nothing of who asks, and names the server in another way.
    """
    if not principal.anonymous:
        return
    given = headers.get(b"host", b"").decode("latin-1")
    host = _host_of(given)
    if host and (_cannot_be_rebound(host) or host in allowed):
        return
    raise NotAllowed(
        f"{surface}.host",
        got=f"the host {given[:100]!r} and no key",
        promised="localhost, an IP address, or a name that the operator allows",
        mend="send a key, or call the server by its address",
    )


def _cannot_be_rebound(host: str) -> bool:
    if host == _LOCAL:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _host_of(text: str, *, scheme: bool = False) -> str:
    """The host in lower case, without port and brackets; empty where it cannot be read."""
    try:
        parts = urlsplit(text if scheme else f"//{text}")
        if scheme and parts.scheme not in ("http", "https"):
            return ""
        return (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""
