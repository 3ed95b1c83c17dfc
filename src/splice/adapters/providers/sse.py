"""Server-sent events, cut from the bytes of a stream.

What comes out is whole events, each with line ends of LF and one empty line behind it, the usual
form; only line ends and a byte order mark are ever changed, never what an event says.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html (parsing an event stream).
"""

from __future__ import annotations

from collections.abc import Iterator

_MARK = b"\xef\xbb\xbf"


class EventCutter:
    """Collects what came until events are whole."""

    __slots__ = ("_began", "_parts", "_return")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._began = False
        self._return = False  # the last byte was a CR: an LF that follows belongs to it

    def feed(self, chunk: bytes) -> bytes:
        """The events that are now whole, as they follow each other; empty where none is."""
        if not self._began:
            chunk = b"".join([*self._parts, chunk])
            if len(chunk) < len(_MARK) and _MARK.startswith(chunk):  # the mark may come in pieces
                self._parts[:] = [chunk]
                return b""
            self._began = True
            self._parts.clear()
            chunk = chunk.removeprefix(_MARK)
        if self._return or b"\r" in chunk:
            chunk = self._line_feeds(chunk)
        parts = self._parts
        if not parts and chunk.endswith(b"\n\n"):  # nearly always
            return chunk
        if parts and parts[-1].endswith(b"\n") and chunk.startswith(b"\n"):
            chunk = parts.pop() + chunk
        end = chunk.rfind(b"\n\n") + 2
        if end == 1:
            if chunk:
                parts.append(chunk)
            return b""
        rest = chunk[end:]
        if parts:
            whole = b"".join([*parts, chunk[:end]])
            parts.clear()
        else:
            whole = chunk[:end]
        if rest:
            parts.append(rest)
        return whole

    def rest(self) -> bytes:
        """At the end: an event without the empty line behind it, as if it had one; or nothing.

        The specification throws such an event away; servers that forget its last line do not mean
        it so.
        """
        left = b"".join(self._parts).rstrip(b"\n")
        self._parts.clear()
        return left + b"\n\n" if left else b""

    def _line_feeds(self, chunk: bytes) -> bytes:
        if self._return:
            chunk = chunk.removeprefix(b"\n")
        self._return = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def events_of(block: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Of each event in a block of whole ones: the event itself, its type, and its data.

    The type is empty where it says none, the data where it has none (a comment, a ping).
    """
    for event in block.split(b"\n\n"):
        if event.strip(b"\n"):
            yield event + b"\n\n", *event_of(event)


def event_of(event: bytes) -> tuple[bytes, bytes]:
    """Type and data of one event, which is given without the empty line behind it."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return b"", event[6:]
    kind = b""
    data: list[bytes] = []
    for line in event.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            kind = value.removeprefix(b" ")
    return kind, b"\n".join(data)
