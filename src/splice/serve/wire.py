"""How the OpenAI and Anthropic surfaces are asked and answer, whichever way their bytes travel."""

from __future__ import annotations

from typing import Protocol

import msgspec

from splice.core.errors import SpliceError
from splice.engine.engine import Engine


class WireCall(msgspec.Struct, gc=False):
    """One HTTP request, whole: `headers` have lower-case names, `address` is the client's IP."""

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes
    address: str = ""


class EventStream(Protocol):
    """Server-sent events as they come. It never raises: an error is an event, and then the end."""

    async def next(self) -> bytes | None:
        """The next bytes, or None at the end."""
        ...

    async def close(self) -> None:
        """The client is gone, or the end was read: settle and record; harmless when repeated."""
        ...


class WireAnswer(msgspec.Struct, gc=False):
    """One HTTP response: a body, or a stream of events in its place."""

    status: int
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: list[tuple[bytes, bytes]] = []
    stream: EventStream | None = None


class GatewayDesk(Protocol):
    """What these surfaces need of the process behind them."""

    draining: bool

    @property
    def engine(self) -> Engine:
        """Answers calls: `engine.converse`, `engine.keyring`, `engine.lines`."""
        ...

    def new_id(self) -> str:
        """A fresh call id."""
        ...


class Surface(Protocol):
    """One vendor's API."""

    async def answer(self, call: WireCall) -> WireAnswer:
        """The answer to one request; whatever goes wrong is an answer in the vendor's shape."""
        ...

    def refuse(self, error: SpliceError, call: WireCall) -> WireAnswer:
        """An error in the vendor's shape."""
        ...
