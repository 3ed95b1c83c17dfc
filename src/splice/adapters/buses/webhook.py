"""Webhooks: CloudEvents by HTTP POST, signed by the scheme of Standard Webhooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from urllib.parse import quote_from_bytes

import msgspec

from splice.adapters.net.answers import HttpFault
from splice.adapters.net.http import Http, Origin, sendable
from splice.adapters.net.webhooks import judge, never, place_of, secrets_of, shown, signed
from splice.core.errors import BusError, InputMismatch
from splice.core.events import Message

__all__ = ["Hook", "WebhookSink", "http_headers", "secrets_of", "signed"]

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
            judge(message.target, answer)
        except HttpFault as fault:
            raise BusError(
                shown(message.target), got=f"{fault.fault}: {fault.detail}",
                promised="an answer of 2xx", mend="check that the receiver runs there",
            ) from None  # fmt: skip
        except InputMismatch as error:
            raise never(message.target, f"{error.where}: {error.detail}") from None

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
            place = _Place(*place_of(target), self._hook(target))
            self._places[target] = place
        return place

    def _hook(self, target: str) -> Hook:
        return next((hook for hook in self._hooks if _below(target, hook.url)), Hook(target))


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


def _below(target: str, url: str) -> bool:
    """Whether a URL begins another at a border: a secret must not go to `example.com.evil.org`."""
    rest = target[len(url) :]
    return target.startswith(url) and (not rest or url.endswith("/") or rest[0] in "/?")
