"""The client certificate of a connection, as the address of whoever asks.

uvicorn makes the `client` of every scope of what its protocol holds: an address that carries the
names of the certificate goes with it to every surface, and costs nothing where there is none.
"""

from __future__ import annotations

from typing import Any

from splice.core.access import Peer

_KINDS = {"DNS": "dns", "URI": "uri", "email": "email", "IP Address": "ip"}


def with_names(client: tuple[str, int] | None, transport: Any) -> tuple[str, int] | None:
    """The client of a connection, with the names in the certificate that it showed.

    Args:
        client: Address and port, as uvicorn knows them.
        transport: A transport of asyncio, over TLS or not.
    """
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return client
    # Empty where it showed none: one that no trusted authority signed ended the handshake.
    names = names_of(tls.getpeercert() or {})
    if not names:
        return client
    address, port = client or ("", 0)
    return Peer(address, names), port


def names_of(certificate: dict[str, Any]) -> tuple[str, ...]:
    """The names in a certificate, as Python's `getpeercert()` gives it: `dns:billing.corp`."""
    names = [
        f"cn:{value}"
        for part in certificate.get("subject", ())
        for name, value in part
        if name == "commonName"
    ]
    names += [
        f"{_KINDS[kind]}:{value}"
        for kind, value in certificate.get("subjectAltName", ())
        if kind in _KINDS
    ]
    return tuple(names)
