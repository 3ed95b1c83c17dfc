"""Streams of this surface: as they come, translated, or told from a whole answer."""

from __future__ import annotations

import re

from splice.core.chat import Dialect
from splice.core.errors import SpliceError
from splice.engine.converse import SpokenStream
from splice.serve.openai.faults import broken_off, unforeseen
from splice.serve.openai.narration import Narration, error_event
from splice.serve.openai.replay import DONE
from splice.serve.openai.spoken_chat import ChunkReader

_SEQUENCE = re.compile(rb'"sequence_number"\s*:\s*(\d{1,15})')


class Told:
    """A whole answer, told as a stream in one go."""

    def __init__(self, events: bytes) -> None:
        self._events: bytes | None = events

    async def next(self) -> bytes | None:
        """All events, and then the end."""
        events, self._events = self._events, None
        return events

    async def close(self) -> None:
        """There is nothing to close."""


class Passed:
    """A stream in the dialect of its request: the provider's own bytes."""

    def __init__(self, stream: SpokenStream) -> None:
        self._stream = stream
        self._last = b""
        self._over = False

    async def next(self) -> bytes | None:
        """The next bytes, or None at the end."""
        if self._over:
            return None
        try:
            events = await self._stream.next()
        except SpliceError as error:
            return self._broken(error)
        except Exception:  # noqa: BLE001 - the stream ends here, and its reader is told
            return self._broken(unforeseen("a stream"))
        if events is not None:
            self._last = events
            return events
        self._over = True
        # Some providers just hang up; OpenAI's clients in other languages wait for the mark.
        missing = self._stream.dialect is Dialect.CHAT and b"[DONE]" not in self._last[-16:]
        return DONE if missing else None

    async def close(self) -> None:
        """Settle and record; harmless when repeated."""
        await self._stream.close()

    def _broken(self, error: SpliceError) -> bytes:
        self._over = True
        if self._stream.dialect is Dialect.CHAT:
            return broken_off(error)
        numbers = _SEQUENCE.findall(self._last)
        return error_event(error, int(numbers[-1]) + 1 if numbers else 0)


class Translated:
    """A stream of chat completion chunks, for a client that asked for a response."""

    def __init__(self, stream: SpokenStream, narration: Narration) -> None:
        self._stream = stream
        self._narration = narration
        self._reader = ChunkReader(narration)
        self._begun = False
        self._over = False

    async def next(self) -> bytes | None:
        """The next bytes, or None at the end."""
        narration = self._narration
        if not self._begun:
            self._begun = True
            narration.begin()
            return narration.told()
        try:
            while not self._over:
                events = await self._stream.next()
                if events is None:
                    self._over = True
                    self._reader.end()
                else:
                    self._reader.read(events)
                if told := narration.told():
                    return told
        except SpliceError as error:
            self._over = True
            narration.fail(error)
            return narration.told()
        except Exception:  # noqa: BLE001 - as above
            self._over = True
            narration.fail(unforeseen("a stream"))
            return narration.told()
        return None

    async def close(self) -> None:
        """Settle and record; harmless when repeated."""
        await self._stream.close()
