"""Streams of this surface: the provider's own events, or chat chunks told as events."""

from __future__ import annotations

from splice.core.errors import SpliceError
from splice.engine.converse import SpokenStream
from splice.engine.faults import faults
from splice.serve.anthropic.events import MessageEvents
from splice.serve.anthropic.faults import broken_off


class Passed:
    """A stream of Anthropic's own events."""

    def __init__(self, stream: SpokenStream, call_id: str) -> None:
        self._stream = stream
        self._call_id = call_id
        self._over = False

    async def next(self) -> bytes | None:
        """The next bytes, or None at the end."""
        if self._over:
            return None
        try:
            events = await self._stream.next()
        except SpliceError as error:
            return self._broken(error)
        except Exception as error:  # noqa: BLE001  here ends the task that nobody else watches
            return self._broken(unforeseen("a stream of messages", error))
        self._over = events is None
        return events

    async def close(self) -> None:
        """Settle and record; harmless when repeated."""
        await self._stream.close()

    def _broken(self, error: SpliceError) -> bytes:
        self._over = True
        return broken_off(error, self._call_id)


class Told:
    """A stream of chat chunks as Anthropic's events."""

    def __init__(self, stream: SpokenStream, events: MessageEvents, call_id: str) -> None:
        self._stream = stream
        self._events = events
        self._call_id = call_id
        self._over = False

    async def next(self) -> bytes | None:
        """The next bytes, or None at the end."""
        try:
            while not self._over:
                chunks = await self._stream.next()
                if chunks is None:
                    self._over = True
                    return self._events.end()
                if told := self._events.of(chunks):
                    return told
        except SpliceError as error:
            return await self._broken(error)
        except Exception as error:  # noqa: BLE001  here ends the task that nobody else watches
            return await self._broken(unforeseen("a stream of chat chunks", error))
        return None

    async def close(self) -> None:
        """Settle and record; harmless when repeated."""
        await self._stream.close()

    async def _broken(self, error: SpliceError) -> bytes:
        self._over = True
        await self._stream.close()  # where it was we who could not read it, it still runs
        return broken_off(error, self._call_id)


def unforeseen(where: str, error: Exception) -> SpliceError:
    """What the client is told of a mistake of ours; the log has its place."""
    faults.told(where, error)
    return SpliceError(
        "server", got="an error that nobody foresaw", mend="the log of the server tells which"
    )
