"""Anthropic's Message Batches: requests go up in one body, results come down as lines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, UnsetType

from splice.adapters.net.answers import HttpReply
from splice.adapters.providers.batch_wire import PAGES_MOST, SKEW_S, BatchWire
from splice.core.errors import ProviderFailed, RouteError
from splice.core.prices import Price, in_batch
from splice.ports.offline import Delivered, Found, Sought, Standing
from splice.ports.providers import Completion, CompletionRequest

_encode = msgspec.json.encode
_PATH = "/v1/messages/batches"
_MOST_REQUESTS = 100_000
_MOST_BYTES = 240_000_000
"""The API takes 256 MB; some of it is left for what we do not count."""


class _Counts(msgspec.Struct):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


class _Batch(msgspec.Struct):
    id: str
    processing_status: str = ""
    request_counts: _Counts = msgspec.field(default_factory=_Counts)
    created_at: datetime | None = None
    cancel_initiated_at: str | None = None


class _Batches(msgspec.Struct):
    data: list[_Batch] = []
    has_more: bool = False


class _Result(msgspec.Struct):
    type: str
    message: Raw | UnsetType = UNSET
    error: dict[str, Any] | None = None  # the vendor's error, in a shape of its own


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


_LINE = msgspec.json.Decoder(_Line)


class AnthropicBatches:
    """See `splice.ports.offline.Offline`.

    Args:
        wire: Reaches the provider, with the version of its API in every request.
        params_of: The body of a completion.
        completion_of: The completion in a message of a model, whether it must satisfy a schema, and
            whether it came in a batch, and costs so much.
        price_of: What a model costs online.
    """

    most_requests = _MOST_REQUESTS
    most_bytes = _MOST_BYTES

    def __init__(
        self,
        wire: BatchWire,
        params_of: Callable[[CompletionRequest], dict[str, Any]],
        completion_of: Callable[[str, HttpReply, bool, bool], Completion],
        price_of: Callable[[str], Price | None],
    ) -> None:
        self._wire = wire
        self._params_of = params_of
        self._completion_of = completion_of
        self._price_of = price_of

    def price(self, model: str) -> Price | None:
        """See `Offline`."""
        return in_batch(self._price_of(model))

    def encode(self, request_id: str, request: CompletionRequest) -> bytes:
        """See `Offline`."""
        params = self._params_of(request)
        params.pop("stream", None)
        return _encode({"custom_id": request_id, "params": params})

    async def submit(self, marker: str, requests: Sequence[bytes]) -> str:
        """See `Offline`. The API keeps no marker: the ids of the requests are what can be found."""
        body = b'{"requests":[' + b",".join(requests) + b"]}"
        return (await self._wire.post(_PATH, body, _Batch)).id

    async def find(self, sought: Sought) -> Found:
        """See `Offline`: by its results, which only a batch that has ended shows."""
        sure, after = True, ""
        for _ in range(PAGES_MOST):
            page = await self._wire.get(f"{_PATH}?limit=100{after}", _Batches)
            for one in page.data:  # the newest come first
                made = one.created_at
                if made is not None and made.timestamp() < sought.since - SKEW_S:
                    return Found(sure=sure)
                if one.id in sought.others or one.request_counts.total != sought.size:
                    continue
                if one.processing_status != "ended":
                    sure = False
                elif await self._holds(one.id, sought.first):
                    return Found(one.id)
            if not page.data or not page.has_more:
                return Found(sure=sure)
            after = f"&after_id={quote(page.data[-1].id, safe='')}"
        wire = self._wire
        raise wire.refusals.bad(wire.where, f"a list of batches of over {PAGES_MOST} pages")

    async def status(self, batch_id: str) -> Standing:
        """See `Offline`. A batch is never refused once it was made."""
        batch = await self._wire.get(self._of(batch_id), _Batch)
        counts = batch.request_counts
        left = counts.errored + counts.canceled + counts.expired
        ended = batch.processing_status == "ended"
        words = (
            f"{number} {word}"
            for word, number in (("cancelled", counts.canceled), ("expired", counts.expired))
            if number
        )
        return Standing(
            "ended" if ended else "running", counts.total, counts.succeeded, left,
            batch.cancel_initiated_at is not None, ", ".join(words),
        )  # fmt: skip

    async def results(self, batch_id: str, model: str) -> AsyncGenerator[Delivered]:
        """See `Offline`."""
        async with aclosing(self._lines(batch_id)) as lines:
            async for one in lines:
                yield self._delivered(one, model)

    async def cancel(self, batch_id: str) -> None:
        """See `Offline`."""
        await self._wire.post(f"{self._of(batch_id)}/cancel", b"", _Batch)

    async def close(self) -> None:
        """Close the idle connections."""
        await self._wire.close()

    async def _holds(self, batch_id: str, request_id: str) -> bool:
        async with aclosing(self._lines(batch_id)) as lines:
            async for one in lines:
                if one.custom_id == request_id:
                    return True
        return False

    async def _lines(self, batch_id: str) -> AsyncGenerator[_Line]:
        async with aclosing(self._wire.lines(f"{self._of(batch_id)}/results")) as lines:
            async for line in lines:
                try:
                    one = _LINE.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    continue  # whose it is nobody knows: it is missing among the results
                yield one

    def _delivered(self, one: _Line, model: str) -> Delivered:
        result, refusals = one.result, self._wire.refusals
        if result.type == "succeeded" and result.message is not UNSET:
            reply = HttpReply(200, [], refusals.scrub(bytes(result.message)))
            try:
                return Delivered(one.custom_id, self._completion_of(model, reply, True, True))
            except RouteError as error:
                return Delivered(one.custom_id, None, error)
        got = f"a request that was {result.type}"
        if result.error is not None:
            outer = result.error
            got = refusals.told(self._wire.where, outer.get("error", outer)).got
        # Of these nothing is charged.
        error = ProviderFailed(self._wire.where, got=got)
        return Delivered(one.custom_id, None, error, result.type == "canceled")

    def _of(self, batch_id: str) -> str:
        return f"{_PATH}/{self._wire.checked(batch_id)}"
