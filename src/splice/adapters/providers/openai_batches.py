"""OpenAI's batch endpoint: requests go up as a file, results come down as two."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw

from splice.adapters.net.answers import HttpReply
from splice.adapters.providers.batch_wire import PAGES_MOST, SKEW_S, BatchWire
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


_LINE = msgspec.json.Decoder(_Line)


class OpenAIBatches:
    """See `splice.ports.offline.Offline`.

    Args:
        wire: Reaches the provider.
        fields_of: The body of a completion.
        completion_of: The completion in an answer of a model, whether it must satisfy a schema, and
            whether it came in a batch, and costs so much.
        price_of: What a model costs online.
    """

    most_requests = _MOST_REQUESTS
    most_bytes = _MOST_BYTES

    def __init__(
        self,
        wire: BatchWire,
        fields_of: Callable[[CompletionRequest], dict[str, Any]],
        completion_of: Callable[[str, HttpReply, bool, bool], Completion],
        price_of: Callable[[str], Price | None],
    ) -> None:
        self._wire = wire
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
        return (await self._wire.post("/batches", _encode(wanted), _Batch)).id

    async def find(self, sought: Sought) -> Found:
        """See `Offline`: by the marker in its metadata."""
        after = ""
        for _ in range(PAGES_MOST):
            page = await self._wire.get(f"/batches?limit=100{after}", _Batches)
            for one in page.data:
                if one.metadata is not None and one.metadata.splice == sought.marker:
                    return Found(one.id)
            # The newest come first.
            old = page.data and page.data[-1].created_at < sought.since - SKEW_S
            if old or not page.data or not page.has_more:
                return Found()
            after = f"&after={quote(page.data[-1].id, safe='')}"
        wire = self._wire
        raise wire.refusals.bad(wire.where, f"a list of batches of over {PAGES_MOST} pages")

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

    async def results(self, batch_id: str, model: str) -> AsyncGenerator[Delivered]:
        """See `Offline`."""
        batch = await self._batch(batch_id)
        for file in (batch.output_file_id, batch.error_file_id):
            if not file:
                continue
            path = f"/files/{self._wire.checked(file)}/content"
            async with aclosing(self._wire.lines(path)) as lines:
                async for line in lines:
                    try:
                        one = _LINE.decode(line)
                    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                        continue  # whose it is nobody knows: it is missing among the results
                    yield self._delivered(one, model)

    async def cancel(self, batch_id: str) -> None:
        """See `Offline`."""
        await self._wire.post(f"/batches/{self._wire.checked(batch_id)}/cancel", b"", _Batch)

    async def close(self) -> None:
        """Close the idle connections."""
        await self._wire.close()

    def _delivered(self, one: _Line, model: str) -> Delivered:
        where, refusals = self._wire.where, self._wire.refusals
        if one.response is None:
            wrong = one.error or _Wrong()
            got = refusals.clean(wrong.message or wrong.code or "no response, and no error")
            error = ProviderFailed(where, got=got)
            return Delivered(one.custom_id, None, error, wrong.code == "batch_cancelled")
        body = refusals.scrub(bytes(one.response.body))
        status = one.response.status_code
        try:
            if status != 200:
                failed = refusals.status(where, status, {}, body, rejects=False)
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
        return self._wire.refusals.clean(said) if said else ""

    async def _batch(self, batch_id: str) -> _Batch:
        return await self._wire.get(f"/batches/{self._wire.checked(batch_id)}", _Batch)

    async def _upload(self, marker: str, requests: Sequence[bytes]) -> str:
        start = (
            f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; '
            f'filename="{marker}.jsonl"\r\ncontent-type: application/jsonl\r\n\r\n'
        )
        body = b"".join((start.encode(), b"\n".join(requests), f"\r\n--{_BOUNDARY}--\r\n".encode()))
        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        try:
            return (await self._wire.post("/files", body, _File, kind)).id
        except RouteError as error:
            error.cost_nano = 0  # whatever became of the file, no batch was made of it
            raise
