"""What can be said of an endpoint beside its address, and who is shown which secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from splice.core.errors import DeclarationError, ModelUnavailable
from splice.core.versions import Endpoint

ANSWER_LIMIT = 32 << 20
"""Bytes of the longest answer that is read."""

CONNECT_S = 5.0
"""Seconds for a new connection; a call with less time left waits only that long."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of every protocol."""

    lanes: Annotated[int, Meta(ge=1, le=1024)] = 8
    """Requests that are on their way at once; what comes meanwhile makes larger batches."""

    max_batch: Annotated[int, Meta(ge=1, le=4096)] = 4096
    """Rows in one request. `models.max_batch` of splice.toml bounds it too."""

    row_price: Annotated[float, Meta(ge=0)] | None = None
    """What one row costs, in the account's currency; left out, the cost is unknown."""

    headers: dict[str, str] = {}
    """Sent with every request; no secrets, for they stand in the ledger."""

    host: str = ""
    """Name to ask for where it is not the URL's: KServe behind an ingress is told apart by it."""

    ca_file: str = ""
    """Certificates to trust instead of the system's."""


_Options = TypeVar("_Options", bound=Options)


def options_of(endpoint: Endpoint, kind: type[_Options]) -> _Options:
    """The endpoint's options, read.

    Raises:
        DeclarationError: One is unknown, or not what it should be.
    """
    try:
        return msgspec.convert(endpoint.options, kind)
    except msgspec.ValidationError as error:
        raise DeclarationError(
            f"{place_of(endpoint)}.options",
            got=str(error).replace("`", ""),
            promised=f"some of {', '.join(kind.__struct_fields__)}",
        ) from None


def place_of(endpoint: Endpoint) -> str:
    """How errors name the endpoint: its model and where it is, without what a URL may hide."""
    try:
        parts = urlsplit(endpoint.url)
        where = parts.hostname and f"{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        where = None
    return f"{endpoint.model} at {where or endpoint.region or 'its endpoint'}"


def secret_of(endpoint: Endpoint, secrets: Mapping[str, str]) -> str:
    """The secret that the endpoint names; empty where it names none.

    Raises:
        ModelUnavailable: This process has none of that name.
    """
    return named(endpoint.key_env, endpoint, secrets) if endpoint.key_env else ""


def named(variable: str, endpoint: Endpoint, secrets: Mapping[str, str]) -> str:
    """The secret of a variable.

    Raises:
        ModelUnavailable: It is not listed in the settings, or not set.
    """
    secret = secrets.get(variable)
    if not secret:
        raise ModelUnavailable(
            place_of(endpoint),
            got=f"no secret {variable}",
            promised="the one that the endpoint names",
            mend=f'set the variable, and list "{variable}" in models.endpoint_keys of splice.toml',
        )
    return secret
