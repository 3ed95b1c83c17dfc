"""TLS of the server by its settings: checked before a port is taken, the same for HTTP and gRPC."""

from __future__ import annotations

import ssl
from typing import Any

from splice.app.settings import Settings
from splice.core.errors import SettingsError


def check_tls(settings: Settings) -> None:
    """Passes settings whose certificate, key and authorities can be used.

    Raises:
        SettingsError: One of them cannot be read, or they do not belong together.
    """
    tls = settings.tls
    if not tls.cert:
        if tls.key or tls.client_ca or tls.clients == "required":
            raise SettingsError(
                "tls.cert", got="none", promised="a file, where other settings of TLS are made"
            )
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.path(tls.cert), settings.path(tls.key or tls.cert))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            "tls.cert", got=f"{tls.cert} and {tls.key or tls.cert}: {error}",
            promised="a certificate and its private key, in PEM",
        ) from None  # fmt: skip
    if tls.clients == "required" and not tls.client_ca:
        raise SettingsError(
            "tls.client_ca", got="none", promised="a file, where client certificates are required"
        )
    if tls.client_ca:
        try:
            context.load_verify_locations(settings.path(tls.client_ca))
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                "tls.client_ca", got=f"{tls.client_ca}: {error}", promised="certificates in PEM"
            ) from None


def tls_options(settings: Settings) -> dict[str, Any]:
    """What uvicorn is told."""
    tls = settings.tls
    if not tls.cert:
        return {}
    asks = ssl.CERT_REQUIRED if tls.clients == "required" else ssl.CERT_OPTIONAL
    return {
        "ssl_certfile": str(settings.path(tls.cert)),
        "ssl_keyfile": str(settings.path(tls.key or tls.cert)),
        "ssl_cert_reqs": asks if tls.client_ca else ssl.CERT_NONE,
        "ssl_ca_certs": str(settings.path(tls.client_ca)) if tls.client_ca else None,
    }
