"""A semantic cache in this process: the nearest question of its space, if a second check agrees."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from splice.adapters.caches.reading import Reading, read
from splice.adapters.caches.second import difference
from splice.ports.caches import Encoder, Near

Floats = npt.NDArray[np.float32]

_CANDIDATES = 8
"""So many of the nearest get the second check; what is further away is no better."""

_WAITING = 32
"""Texts that may wait for the encoder. At 3 ms each, the next one would be held up by 100 ms, and
is told at once that nothing was found: a cache must never cost more than it spares."""

_REMEMBERED = 256
"""Vectors of the last texts: a question that found nothing is put in when it has its answer."""

_ROUNDING = 1e-5
"""A text is at a cosine of 1 to itself, but for the rounding of 32-bit numbers."""

_OVERHEAD = 600  # bytes beside text, vector and value (measured with tracemalloc, rounded up)
_FIRST_ROWS = 8


class _Entry:
    """One question with its answer, and its row in its space."""

    __slots__ = ("reading", "row", "size", "space", "text", "until", "value")

    def __init__(self, space: str, text: str, value: bytes, until: float, size: int) -> None:
        self.space = space
        self.text = text
        self.value = value
        self.until = until
        self.size = size
        self.row = -1
        self.reading: Reading | None = None

    def read(self) -> Reading:
        """Its text as the second check reads it; read once, when it first comes near another."""
        if self.reading is None:
            self.reading = read(self.text)
        return self.reading


class _Space:
    """Questions that may be compared.

    The vectors stand in one block, so that a search is one product of matrices.
    """

    __slots__ = ("entries", "vectors")

    def __init__(self, dimensions: int) -> None:
        self.entries: list[_Entry] = []
        self.vectors: Floats = np.empty((_FIRST_ROWS, dimensions), dtype=np.float32)

    def add(self, entry: _Entry, vector: Floats) -> None:
        row = len(self.entries)
        if row == len(self.vectors):
            self.vectors = np.concatenate([self.vectors, np.empty_like(self.vectors)])
        self.vectors[row] = vector
        entry.row = row
        self.entries.append(entry)

    def remove(self, entry: _Entry) -> None:
        last = self.entries.pop()
        if last is not entry:  # the last row moves into the gap
            self.entries[entry.row] = last
            self.vectors[entry.row] = self.vectors[last.row]
            last.row = entry.row

    def nearest(self, vector: Floats, at_least: float) -> list[tuple[_Entry, float]]:
        cosines = self.vectors[: len(self.entries)] @ vector
        rows = np.flatnonzero(cosines >= at_least - _ROUNDING)
        best = rows[np.argsort(-cosines[rows], kind="stable")][:_CANDIDATES]
        return [(self.entries[row], float(cosines[row])) for row in best]


class MemorySemanticCache:
    """A SemanticCache of one process; other workers have their own.

    Args:
        encoder: Turns texts into vectors; runs in a thread of its own.
        max_entries: Of all spaces together; where there is no room, the oldest goes.
        max_in_space: Of one space: a search looks at each (4,096 take 0.4 ms).
        max_bytes: Room for texts, vectors and answers together.
        differs: The second check; empty where two texts ask the same.
        clock: Seconds that never run backwards.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        max_entries: int = 20_000,
        max_in_space: int = 4096,
        max_bytes: int = 128 * 1024 * 1024,
        differs: Callable[[Reading, Reading], str] = difference,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._encoder = encoder
        self._max_entries = max_entries
        self._max_in_space = max_in_space
        self._max_bytes = max_bytes
        self._differs = differs
        self._clock = clock
        self._spaces: dict[str, _Space] = {}
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()  # the oldest first
        self._bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="splice-encoder")
        self._waiting = 0
        self._vectors: OrderedDict[str, Floats] = OrderedDict()
        self._closed = False
        self.trouble = ""
        """The kind of error with which the encoder last failed; empty while all is well."""

    @property
    def bytes(self) -> int:
        """Bytes in use."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    async def near(self, space: str, text: str, at_least: float) -> Near | None:
        """The nearest that passes both checks; None also where the encoder has no time."""
        if space not in self._spaces:
            return None
        vector = await self._vector(text)
        kept = self._spaces.get(space)
        if vector is None or kept is None or len(vector) != kept.vectors.shape[1]:
            return None
        asked, now = read(text), self._clock()
        for entry, cosine in kept.nearest(vector, at_least):
            if now < entry.until and not self._differs(entry.read(), asked):
                return Near(entry.text, entry.value, min(cosine, 1.0))
        return None

    async def put(self, space: str, text: str, value: bytes, seconds: float) -> None:
        """Keep it for so many seconds; the same text in the same space takes the place of the old.

        Nothing is kept where the encoder has no time.
        """
        vector = await self._vector(text) if seconds > 0 else None
        if vector is None or self._closed:
            return
        old = self._entries.get((space, text))
        if old is not None:
            self._drop(old)
        size = len(space) + 4 * len(text) + len(value) + vector.nbytes + _OVERHEAD
        if size * 8 > self._max_bytes:
            return
        kept = self._spaces.get(space)
        if kept is None:
            kept = self._spaces[space] = _Space(len(vector))
        elif len(vector) != kept.vectors.shape[1]:
            return
        entry = _Entry(space, text, value, self._clock() + seconds, size)
        kept.add(entry, vector)
        self._entries[space, text] = entry
        self._bytes += size
        self._make_room(kept)

    async def clear(self, prefix: str) -> int:
        """Forget every space whose name begins so; returns how many entries."""
        gone = [entry for entry in self._entries.values() if entry.space.startswith(prefix)]
        for entry in gone:
            self._drop(entry)
        return len(gone)

    async def close(self) -> None:
        """Let go of the encoder; from then on nothing is found."""
        self._closed = True
        self._spaces.clear()
        self._entries.clear()
        self._vectors.clear()
        self._bytes = 0
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _make_room(self, space: _Space) -> None:
        if len(space.entries) > self._max_in_space:
            # What times out first goes first, a tenth at a time: sorting for each would cost more
            # than a search.
            soonest = sorted(space.entries, key=lambda entry: entry.until)
            for entry in soonest[: self._max_in_space // 10 + 1]:
                self._drop(entry)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries.values())))

    def _drop(self, entry: _Entry) -> None:
        del self._entries[entry.space, entry.text]
        space = self._spaces[entry.space]
        space.remove(entry)
        if not space.entries:
            del self._spaces[entry.space]
        self._bytes -= entry.size

    async def _vector(self, text: str) -> Floats | None:
        """The vector of a text; None where the encoder is busy, broken or closed."""
        known = self._vectors.get(text)
        if known is not None:
            self._vectors.move_to_end(text)
            return known
        if self._closed or self._waiting >= _WAITING:
            return None
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            encoded = await loop.run_in_executor(self._thread, self._encoder.encode, [text])
            vector = np.asarray(encoded[0], dtype=np.float32)
        except Exception as error:  # noqa: BLE001 - the port's promise: a cache never raises
            self.trouble = type(error).__name__
            return None
        finally:
            self._waiting -= 1
        self.trouble = ""
        self._vectors[text] = vector
        if len(self._vectors) > _REMEMBERED:
            self._vectors.popitem(last=False)
        return vector
