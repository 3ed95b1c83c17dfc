"""The envelope of an event is opened: CloudEvents, a Schema Registry's wire format, or JSON."""

from __future__ import annotations

from typing import Literal

from splice.core.call import Trace
from splice.core.errors import EventError
from splice.core.events import Event, Headers
from splice.ports.schemas import SchemaKey, SchemaSource
from splice.serve.events.cloudevents import (
    binary_letter,
    is_binary,
    is_structured,
    looks_structured,
    structured_letter,
)
from splice.serve.events.letter import Letter, refuse_empty, trace_from
from splice.serve.events.registry_format import (
    SCHEMA_HEADER,
    SchemaReaders,
    frame_of,
    is_framed,
)

__all__ = ["Envelopes", "Format", "Letter"]

Format = Literal["auto", "json", "cloudevents", "registry"]

_VALUE = "event.value"
_READ = frozenset(
    {"content-type", "traceparent", SCHEMA_HEADER}
    | {"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_partitionkey", "ce_traceparent"}
)


class Envelopes:
    """Opens events of one stream.

    Args:
        format: What they are; `auto` tells by their looks.
        schemas: Where a Schema Registry is asked; None where there is none.
    """

    def __init__(
        self,
        format: Format = "auto",  # noqa: A002 - as the setting
        schemas: SchemaSource | None = None,
    ) -> None:
        self._format = format
        self._schemas = None if schemas is None else SchemaReaders(schemas)
        self._framed = format != "json"

    @property
    def may_miss(self) -> bool:
        """Whether `missing` may say anything but None."""
        return self._schemas is not None and self._framed

    def missing(self, event: Event) -> SchemaKey | None:
        """The schema that must be fetched before this event can be opened; None where none is."""
        if self._schemas is None or not self._framed or not event.value:
            return None
        header = _header(event.headers, SCHEMA_HEADER) if event.headers else None
        if header is None and not is_framed(event.value):
            return None
        try:
            key, _ = frame_of(event.value, header)
        except EventError:  # which `open` will say
            return None
        return None if self._schemas.has(key) else key

    async def fetch(self, key: SchemaKey) -> None:
        """Fetch a schema that is missing.

        Raises:
            UnknownSchema: The registry has none of that id.
            BusError: The registry is away; try again after a moment.
        """
        if self._schemas is not None:
            await self._schemas.fetch(key)

    def open(self, event: Event) -> Letter:
        """What a call needs of it. Whether the body is a request is for the request's codec to say.

        Raises:
            EventError: It has no value, or its envelope is broken: names the attribute.
            MalformedBody: A structured event is not JSON.
            UnsupportedMediaType: Its data is said to be something else than JSON.
            UnknownSchema: Its schema was not fetched.
        """
        value = event.value
        if not value:
            value = refuse_empty(value, _VALUE)
        if not event.headers:
            return self._bare(value, None, None)
        names = _names(event.headers)
        if self._format in ("auto", "cloudevents"):
            content_type = names.get("content-type")
            if content_type and is_structured(content_type):
                return structured_letter(value, content_type, names.get("traceparent"))
            if is_binary(names):
                return self._binary(names, value)
        parent = names.get("traceparent")
        trace = None if parent is None else trace_from(parent)
        return self._bare(value, names.get(SCHEMA_HEADER), trace)

    def _bare(self, value: bytes, header: bytes | None, trace: Trace | None) -> Letter:
        """Without attributes in headers."""
        kind = self._format
        if kind == "json":
            return Letter(value, trace=trace)
        if kind != "cloudevents" and (kind == "registry" or header is not None or is_framed(value)):
            return Letter(self._payload(value, header), trace=trace)
        # From the end, which takes CPython half the time of a look from the start.
        if value.rfind(b'"specversion"') >= 0 and looks_structured(value):
            letter = structured_letter(value, b"")
            letter.trace = trace or letter.trace
            return letter
        if kind == "cloudevents":
            raise EventError(
                "event.headers",
                got="neither ce_ headers nor a structured event",
                promised="a CloudEvent",
                mend='mend the sender, or set format = "auto"',
            )
        return Letter(value, trace=trace)

    def _binary(self, names: dict[str, bytes], value: bytes) -> Letter:
        header = names.get(SCHEMA_HEADER)
        if header is None and not is_framed(value):
            return binary_letter(names, value)
        body = self._payload(value, header)
        return binary_letter({**names, "content-type": b"application/json"}, body)

    def _payload(self, value: bytes, header: bytes | None) -> bytes:
        """JSON of a value in the wire format of a Schema Registry."""
        key, at = frame_of(value, header)
        if self._schemas is None:
            raise EventError(
                _VALUE,
                got=f"a message of schema {key}, and no Schema Registry is set",
                promised="JSON",
                mend="set kafka.schema_registry",
            )
        return self._schemas.body(key, value, at)


def _header(headers: Headers, name: str) -> bytes | None:
    return next((value for one, value in headers if one.lower() == name), None)


def _names(headers: Headers) -> dict[str, bytes]:
    """Headers by their names in lower case; those that are read come once.

    Raises:
        EventError: One comes twice, with another value.
    """
    names = {name.lower(): value for name, value in headers}
    if len(names) != len(headers):
        for name, value in headers:
            lower = name.lower()
            if lower in _READ and names[lower] != value:
                if lower == "traceparent":  # two parents are none
                    names[lower] = b""
                    continue
                raise EventError(
                    f"event.{lower}", got="two values of one header", promised="one value"
                )
    return names
