"""Webhooks: CloudEvents by HTTP POST, signed by the scheme of Standard Webhooks.

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
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from urllib.parse import quote_from_bytes, urlsplit

import msgspec

from splice.adapters.net.answers import HttpFault, HttpStream
from splice.adapters.net.http import Http, Origin, sendable
from splice.core.errors import BusError, InputMismatch, SettingsError
from splice.core.events import Message

_ABOUT_THE_PLACE = frozenset({401, 403, 404, 405, 407, 408, 409, 421, 425, 429})
_LONGEST_WAIT_S = 86_400.0
_CLIENTS_MOST = 256
_JSON = "application/json"
# Printable ASCII but the three that the HTTP binding of CloudEvents wants encoded.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class Hook(msgspec.Struct, frozen=True):
    """What is known of the receivers below a URL; `secrets` are those of `secrets_of`."""

    url: str
    secrets: tuple[bytes, ...] = ()
    timeout_s: float = 15.0

    def __repr__(self) -> str:
        return f"Hook({self.url!r}, {len(self.secrets)} secrets)"


class _Place(msgspec.Struct, frozen=True):
    origin: Origin
    path: str
    hook: Hook


class WebhookSink:
    """A `splice.ports.buses.Sink` for targets `https://…` and `http://…`.

    Args:
        hooks: Where the settings say more of a URL; the longest one that begins a target counts.
            A target that none begins is sent unsigned.
        now: Unix time in seconds.
        ca_file: Certificates to trust instead of the system's.
    """

    def __init__(
        self,
        hooks: Sequence[Hook] = (),
        *,
        now: Callable[[], float] = time.time,
        ca_file: str | None = None,
    ) -> None:
        self._hooks = sorted(hooks, key=lambda hook: -len(hook.url))
        self._now = now
        self._ca_file = ca_file
        self._places: dict[str, _Place] = {}
        self._clients: dict[tuple[Origin, str], Http] = {}  # by content type too

    async def send(self, messages: Sequence[Message]) -> None:
        """Deliver one after the other; see `splice.ports.buses.Sink`."""
        for message in messages:
            await self._deliver(message)

    async def close(self) -> None:
        """Hang up."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    async def _deliver(self, message: Message) -> None:
        place = self._place(message.target)
        body = message.value or b""
        headers, kind, trace = http_headers(message)
        headers |= signed(message.id, int(self._now()), body, place.hook.secrets)
        try:
            client = await self._client(place, kind)
            answer = await client.open(place.path, body, trace, headers, place.hook.timeout_s)
            _judge(message.target, answer)
        except HttpFault as fault:
            raise BusError(
                _shown(message.target), got=f"{fault.fault}: {fault.detail}",
                promised="an answer of 2xx", mend="check that the receiver runs there",
            ) from None  # fmt: skip
        except InputMismatch as error:
            raise _never(message.target, f"{error.where}: {error.detail}") from None

    async def _client(self, place: _Place, kind: str) -> Http:
        client = self._clients.get((place.origin, kind))
        if client is None:
            if len(self._clients) >= _CLIENTS_MOST:
                await self.close()
            client = Http(
                place.origin, {"content-type": kind, "user-agent": "splice"},
                connect_s=min(5.0, place.hook.timeout_s), ca_file=self._ca_file,
            )  # fmt: skip
            self._clients[place.origin, kind] = client
        return client

    def _place(self, target: str) -> _Place:
        place = self._places.get(target)
        if place is None:
            if len(self._places) >= _CLIENTS_MOST:
                self._places.clear()
            place = self._places[target] = _place_of(target, self._hook(target))
        return place

    def _hook(self, target: str) -> Hook:
        return next((hook for hook in self._hooks if _below(target, hook.url)), Hook(target))


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


def http_headers(message: Message) -> tuple[dict[str, str], str, str]:
    """The headers of a message as HTTP has them, its content type, and its trace.

    Attributes of CloudEvents are `ce-…` and percent-encoded here, and `ce_…` in UTF-8 on Kafka.
    What HTTP cannot carry of the other headers is left out.
    """
    headers: dict[str, str] = {}
    kind, trace = _JSON, ""
    for name, value in message.headers:
        lower = name.lower()
        if lower.startswith("ce_"):
            headers[f"ce-{lower[3:]}"] = quote_from_bytes(value, safe=_PLAIN)
            continue
        text = value.decode("latin-1")
        if not text or not sendable(lower, text) or lower.startswith("webhook-"):
            continue
        if lower == "content-type":
            kind = text
        elif lower == "traceparent":
            trace = text
        else:
            headers[lower] = text
    return headers, kind, trace


def _judge(target: str, answer: HttpStream) -> None:
    """Passes an answer of 2xx.

    Raises:
        BusError: It is another one.
    """
    status, wait = answer.status, _seconds(answer.headers.get("retry-after", ""))
    answer.finish()  # nor are its words repeated: they may hold what the message held
    if 200 <= status < 300:
        return
    error = BusError(
        _shown(target), got=f"status {status}", promised="an answer of 2xx",
        mend="name the URL that it leads to: redirects are not followed" if status < 400 else "",
    )  # fmt: skip
    error.retryable = not 400 <= status < 500 or status in _ABOUT_THE_PLACE
    error.retry_after = wait
    raise error


def _place_of(target: str, hook: Hook) -> _Place:
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
        raise _never(target, "a URL that no request can be sent to, or one with a user in it")
    tls = parts.scheme == "https"
    origin = Origin(parts.hostname, port or (443 if tls else 80), tls, "")
    return _Place(origin, path, hook)


def _below(target: str, url: str) -> bool:
    """Whether a URL begins another at a border: a secret must not go to `example.com.evil.org`."""
    rest = target[len(url) :]
    return target.startswith(url) and (not rest or url.endswith("/") or rest[0] in "/?")


def _never(target: str, got: str) -> BusError:
    error = BusError(_shown(target), got=got, promised="a webhook such as https://example.com/hook")
    error.retryable = False
    return error


def _shown(target: str) -> str:
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
