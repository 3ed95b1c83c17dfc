"""OpenAI's batch endpoint: requests go up as a file, results come down as two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw

from splice.adapters.providers.answers import HttpFault, HttpReply
from splice.adapters.providers.batch_lines import (
    ASK_S,
    RESULTS_LIMIT,
    SEND_S,
    is_id,
    lines_of,
    status_error,
)
from splice.adapters.providers.http import Http
from splice.adapters.providers.refusals import Refusals
from splice.core.errors import ProviderFailed, RouteError
from splice.core.prices import Price, in_batch
from splice.ports.offline import Delivered, Found, Sought, Standing
from splice.ports.providers import Completion, CompletionRequest

_encode = msgspec.json.encode
_ENDPOINT = "/v1/chat/completions"
_MOST_REQUESTS = 50_000
_MOST_BYTES = 190_000_000
"""The API takes 200 MB; some of it is left for what we do not count."""

# A line of JSON begins with a brace and has no line end in it: this can never be one of them.
_BOUNDARY = "splice-batch-7d1f0c2e94b84f6c"
_SKEW_S = 600.0
"""How far the provider's clock may be behind ours."""
_PAGES_MOST = 1000

_REFUSED = frozenset({"failed"})
_ENDED = frozenset({"completed", "expired", "cancelled"})


class _Counts(msgspec.Struct):
    total: int = 0
    completed: int = 0
    failed: int = 0


class _Wrong(msgspec.Struct):
    code: str | None = None
    message: str | None = None
    line: int | None = None


class _Wrongs(msgspec.Struct):
    data: list[_Wrong] | None = None


class _Marked(msgspec.Struct):
    splice: Any = None  # whatever others wrote there


class _Batch(msgspec.Struct):
    id: str
    status: str = ""
    created_at: float = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: _Counts | None = None
    errors: _Wrongs | None = None
    metadata: _Marked | None = None


class _Batches(msgspec.Struct):
    data: list[_Batch] = []
    has_more: bool = False


class _File(msgspec.Struct):
    id: str


class _Response(msgspec.Struct):
    status_code: int
    body: Raw


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Wrong | None = None


_BATCH = msgspec.json.Decoder(_Batch)
_BATCHES = msgspec.json.Decoder(_Batches)
_FILE = msgspec.json.Decoder(_File)
_LINE = msgspec.json.Decoder(_Line)


class OpenAIBatches:
    """See `splice.ports.offline.Offline`.

    Args:
        name: The provider's name.
        http: Reaches the provider.
        refusals: Turns its failures into ours.
        fields_of: The body of a completion.
        completion_of: The completion in an answer of a model, whether it must satisfy a schema, and
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
        fields_of: Callable[[CompletionRequest], dict[str, Any]],
        completion_of: Callable[[str, HttpReply, bool, bool], Completion],
        price_of: Callable[[str], Price | None],
    ) -> None:
        self._where = f"{name}.batches"
        self._http = http.wider(RESULTS_LIMIT)
        self._refusals = refusals
        self._fields_of = fields_of
        self._completion_of = completion_of
        self._price_of = price_of

    def price(self, model: str) -> Price | None:
        """See `Offline`."""
        return in_batch(self._price_of(model))

    def encode(self, request_id: str, request: CompletionRequest) -> bytes:
        """See `Offline`."""
        body = self._fields_of(request)
        body.pop("stream", None)
        whole = {"custom_id": request_id, "method": "POST", "url": _ENDPOINT, "body": body}
        return _encode(whole)

    async def submit(self, marker: str, requests: Sequence[bytes]) -> str:
        """See `Offline`.

        A file that was uploaded, and no batch made of it, stays with the provider until it expires;
        it costs nothing.
        """
        file = await self._upload(marker, requests)
        wanted = {
            "input_file_id": file,
            "endpoint": _ENDPOINT,
            "completion_window": "24h",
            "metadata": {"splice": marker},
        }
        reply = await self._post("/batches", _encode(wanted), "application/json", ASK_S)
        return self._read(_BATCH, reply.body).id

    async def find(self, sought: Sought) -> Found:
        """See `Offline`: by the marker in its metadata."""
        after = ""
        for _ in range(_PAGES_MOST):
            page = self._read(_BATCHES, (await self._get(f"/batches?limit=100{after}")).body)
            for one in page.data:
                if one.metadata is not None and one.metadata.splice == sought.marker:
                    return Found(one.id)
            # The newest come first.
            old = page.data and page.data[-1].created_at < sought.since - _SKEW_S
            if old or not page.data or not page.has_more:
                return Found()
            after = f"&after={quote(page.data[-1].id, safe='')}"
        raise self._refusals.bad(self._where, f"a list of batches of more than {_PAGES_MOST} pages")

    async def status(self, batch_id: str) -> Standing:
        """See `Offline`."""
        batch = await self._batch(batch_id)
        counts = batch.request_counts or _Counts()
        why = self._why(batch)
        if batch.status in _REFUSED:
            return Standing("refused", counts.total, why=why)
        state = "ended" if batch.status in _ENDED else "running"
        return Standing(
            state, counts.total, counts.completed, counts.failed, batch.status == "cancelled",
            why or (batch.status if batch.status != "completed" else ""),
        )  # fmt: skip

    async def results(self, batch_id: str, model: str) -> AsyncIterator[Delivered]:
        """See `Offline`."""
        batch = await self._batch(batch_id)
        for file in (batch.output_file_id, batch.error_file_id):
            if not file:
                continue
            if not is_id(file):
                raise self._refusals.bad(self._where, "an id of a file that cannot be one")
            path = f"/files/{file}/content"
            async for line in lines_of(self._http, path, self._where, self._refusals):
                try:
                    one = _LINE.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue  # whose it is nobody knows: it is missing among the results
                yield self._delivered(one, model)

    async def cancel(self, batch_id: str) -> None:
        """See `Offline`."""
        await self._post(f"/batches/{self._id(batch_id)}/cancel", b"", "application/json", ASK_S)

    async def close(self) -> None:
        """Close the idle connections."""
        await self._http.close()

    def _delivered(self, one: _Line, model: str) -> Delivered:
        where = self._where
        if one.response is None:
            wrong = one.error or _Wrong()
            got = self._refusals.clean(wrong.message or wrong.code or "no response, and no error")
            error = ProviderFailed(where, got=got)
            return Delivered(one.custom_id, None, error, wrong.code == "batch_cancelled")
        body = bytes(one.response.body)
        status = one.response.status_code
        try:
            if status != 200:
                failed = self._refusals.status(where, status, {}, body, rejects=False)
                if isinstance(failed, RouteError):
                    return Delivered(one.custom_id, None, failed)
                raise failed
            whole = HttpReply(200, [], body)
            return Delivered(one.custom_id, self._completion_of(model, whole, True, True))
        except RouteError as error:
            return Delivered(one.custom_id, None, error)

    def _why(self, batch: _Batch) -> str:
        wrongs = (batch.errors.data if batch.errors else None) or []
        said = "; ".join(one.message or one.code or "an error" for one in wrongs[:3])
        return self._refusals.clean(said) if said else ""

    def _id(self, batch_id: str) -> str:
        if not is_id(batch_id):
            raise self._refusals.bad(self._where, "an id of a batch that cannot be one")
        return batch_id

    async def _batch(self, batch_id: str) -> _Batch:
        reply = await self._get(f"/batches/{self._id(batch_id)}")
        return self._read(_BATCH, reply.body)

    async def _upload(self, marker: str, requests: Sequence[bytes]) -> str:
        start = (
            f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; '
            f'filename="{marker}.jsonl"\r\ncontent-type: application/jsonl\r\n\r\n'
        )
        body = b"".join((start.encode(), b"\n".join(requests), f"\r\n--{_BOUNDARY}--\r\n".encode()))
        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        try:
            reply = await self._post("/files", body, kind, SEND_S)
            return self._read(_FILE, reply.body).id
        except RouteError as error:
            error.cost_nano = 0  # whatever became of the file, no batch was made of it
            raise

    async def _get(self, path: str) -> HttpReply:
        try:
            reply = await self._http.get(path, ASK_S)
        except HttpFault as fault:
            raise self._refusals.fault(self._where, fault, ASK_S) from None
        return self._whole(reply)

    async def _post(self, path: str, body: bytes, kind: str, timeout_s: float) -> HttpReply:
        try:
            reply = await self._http.post_once(path, body, kind, timeout_s)
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
            raise self._refusals.bad(self._where, got, "a batch in OpenAI's shape") from None
