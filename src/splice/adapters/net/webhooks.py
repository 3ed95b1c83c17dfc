"""What webhooks have in common: signatures, which answers are fine, and where a URL leads.

The signature is an HMAC-SHA256 over id, time and body, so that a receiver knows who sent it, that
nothing was changed, and that it is not an old one sent once more. Source: the specification of
Standard Webhooks 1.0.0. A secret has the form `whsec_…` (base64); several with spaces between them
sign side by side, while receivers change from one to the next.

Which answers may become better: none at all, 5xx, and those that speak of the place and not of the
message (redirects, which are not followed; 401, 403, 404, 405, 407, 408, 409, 421, 425, 429). Any
other 4xx is about this message, 410 says that nobody wants it, and they will be so again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from splice.adapters.net.answers import HttpStream
from splice.adapters.net.http import Origin, sendable
from splice.core.errors import BusError, SettingsError

_ABOUT_THE_PLACE = frozenset({401, 403, 404, 405, 407, 408, 409, 421, 425, 429})
_LONGEST_WAIT_S = 86_400.0


def secrets_of(text: str, where: str) -> tuple[bytes, ...]:
    """The keys in the text of a variable: `whsec_…`, several with spaces between them.

    Raises:
        SettingsError: One is not base64, or too short to be a secret. The text is not repeated.
    """
    keys: list[bytes] = []
    for word in text.split() or [""]:
        encoded = word.removeprefix("whsec_")
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) < 16:
            raise SettingsError(
                where, got="a secret that is none", promised="whsec_ and base64 of 24 to 64 bytes",
                mend="make one: echo whsec_$(openssl rand -base64 32)",
            )  # fmt: skip
        keys.append(key)
    return tuple(keys)


def signed(message_id: str, unix_s: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The headers of Standard Webhooks; without a signature where there is no secret."""
    # A point in it would let another time and body have the same signature.
    message_id = message_id.replace(".", "-")
    if not sendable("webhook-id", message_id) or not message_id:
        message_id = hashlib.sha256(message_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    headers = {"webhook-id": message_id, "webhook-timestamp": str(unix_s)}
    if secrets:
        text = f"{message_id}.{unix_s}.".encode() + body
        digests = [hmac.digest(key, text, "sha256") for key in secrets]
        headers["webhook-signature"] = " ".join(
            "v1," + base64.b64encode(digest).decode() for digest in digests
        )
    return headers


def judge(target: str, answer: HttpStream) -> None:
    """Passes an answer of 2xx.

    Raises:
        BusError: It is another one.
    """
    status, wait = answer.status, _seconds(answer.headers.get("retry-after", ""))
    answer.finish()  # nor are its words repeated: they may hold what the message held
    if 200 <= status < 300:
        return
    error = BusError(
        shown(target), got=f"status {status}", promised="an answer of 2xx",
        mend="name the URL that it leads to: redirects are not followed" if status < 400 else "",
    )  # fmt: skip
    error.retryable = not 400 <= status < 500 or status in _ABOUT_THE_PLACE
    error.retry_after = wait
    raise error


def place_of(target: str) -> tuple[Origin, str]:
    """Where a URL leads: its origin, and its path with the query.

    Raises:
        BusError: No request can be sent there, or a user stands in it.
    """
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    path = parts.path or "/"
    if parts.query:
        path += f"?{parts.query}"
    fine = path.isascii() and path.isprintable() and " " not in path
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or not fine:
        raise never(target, "a URL that no request can be sent to, or one with a user in it")
    tls = parts.scheme == "https"
    return Origin(parts.hostname, port or (443 if tls else 80), tls, ""), path


def never(target: str, got: str) -> BusError:
    """The error of a message that will never be delivered."""
    error = BusError(shown(target), got=got, promised="a webhook such as https://example.com/hook")
    error.retryable = False
    return error


def shown(target: str) -> str:
    """A target without what may be a secret: its query, and a user."""
    bare = target.partition("?")[0]
    scheme, _, rest = bare.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"[:200]


def _seconds(text: str) -> float:
    """A `Retry-After`, which is seconds or a date; 0 where there is none."""
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_WAIT_S)
    try:
        wait = parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(0.0, math.ceil(wait)), _LONGEST_WAIT_S)
