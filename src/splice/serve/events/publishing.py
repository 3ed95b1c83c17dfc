"""Publishing: requests become events in the stream that an integration is consumed from.

They are checked first, as a call's are, so that nothing enters a stream that could not be answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from splice.core.call import Trace
from splice.core.errors import InputMismatch
from splice.core.events import Headers, Message
from splice.engine.admit import entity_of
from splice.engine.line import Line
from splice.ports.buses import Sink
from splice.serve.events.letter import Letter

_LONGEST = 255


class Publisher:
    """Puts events where integrations are consumed from.

    Args:
        stream_of: The stream of an integration, as `queue:orders` or `kafka:orders`.
        sink_of: By scheme, what takes messages there.
        new_id: Fresh ids.
    """

    def __init__(
        self,
        stream_of: Callable[[str], str],
        sink_of: Callable[[str], Sink],
        new_id: Callable[[], str],
    ) -> None:
        self._stream_of = stream_of
        self._sink_of = sink_of
        self._new_id = new_id

    async def publish(
        self,
        line: Line,
        letters: Sequence[Letter],
        source: str,
        key: str | None = None,
        *,
        checked: bool = True,
    ) -> list[str]:
        """Store events; all are there for good on return, or none where the stream is a queue.

        Args:
            line: The integration that shall answer them.
            letters: The requests. One without an id gets one, one without a source `source`.
            source: Where they come from, for CloudEvents. An id names an event of its source.
            key: Events of one key are answered in order; where left out the letter's own, or else
                the entity of the request.
            checked: Else they are stored as they are, and what cannot be answered becomes a dead
                letter.

        Returns:
            The ids.

        Raises:
            RequestError: A request is not of the declared type; nothing was stored.
            BusError: The stream cannot be reached.
        """
        target = self._stream_of(line.name)
        places = [line.where, *(f"{line.where}[{n}]" for n in range(1, len(letters)))]
        messages: list[Message] = []
        for letter, where in zip(letters, places, strict=False):
            entity = None
            if checked:
                entity = entity_of(line, line.request.decode(letter.body, where))
            keys = (one for one in (key, letter.key, entity) if one is not None)
            identity = letter.id or self._new_id()
            headers = _headers(letter, identity, letter.source or source, line.name)
            named = next((one.encode("utf-8", "surrogatepass") for one in keys), None)
            messages.append(Message(identity, target, named, letter.body, headers))
        if messages:
            await self._sink_of(target.partition(":")[0]).send(messages)
        return [message.id for message in messages]


def _headers(letter: Letter, identity: str, source: str, integration: str) -> Headers:
    """A CloudEvent in Kafka's binary mode."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    named = {
        "specversion": "1.0",
        "id": identity,
        "source": source,
        "type": letter.type or f"splice.{integration}.asked",
        "time": now,
        "partitionkey": letter.key,
        "correlationid": letter.correlation,
    }
    headers = [(f"ce_{name}", text) for name, text in named.items() if text is not None]
    headers.append(("content-type", "application/json"))
    if letter.trace is not None:
        headers.append(("traceparent", _traceparent(letter.trace)))
    return tuple((name, text.encode("utf-8", "surrogatepass")) for name, text in headers)


def checked_id(given: str, where: str) -> str:
    """An id that somebody gave an event.

    Raises:
        InputMismatch: It is not 1 to 255 printable ASCII characters.
    """
    if not 0 < len(given) <= _LONGEST or not (given.isascii() and given.isprintable()):
        raise InputMismatch(
            where, got=f"{len(given)} characters",
            promised=f"1 to {_LONGEST} printable ASCII characters",
        )  # fmt: skip
    return given


def _traceparent(trace: Trace) -> str:
    """The caller's own: the event is his child, and what is in between is no span."""
    return f"00-{trace.trace_id}-{trace.parent_id or trace.span_id}-{trace.flags:02x}"
