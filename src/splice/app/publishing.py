"""Publishing from a program: what `App.publish` does, and where events of this process go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from splice.app.buses import KAFKA, QUEUE, kafka_bus
from splice.app.settings import Settings
from splice.core.errors import Draining, InputMismatch, SettingsError
from splice.declare.spec import Integration, integration_name
from splice.engine.admit import may_answer
from splice.engine.engine import Engine
from splice.ports.buses import Sink
from splice.ports.events import QueueStore
from splice.serve.events.letter import Letter
from splice.serve.events.publishing import Publisher, checked_id
from splice.serve.events.queue_sink import QueueSink


class Outlets:
    """Streams that this process publishes to; Kafka is opened when it is first needed."""

    def __init__(self, settings: Settings, queue: QueueStore, new_id: Callable[[], str]) -> None:
        self._settings = settings
        self._sinks: dict[str, Sink] = {"queue": QueueSink(queue)}
        self.publisher = Publisher(self._stream, self._sink, new_id)

    async def close(self) -> None:
        """Let go of connections."""
        for sink in self._sinks.values():
            await sink.close()

    def _stream(self, integration: str) -> str:
        consumed = self._settings.consume.get(integration)
        source = "" if consumed is None else consumed.source
        if source and not source.startswith((KAFKA, QUEUE)):
            raise SettingsError(
                f"consume.{integration}.source", got=source[:80],
                promised="kafka:TOPIC or queue:NAME",
            )  # fmt: skip
        return source or QUEUE + integration

    def _sink(self, scheme: str) -> Sink:
        if scheme not in self._sinks:
            self._sinks[scheme] = kafka_bus(self._settings).sink()
        return self._sinks[scheme]


class _App(Protocol):
    draining: bool

    async def start(self) -> None: ...

    @property
    def engine(self) -> Engine: ...

    @property
    def publisher(self) -> Publisher: ...


async def publish(  # noqa: D417 - self is the app
    self: _App,
    integration: type[Integration] | str,
    request: Any,
    *,
    key: str | None = None,
    id: str | None = None,  # noqa: A002 - as CloudEvents has it
) -> str:
    """Put a request into the stream that the integration is consumed from; gives the event's id.

    The embedded queue, or what `[consume.NAME]` has for `source`. It is there for good on return,
    and `splice consume` answers it.

    Args:
        integration: The class, or its name.
        request: An instance of the request type, or a mapping of its fields.
        key: Events of one key are answered in order; the entity of the request if left out.
        id: The same id is answered once, however often it is published.

    Raises:
        RequestError: The request is not of the declared type; nothing was stored.
        Stopped: An operator switched the integration off.
        BusError: The stream cannot be reached; whether it is there is not known.
    """
    await self.start()
    if self.draining:
        raise Draining("app", got="a new event while shutting down")
    name = integration if isinstance(integration, str) else integration_name(integration)
    line = self.engine.line(name)
    may_answer(line)
    try:
        body = line.request.encode(line.request.convert(request, line.where))
    except UnicodeEncodeError:
        raise InputMismatch(
            line.where, got="text with half of a surrogate pair", promised="text"
        ) from None
    known = None if id is None else checked_id(id, f"{name}.event.id")
    letter = Letter(body, known)
    (event,) = await self.publisher.publish(line, [letter], f"/splice/{name}/python", key)
    return event
