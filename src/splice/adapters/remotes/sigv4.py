"""AWS Signature Version 4: the headers that prove who sends a request.

Written after AWS's own description ("Create a signed AWS API request"), for services that encode a
path twice and normalise it; S3 does neither and cannot be signed for with this.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

_ALGORITHM = "AWS4-HMAC-SHA256"
# What a proxy on the way may add or change.
_UNSIGNED = frozenset({"expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"})


class Credentials(msgspec.Struct, frozen=True):
    """Keys of an AWS account; `token` belongs to temporary ones."""

    access_key: str
    secret_key: str
    token: str = ""

    def __repr__(self) -> str:  # no traceback and no log may show the secret
        return f"Credentials({self.access_key!r})"


class Scope(msgspec.Struct, frozen=True):
    """What a signature is good for, beside its day."""

    region: str
    service: str


class Unsigned(msgspec.Struct, frozen=True):
    """A request. `path` is what stands in the request line: encoded, with its query."""

    method: str
    path: str
    headers: Mapping[str, str]  # with `host`, as it is sent
    body: bytes = b""


def signed(request: Unsigned, credentials: Credentials, scope: Scope, at: float) -> dict[str, str]:
    """The headers to send beside the request's own: date, signature, and token if there is one.

    Args:
        request: What will be sent. Every header in it is signed, but for those that proxies change.
        credentials: Who sends it.
        scope: Region and service.
        at: Unix time in seconds. AWS refuses a clock that is off by more than five minutes.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    more = {"x-amz-date": stamp}
    if credentials.token:
        more["x-amz-security-token"] = credentials.token
    names, canonical = canonical_request(request, more)
    day = stamp[:8]
    within = f"{day}/{scope.region}/{scope.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{_ALGORITHM}\n{stamp}\n{within}\n{digest}"
    key = signing_key(credentials.secret_key, day, scope)
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    more["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{within}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return more


def signing_key(secret: str, day: str, scope: Scope) -> bytes:
    """The key of one day (`20150830`), region and service."""
    key = f"AWS4{secret}".encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def canonical_request(request: Unsigned, more: Mapping[str, str]) -> tuple[str, str]:
    """The names of the signed headers, and the request in the one form that both sides hash."""
    headers = {
        name.lower(): " ".join(value.split())
        for name, value in {**request.headers, **more}.items()
        if name.lower() not in _UNSIGNED
    }
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    path, _, query = request.path.partition("?")
    digest = hashlib.sha256(request.body).hexdigest()
    canonical = "\n".join(
        (request.method, _path(path), _query(query), lines, names, digest)
    )  # fmt: skip
    return names, canonical


def _path(path: str) -> str:
    """Without empty and dotted segments, and encoded once more."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    slash = "/" if kept and path.endswith("/") else ""
    return quote(f"/{'/'.join(kept)}{slash}", safe="/~")


def _query(query: str) -> str:
    """Its pairs, which are encoded already, in the order of their names and values."""
    if not query:
        return ""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in pairs)
