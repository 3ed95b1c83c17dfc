"""What goes wrong with an endpoint, as errors of a route that say what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from splice.adapters.net.answers import Fault, HttpFault
from splice.core.errors import (
    ModelMismatch,
    ModelUnavailable,
    ProviderFailed,
    ProviderLimited,
    RouteCrashed,
    RouteError,
    RouteTimeout,
)

_QUOTED = 300  # how much of a server's own words an error repeats
_MENDS: dict[Fault, str] = {
    "refused": "check that the server runs there",
    "unknown host": "check the host in the endpoint's URL, and the name server",
    "tls": "check that the server speaks TLS there and that its certificate is trusted (ca_file)",
    "connect timeout": "check the network between here and the server",
    "garbled": "check that the URL leads to an HTTP server; gRPC is the protocol oip-grpc",
}


class Faults:
    """Errors of one endpoint, without its secrets.

    Args:
        where: Names the endpoint.
        secrets: Never repeated, whatever the server echoes.
        key_place: Where the secrets come from, for the errors about them.
    """

    def __init__(self, where: str, secrets: Sequence[str] = (), key_place: str = "") -> None:
        self.where = where
        self._secrets = [one for one in secrets if one]
        self._key_place = key_place or "none is set: name its variable by --key-env"

    def below(self, fault: HttpFault, timeout_s: float) -> RouteError:
        """The error for a failure below HTTP."""
        if fault.fault == "late":
            return self.late(timeout_s)
        got = self.clean(f"{fault.fault}: {fault.detail}")
        return ProviderFailed(self.where, got=got, mend=_MENDS.get(fault.fault, ""))

    def late(self, timeout_s: float) -> RouteTimeout:
        """The error for no answer in time."""
        return RouteTimeout(self.where, got=f"no answer within {timeout_s:.3g} s")

    def status(self, status: int, headers: Mapping[str, str], body: bytes) -> RouteError:
        """The error for a status other than 200.

        500 is the model's own crash, as far as one can see from outside, and 400 and 422 say that
        the request does not fit it; what those mean for other rows the caller of this decides.
        """
        return self.said(status, self.words(body), headers)

    def said(self, status: int, words: str, headers: Mapping[str, str]) -> RouteError:
        """The same of words that are read already."""
        got = self.clean(f"status {status}: {words}")
        wait = _seconds(headers.get("retry-after", ""))
        if status == 429 or (status == 503 and wait is not None):
            return ProviderLimited(self.where, retry_after=wait, got=got)
        if status in (400, 413, 422):
            promised = "a request that the model reads"
            mend = "compare the endpoint's metadata with splice models show"
            return ModelMismatch(self.where, got=got, promised=promised, mend=mend)
        if status in (401, 403):
            return self.barred(got)
        if status == 404:
            return self.unknown(got)
        if status in (500, 424):
            return RouteCrashed(self.where, got=got)
        mend = "register it where it really is: redirects are not followed" if status < 400 else ""
        failed = ProviderFailed(self.where, got=got, mend=mend)
        failed.retryable = status >= 500 or status in (408, 409, 425)
        return failed

    def barred(self, got: str) -> ProviderFailed:
        """The error for a secret that is wrong or missing."""
        mend = f"check the endpoint's secret ({self._key_place}) and what it may use"
        failed = ProviderFailed(self.where, got=got, mend=mend)
        failed.retryable = False
        return failed

    def unknown(self, got: str) -> ModelUnavailable:
        """The error for a model that the endpoint does not have."""
        mend = "check the name and the version of the model at the endpoint"
        return ModelUnavailable(self.where, got=got, mend=mend)

    def words(self, body: bytes) -> str:
        """The server's own words on a failure, as far as they can be read."""
        try:
            decoded: object = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return body[: 4 * _QUOTED].decode("utf-8", "replace") or "an empty body"
        if isinstance(decoded, dict):
            told = cast("dict[str, Any]", decoded)
            for name in ("error", "message", "Message", "OriginalMessage", "detail"):
                if name in told:
                    decoded = told[name]
                    break
        return decoded if isinstance(decoded, str) else msgspec.json.encode(decoded).decode()

    def clean(self, text: str) -> str:
        """Text of a server as an error may repeat it: no secret, one line, bounded."""
        for secret in self._secrets:
            text = text.replace(secret, "[hidden]")
        line = " ".join(text.split())
        return line if len(line) <= _QUOTED else f"{line[:_QUOTED]}…"


def _seconds(text: str) -> float | None:
    """A `Retry-After` in seconds; None where there is none, or it is a date."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
