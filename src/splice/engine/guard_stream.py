"""The guard of answers that come in pieces: the end is held back until it has been looked at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from splice.core.errors import RefusedError
from splice.engine.guard import Asking
from splice.engine.guard_own import Size
from splice.engine.guard_texts import ANSWER_SKIPS, strings
from splice.engine.guard_tools import called_names

_HELD = 240
"""Characters that are held back: a secret, an address or eight words of a prompt are found before
the last of them goes out, and so are the first."""

_AT_LEAST = 48
"""Characters that must have come before the policies are asked again."""

_LOOKED_BACK = 2 * _HELD
_REPEATS = ("response.completed", "response.incomplete", "response.failed", "response.created",
            "response.in_progress", "response.queued")  # fmt: skip
_NAMES = ("content", "text", "delta", "partial_json", "arguments", "thinking", "reasoning",
          "reasoning_content", "refusal")  # fmt: skip

_decode = msgspec.json.decode


class _Part:
    """One of the texts that come beside each other: of one choice, of the arguments of a tool."""

    __slots__ = ("looked", "tail", "total")

    def __init__(self) -> None:
        self.tail = ""
        self.total = 0
        self.looked = 0


class Held:
    """Holds back the end of a stream.

    Args:
        asking: The policies, all of which answer at once.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        asking.visit("output")
        self._checks = asking.guard.at("output")
        self._parts: dict[str, _Part] = {}
        self._waiting: deque[tuple[bytes, tuple[tuple[_Part, int], ...]]] = deque()
        self._characters = 0
        self._error: RefusedError | None = None

    def feed(self, block: bytes) -> bytes:
        """What may go out, now that these events have come; they may be held back.

        Raises:
            RefusedError: A policy says no; nothing of what is held back may go out.
        """
        free: list[bytes] = []
        try:
            for event in _apart(block):
                free.append(self._feed(event))
        except RefusedError as error:
            # What was free before it goes out first; then it is raised.
            self._error = error
        if self._error is not None and not any(free):
            raise self._error
        return b"".join(free)

    def check(self) -> None:
        """Raises what a policy said of the last events.

        Raises:
            RefusedError: One said no.
        """
        if self._error is not None:
            raise self._error

    def _feed(self, block: bytes) -> bytes:
        came: dict[str, _Part] = {}
        for event in _events(block):
            names = list(called_names(event))
            if names and self._asking.guard.tools:
                self._asking.tools((), names)
            if self._checks:
                self._read(event, came)
        ends = tuple((part, part.total) for part in came.values())
        self._waiting.append((block, ends))
        for part in came.values():
            if part.total - part.looked >= _AT_LEAST:
                self._look(part)
        return self._released(_HELD)

    def rest(self) -> bytes:
        """What is held back, at the regular end.

        Raises:
            RefusedError: A policy says no.
        """
        for part in self._parts.values():
            if part.total > part.looked:
                self._look(part)
        return self._released(0)

    def _read(self, event: Any, came: dict[str, _Part]) -> None:
        kind: Any = cast("dict[str, Any]", event).get("type") if isinstance(event, dict) else ""
        repeats = isinstance(kind, str) and (kind in _REPEATS or kind.endswith(".done"))
        for path, text in _told(event):
            key = f"{kind if repeats else ''}{path}"
            part = self._parts.get(key)
            if part is None:
                part = self._parts[key] = _Part()
            part.tail += text
            part.total += len(text)
            came[key] = part
            if not repeats:
                self._characters += len(text)

    def _look(self, part: _Part) -> None:
        text = part.tail[-(_LOOKED_BACK + part.total - part.looked) :]
        for check in self._checks:
            if isinstance(check.detector, Size):
                if self._characters > check.detector.most:
                    self._asking.ask(check, "output", "x" * self._characters)
            elif not self._asking.said(check):
                self._asking.ask(check, "output", text)
        part.looked = part.total
        part.tail = text[-_LOOKED_BACK:]

    def _released(self, held: int) -> bytes:
        free: list[bytes] = []
        while self._waiting:
            block, ends = self._waiting[0]
            if any(end > part.looked - held for part, end in ends):
                break
            free.append(block)
            self._waiting.popleft()
        return b"".join(free)


def _apart(block: bytes) -> Iterator[bytes]:
    """The events in what was read at once, byte for byte; whole ones, as streams give them."""
    start = 0
    while start < len(block):
        end = block.find(b"\n\n", start)
        end = len(block) if end < 0 else end + 2
        yield block[start:end]
        start = end


def _events(block: bytes) -> list[Any]:
    """The JSON of server-sent events; of one that cannot be read, its text."""
    found: list[Any] = []
    for line in block.split(b"\n"):
        if not line.startswith(b"data:"):
            continue
        told = line[5:].strip()
        if not told or told == b"[DONE]":
            continue
        try:
            found.append(_decode(told))
        except (msgspec.DecodeError, UnicodeDecodeError):
            found.append({"text": told.decode("utf-8", "replace")})
    return found


def _told(event: Any) -> list[tuple[str, str]]:
    """The texts of an event, each with where in the answer it goes on."""
    if not isinstance(event, dict):
        return [("", one) for one in strings(event)]
    found: list[tuple[str, str]] = []
    waiting: list[tuple[str, str, Any]] = [("", "", event)]
    while waiting:
        path, name, one = waiting.pop()
        if isinstance(one, str):
            # A piece goes on where the last one of its kind ended, whatever else stands between.
            found.append((f"{path}{name if name in _NAMES else '?'}", one))
        elif isinstance(one, dict):
            plain = cast("dict[str, Any]", one)
            index = "".join(
                f"{key}{plain[key]}."
                for key in ("index", "output_index", "content_index")
                if isinstance(plain.get(key), int)
            )
            for key, inner in plain.items():
                if key not in ANSWER_SKIPS:
                    waiting.append((path + index, key, inner))
        elif isinstance(one, list):
            for inner in cast("list[Any]", one):
                waiting.append((path, name, inner))
    return found
