"""What a server's failures mean in our errors, and what of its words they may repeat."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from splice.adapters.net.answers import Fault, HttpFault
from splice.adapters.providers.limits import retry_after_s
from splice.core.errors import (
    ProviderFailed,
    ProviderLimited,
    ProviderRejected,
    RouteTimeout,
    SpliceError,
)

_LIMITED = frozenset({429, 503, 529})
_REJECTED = frozenset({400, 413, 422})
_AGAIN = frozenset({408, 409, 425})
_QUOTED = 300  # how much of a server's own words an error repeats
_SECRET = 8  # shorter keys are placeholders ("none", "local"): hiding them would garble plain words
_HIDDEN = "[hidden]"

# Google and xAI say 400 of a key that is wrong, which is not the caller's mistake.
_KEY_TROUBLE = re.compile(
    r"(incorrect|invalid|missing|no) api.?key|api.?key (is |was )?(not valid|invalid|missing)",
    re.IGNORECASE,
)

_MENDS: dict[Fault, str] = {
    "refused": "check that the server runs and that base_url names its host and port",
    "unknown host": "check the host in base_url and the name server",
    "tls": "check that the server speaks TLS there and that its certificate is trusted (ca_file)",
    "connect timeout": "check the network between here and the server",
    "garbled": "check that base_url leads to an HTTP server",
}


class Said(msgspec.Struct):
    """What a server said of a failure: its words, the field, and its own code."""

    message: str = ""
    param: str | None = None
    code: str | None = None
    status: int | None = None  # as some repeat it in the body


class Refusals:
    """Turns what went wrong with one server into errors of ours, without its secrets.

    Args:
        name: The provider's name.
        secrets: Key and header values: never repeated, whatever the server echoes.
        key_place: Where the key is set, for the errors about it.
        now: Unix time in seconds, to read a `Retry-After` that is a date.
    """

    def __init__(
        self,
        name: str,
        secrets: Sequence[str],
        key_place: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._key_place = key_place or f"providers.{name}.api_key_env"
        self._secrets = [secret for secret in secrets if secret]
        self._long = [s.encode() for s in self._secrets if len(s) >= _SECRET]
        self._now = now

    def fault(self, where: str, fault: HttpFault, timeout_s: float) -> SpliceError:
        """The error for a failure below HTTP.

        Its cost is unknown where the server may have worked for us.
        """
        if fault.fault == "late":
            passed = "silence" not in fault.detail
            got = f"no answer within {timeout_s:g} s" if passed else fault.detail
            late = RouteTimeout(where, got=got)
            # The server may charge for what it did until we hung up.
            late.cost_nano = 0 if fault.unread else None
            return late
        failed = ProviderFailed(
            where,
            got=self.clean(f"{fault.fault}: {fault.detail}"),
            mend=_MENDS.get(fault.fault, ""),
        )
        if fault.fault in ("broken", "garbled", "too large"):
            failed.cost_nano = None
        return failed

    def status(
        self,
        where: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        *,
        rejects: bool = True,
    ) -> SpliceError:
        """The error for a status other than 200.

        With `rejects` it is a RequestError where the server says that the request is wrong.
        """
        said = said_of(self.scrub(body))
        got = self.clean(f"status {status}: {said.message}")
        if status in _LIMITED:
            wait = retry_after_s(headers, self._now())
            return ProviderLimited(where, retry_after=wait, got=got)
        key_trouble = status == 401 or (
            status in (400, 403) and _KEY_TROUBLE.search(said.message) is not None
        )
        if status in _REJECTED and rejects and not key_trouble:
            rejected = ProviderRejected(where, got=got)
            rejected.param = None if said.param is None else self.clean(said.param)
            rejected.vendor_code = None if said.code is None else self.clean(said.code)
            return rejected
        mend = ""
        if key_trouble or status == 403:
            mend = f"check the provider's api_key ({self._key_place}) and what it may use"
        elif status == 404:
            mend = "check base_url and the name of the model"
        elif 300 <= status < 400:
            mend = "set base_url to where the server really is; redirects are not followed"
        failed = ProviderFailed(where, got=got, mend=mend)
        if status < 500 and status not in _AGAIN:
            failed.retryable = False
        return failed

    def told(self, where: str, error: object) -> SpliceError:
        """The error for one that came in the body of an answer with status 200."""
        said = _said(error)
        got = self.clean(f"an error in the answer: {said.message}")
        known = said.code or ""
        failed: ProviderFailed | ProviderLimited
        if said.status in _LIMITED or "rate_limit" in known or "overloaded" in known:
            failed = ProviderLimited(where, got=got)
        else:
            failed = ProviderFailed(where, got=got)
        failed.cost_nano = None
        return failed

    def bad(self, where: str, got: str, promised: str = "", mend: str = "") -> ProviderFailed:
        """The error for an answer that cannot be used; what it cost is unknown."""
        failed = ProviderFailed(where, got=self.clean(got), promised=promised, mend=mend)
        failed.cost_nano = None
        return failed

    def scrub(self, body: bytes) -> bytes:
        """Bytes without what they echo of our secrets."""
        for secret in self._long:
            if secret in body:
                body = body.replace(secret, _HIDDEN.encode())
        return body

    def clean(self, text: str) -> str:
        """Text of a server as an error may repeat it: no secret, one line, bounded."""
        line = " ".join(self.hide(text, everything=True).split())
        return line if len(line) <= _QUOTED else f"{line[:_QUOTED]}…"

    def hide(self, text: str, *, everything: bool = False) -> str:
        """The text without the key and the header values."""
        for secret in self._secrets:
            if (everything or len(secret) >= _SECRET) and secret in text:
                text = text.replace(secret, _HIDDEN)
        return text


def said_of(body: bytes) -> Said:
    """The server's own words on a failure, as far as they can be read."""
    try:
        decoded: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Said(body[: 4 * _QUOTED].decode("utf-8", "replace") or "an empty body")
    if isinstance(decoded, list):  # Google puts its error into a list
        decoded = next(iter(cast("list[object]", decoded)), "an empty list")
    if isinstance(decoded, dict):
        whole = cast("dict[str, Any]", decoded)
        return _said(whole.get("error", whole))
    return _said(decoded)


def _said(error: object) -> Said:
    """An error object in any of the shapes that servers use."""
    if not isinstance(error, dict):
        return Said(error if isinstance(error, str) else msgspec.json.encode(error).decode())
    found = cast("dict[str, Any]", error)
    message = found.get("message")
    if not isinstance(message, str):
        message = msgspec.json.encode(found if message is None else message).decode()
    param, number = found.get("param"), found.get("code")
    named = [found.get(name) for name in ("code", "type", "status")]
    return Said(
        message,
        param if isinstance(param, str) else None,
        next((one for one in named if isinstance(one, str) and one), None),
        number if isinstance(number, int) else None,
    )
