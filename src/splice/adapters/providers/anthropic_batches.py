"""Anthropic's Message Batches: requests go up in one body, results come down as lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, UnsetType

from splice.adapters.providers.answers import HttpFault, HttpReply
from splice.adapters.providers.batch_lines import ASK_S, SEND_S, is_id, lines_of, status_error
from splice.adapters.providers.http import Http
from splice.adapters.providers.refusals import Refusals
from splice.core.errors import ProviderFailed, RouteError
from splice.core.prices import Price, in_batch
from splice.ports.offline import Delivered, Found, Sought, Standing
from splice.ports.providers import Completion, CompletionRequest

_encode = msgspec.json.encode
_PATH = "/v1/messages/batches"
_MOST_REQUESTS = 100_000
_MOST_BYTES = 240_000_000
"""The API takes 256 MB; some of it is left for what we do not count."""

_SKEW_S = 600.0
"""How far the provider's clock may be behind ours."""
_PAGES_MOST = 1000


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
    error: Any = None  # the vendor's error, in a shape of its own


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


_BATCH = msgspec.json.Decoder(_Batch)
_BATCHES = msgspec.json.Decoder(_Batches)
_LINE = msgspec.json.Decoder(_Line)


class AnthropicBatches:
    """See `splice.ports.offline.Offline`.

    Args:
        name: The provider's name.
        http: Reaches the provider, with the version of its API in every request.
        refusals: Turns its failures into ours.
        params_of: The body of a completion.
        completion_of: The completion in a message of a model, whether it must satisfy a schema, and
            whether it came in a batch, and costs so much.
        price_of: What a model costs online.
    """

    most_requests = _MOST_REQUESTS
    most_bytes = _MOST_BYTES

    def __init__(
        self,
        name: str,
        http: Http,
        refusals: Refusals,
        params_of: Callable[[CompletionRequest], dict[str, Any]],
        completion_of: Callable[[str, HttpReply, bool, bool], Completion],
        price_of: Callable[[str], Price | None],
    ) -> None:
        self._where = f"{name}.batches"
        self._http = http
        self._refusals = refusals
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
        reply = await self._post(_PATH, body, SEND_S)
        return self._read(_BATCH, reply.body).id

    async def find(self, sought: Sought) -> Found:
        """See `Offline`: by its results, which only a batch that has ended shows."""
        sure, after = True, ""
        for _ in range(_PAGES_MOST):
            page: _Batches = self._read(
                _BATCHES, (await self._get(f"{_PATH}?limit=100{after}")).body
            )
            for one in page.data:  # the newest come first
                if one.created_at is not None:
                    created = one.created_at.timestamp()
                    if created < sought.since - _SKEW_S:
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
        raise self._refusals.bad(self._where, f"a list of batches of more than {_PAGES_MOST} pages")

    async def status(self, batch_id: str) -> Standing:
        """See `Offline`. A batch is never refused once it was made."""
        batch: _Batch = self._read(_BATCH, (await self._get(self._of(batch_id))).body)
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

    async def results(self, batch_id: str, model: str) -> AsyncIterator[Delivered]:
        """See `Offline`."""
        async for one in self._lines(batch_id):
            yield self._delivered(one, model)

    async def cancel(self, batch_id: str) -> None:
        """See `Offline`."""
        await self._post(f"{self._of(batch_id)}/cancel", b"", ASK_S)

    async def close(self) -> None:
        """Close the idle connections."""
        await self._http.close()

    async def _holds(self, batch_id: str, request_id: str) -> bool:
        async for one in self._lines(batch_id):
            if one.custom_id == request_id:
                return True
        return False

    async def _lines(self, batch_id: str) -> AsyncIterator[_Line]:
        path = f"{self._of(batch_id)}/results"
        async for line in lines_of(self._http, path, self._where, self._refusals):
            try:
                yield _LINE.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # whose it is nobody knows: it is missing among the results

    def _delivered(self, one: _Line, model: str) -> Delivered:
        result = one.result
        if result.type == "succeeded" and result.message is not UNSET:
            try:
                reply = HttpReply(200, [], self._refusals.scrub(bytes(result.message)))
                return Delivered(one.custom_id, self._completion_of(model, reply, True, True))
            except RouteError as error:
                return Delivered(one.custom_id, None, error)
        got = f"a request that was {result.type}"
        if result.type == "errored":
            inner = result.error
            wrong = inner.get("error", inner) if isinstance(inner, dict) else inner  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            told = self._refusals.told(self._where, wrong)
            got = told.got
        # Of these nothing is charged.
        error = ProviderFailed(self._where, got=got)
        return Delivered(one.custom_id, None, error, result.type == "canceled")

    def _of(self, batch_id: str) -> str:
        if not is_id(batch_id):
            raise self._refusals.bad(self._where, "an id of a batch that cannot be one")
        return f"{_PATH}/{batch_id}"

    async def _get(self, path: str) -> HttpReply:
        try:
            reply = await self._http.get(path, ASK_S)
        except HttpFault as fault:
            raise self._refusals.fault(self._where, fault, ASK_S) from None
        return self._whole(reply)

    async def _post(self, path: str, body: bytes, timeout_s: float) -> HttpReply:
        try:
            reply = await self._http.post_once(path, body, "application/json", timeout_s)
        except HttpFault as fault:
            raise self._refusals.fault(self._where, fault, timeout_s) from None
        return self._whole(reply)

    def _whole(self, reply: HttpReply) -> HttpReply:
        if reply.status != 200:
            headers, said = reply.headers, self._refusals.scrub(reply.body)
            raise status_error(self._refusals, self._where, reply.status, headers, said)
        return reply

    def _read(self, decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
        try:
            return decoder.decode(self._refusals.scrub(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            got = f"status 200 with {len(body)} bytes: {error}"
            raise self._refusals.bad(self._where, got, "a message batch") from None
