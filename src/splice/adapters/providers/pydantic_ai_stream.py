"""A streamed answer of pydantic-ai as server-sent events.

A task of its own holds the library's stream, for that must be entered and left in one task, and
hanging up must work from any place at once: it is the end of that task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from pydantic_ai.models import StreamedResponse
from pydantic_ai.usage import RequestUsage

from splice.adapters.providers.assemble_chat import ChatAssembly
from splice.adapters.providers.assemble_chat import Chunk as WholeChunk
from splice.adapters.providers.pydantic_ai_faults import KNOWN, fault_of
from splice.adapters.providers.pydantic_ai_reply import (
    DONE,
    Chunk,
    Chunks,
    event_of,
    usage_of,
    wire_usage,
)
from splice.adapters.providers.refusals import Refusals
from splice.adapters.providers.usage import estimated_usage
from splice.core.call import Usage
from splice.core.chat import Dialect, WireReply
from splice.core.errors import RouteTimeout, SpliceError

_AHEAD = 64
"""Events that wait for a slow reader, at most; then the provider waits too."""

_CHUNK = msgspec.json.Decoder(WholeChunk)


class Streaming(msgspec.Struct):
    """What a stream must know of its request; as `event_stream.Asking`."""

    where: str
    model: str
    timeout_s: float
    between_s: float | None
    input_tokens: int
    shows_usage: bool
    created: int
    refusals: Refusals
    cost: Callable[[Usage, str], int | None]


class PydanticAIStream:
    """See `splice.ports.providers.Stream`."""

    def __init__(self, asking: Streaming) -> None:
        self._asking = asking
        self._chunks = Chunks(asking.model, asking.created)
        self._whole = ChatAssembly()
        self._usage = Usage()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self._error: SpliceError | None = None
        self._complete = False
        self._over = False
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """See `splice.ports.providers.Stream`."""
        return self._whole.started

    async def open(self, source: AbstractAsyncContextManager[StreamedResponse]) -> None:
        """Returns once the provider has begun to answer.

        Raises:
            SpliceError: It did not.
        """
        self._task = asyncio.get_running_loop().create_task(self._pump(source))
        try:
            await asyncio.shield(self._opened)
        except BaseException:
            self.hang_up()
            raise

    async def next(self) -> bytes | None:
        """See `splice.ports.providers.Stream`."""
        if self._over:
            if self._error is not None:
                raise self._error
            return None
        between = self._asking.between_s if self.started else None
        try:
            async with asyncio.timeout(between):
                block = await self._queue.get()
        except TimeoutError:
            late = RouteTimeout(self._asking.where, got=f"silence of {between:g} s in a stream")
            late.cost_nano = None
            self._error = late
            self.hang_up()
            raise late from None
        if block is not None:
            return block
        self._over = True
        if self._error is not None:
            raise self._error
        return None

    def reply(self) -> WireReply:
        """See `splice.ports.providers.Stream`."""
        asking, whole = self._asking, self._whole
        usage = self._usage
        if usage.input_tokens is None or not self._complete:
            usage = estimated_usage(asking.input_tokens, *whole.written)
        model = whole.model or asking.model
        body = whole.body(asking.model)
        cost = asking.cost(usage, model)
        return WireReply(Dialect.CHAT, body, usage, model, cost, complete=self._complete)

    def hang_up(self) -> None:
        """See `splice.ports.providers.Stream`."""
        self._over = True
        if self._task is not None:
            self._task.cancel()

    async def _pump(self, source: AbstractAsyncContextManager[StreamedResponse]) -> None:
        asking = self._asking
        try:
            async with asyncio.timeout(asking.timeout_s), source as stream:
                await self._pumped(stream)
        except TimeoutError:
            late = RouteTimeout(asking.where, got=f"no end within {asking.timeout_s:g} s")
            late.cost_nano = None
            self._error = late
        except KNOWN as error:
            self._error = fault_of(error, asking.where, asking.refusals)
        except asyncio.CancelledError:
            self._settle_opening(None)
            raise
        except Exception as error:  # noqa: BLE001 - the task ends here; the reader gets it
            said = asking.refusals.clean(f"{type(error).__name__}: {error}")
            self._error = asking.refusals.bad(asking.where, said)
        self._settle_opening(self._error)
        await self._queue.put(None)

    async def _pumped(self, stream: StreamedResponse) -> None:
        async for event in stream:
            # Only now has it begun to answer: some models are opened before anything is sent.
            self._settle_opening(None)
            self._chunks.name(stream.provider_response_id, stream.model_name)
            chunk = self._chunks.of(event)
            if chunk is not None:
                await self._give(chunk)
        await self._give(self._chunks.end(stream.finish_reason))
        await self._count(stream.usage)
        self._complete = True
        await self._queue.put(DONE)

    async def _give(self, chunk: Chunk) -> None:
        block = event_of(chunk)
        self._whole.add(_CHUNK.decode(block[6:-2]))
        await self._queue.put(block)

    async def _count(self, counted: RequestUsage) -> None:
        """The provider's count; the caller sees it where he asked for it."""
        self._usage = usage_of(counted)
        wire: dict[str, Any] | None = wire_usage(self._usage, counted)
        if wire is None:
            return
        block = event_of(self._chunks.counted(wire))
        self._whole.add(_CHUNK.decode(block[6:-2]))
        if self._asking.shows_usage:
            await self._queue.put(block)

    def _settle_opening(self, error: SpliceError | None) -> None:
        if self._opened.done():
            return
        if error is None:
            self._opened.set_result(None)
        else:
            self._opened.set_exception(error)
