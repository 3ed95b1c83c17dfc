"""Replies: decisions as messages."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Literal, TypeAlias
from urllib.parse import quote

import msgspec

from splice.core.call import Reason, Record, Trace
from splice.core.events import Event, Headers, Message, Origin
from splice.serve.events.letter import Letter

ReplyFormat = Literal["cloudevents", "structured", "json"]

# What the HTTP binding leaves as it is (section 3.1.3.2): printable ASCII but space, " and %.
_HTTP_SAFE = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
_PLAIN = re.compile(r"[!#$&-~]+")  # the same, as a pattern
_JSON: Headers = (("content-type", b"application/json"),)
_STRUCTURED: Headers = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
_STATE = re.compile(rb"[\x20-\x7e]{1,512}")  # as long as everybody must be able to pass on
_MOST_STARTS = 1000

_Start: TypeAlias = "tuple[int, str, str, str, Reason]"
"""Release, route, version, variant and reason of a decision."""


class _Cloud(msgspec.Struct, omit_defaults=True, gc=False):
    """A decision in structured mode."""

    id: str
    source: str
    type: str
    time: str
    splicerelease: str
    causationid: str
    data: msgspec.Raw
    specversion: str
    datacontenttype: str
    subject: str | None = None
    causationsource: str | None = None
    spliceroute: str = ""
    spliceversion: str = ""
    splicevariant: str = ""
    splicereason: str = ""
    correlationid: str | None = None
    traceparent: str | None = None


_encode = msgspec.json.Encoder().encode


class Replies:
    """Writes the decisions of one integration, and the same for the same call each time.

    The id of a decision is the id of its call; its source is `/splice/NAME`, its type
    `splice.NAME.decided`. It has the key of the event that it answers, so that order per key goes
    on, and continues that event's trace.

    Args:
        name: The integration.
        targets: Where each decision goes; the URL of a webhook gets the headers of HTTP.
        format: As in `[consume.NAME]`, setting `reply_format`.
    """

    def __init__(
        self,
        name: str,
        targets: Sequence[str],
        format: ReplyFormat = "cloudevents",  # noqa: A002 - as the setting
    ) -> None:
        self._format = format
        self.source, self.type = f"/splice/{name}", f"splice.{name}.decided"
        self._targets = tuple(
            (f".{number}", target, target.startswith(("http:", "https:")))
            for number, target in enumerate(targets)
        )
        self._kinds = tuple({over_http for _, _, over_http in self._targets})
        # As most have: no table of what goes where.
        self._lone = self._targets[0] if len(self._targets) == 1 else None
        self._starts: dict[_Start, tuple[Headers, Headers]] = {}
        self._releases: dict[int, tuple[str, bytes]] = {}
        self._begun = ("", -1, b"")  # how the place begins of the event before
        self._integration = ("splice-integration", name.encode())
        self._second, self._second_text = -1, ""

    def only(self, scheme: str) -> bool:
        """Whether every target is of this scheme, as `kafka:`."""
        return all(target.startswith(scheme) for _, target, _ in self._targets)

    def messages(
        self, record: Record, event: Event, letter: Letter | None, kept: Record | None = None
    ) -> tuple[Message, ...]:
        """One message a target; none where the call has no reply.

        Args:
            record: Of the call, with its reply as it is.
            event: What it answers.
            letter: The same, opened.
            kept: What the ledger keeps of it: where it is given, the subject is its entity, which
                may be a pseudonym.
        """
        reply, lone = record.reply, self._lone
        if reply is None or not self._targets:
            return ()
        if lone is not None and self._format == "json":
            number, target, _ = lone
            plain = self._plain(record, event, letter)
            return (Message(record.call_id + number, target, event.key, reply, plain),)
        entity = record.entity if kept is None else kept.entity
        if self._format == "structured":
            value = self._structured(record, reply, event, letter, entity)
            headers = {kind: _STRUCTURED + _traced(record.trace, event) for kind in self._kinds}
        elif self._format == "json":
            value = reply
            headers = dict.fromkeys(self._kinds, self._plain(record, event, letter))
        else:
            value = reply
            start = self._start(record)
            named = self._named(record, event, letter, entity)
            traced = _traced(record.trace, event)
            if lone is not None:
                number, target, over_http = lone
                own = start[over_http] + _attributes(named, over_http=over_http) + traced
                return (Message(record.call_id + number, target, event.key, value, own),)
            headers = {
                kind: start[kind] + _attributes(named, over_http=kind) + traced
                for kind in self._kinds
            }
        call_id, key = record.call_id, event.key
        return tuple(
            Message(call_id + number, target, key, value, headers[over_http])
            for number, target, over_http in self._targets
        )

    def _start(self, record: Record) -> tuple[Headers, Headers]:
        """The headers that are the same for most decisions: over Kafka, and over HTTP."""
        key = (record.release, record.route, record.version, record.variant, record.reason)
        start = self._starts.get(key)
        if start is None:
            named = [
                ("specversion", "1.0"),
                ("source", self.source),
                ("type", self.type),
                ("splicerelease", str(record.release)),
                ("spliceroute", record.route),
                ("spliceversion", record.version),
                ("splicevariant", record.variant),
                ("splicereason", record.reason.value),
            ]
            named = [(name, text) for name, text in named if text]
            start = (
                _JSON + _attributes(named, over_http=False),
                _JSON + _attributes(named, over_http=True),
            )
            if len(self._starts) >= _MOST_STARTS:
                self._starts.clear()
            self._starts[key] = start
        return start

    def _named(
        self, record: Record, event: Event, letter: Letter | None, entity: str | None
    ) -> list[tuple[str, str]]:
        """The attributes of a decision that differ from call to call."""
        cause, source = _cause(event, letter)
        named = [
            ("id", record.call_id),
            ("time", self._time(record.asked_us + record.duration_us)),
            ("causationid", cause),
        ]
        if source:
            named.append(("causationsource", source))
        if entity:
            named.append(("subject", entity))
        if letter is not None and letter.correlation:
            named.append(("correlationid", letter.correlation))
        return named

    def _structured(
        self,
        record: Record,
        reply: bytes,
        event: Event,
        letter: Letter | None,
        entity: str | None,
    ) -> bytes:
        cause, source = _cause(event, letter)
        return _encode(
            _Cloud(
                record.call_id,
                self.source,
                self.type,
                self._time(record.asked_us + record.duration_us),
                str(record.release),
                cause,
                msgspec.Raw(reply),
                "1.0",
                "application/json",
                subject=entity or None,
                causationsource=source or None,
                spliceroute=record.route,
                spliceversion=record.version,
                splicevariant=record.variant,
                splicereason=record.reason.value,
                correlationid=None if letter is None else letter.correlation,
                traceparent=_parent(record.trace),
            )
        )

    def _plain(self, record: Record, event: Event, letter: Letter | None) -> Headers:
        """Ids in headers beside a bare reply."""
        if letter is None or letter.id is None:
            cause = self._place(event.origin)
        else:
            cause = _quoted(letter.id).encode()
        release = self._releases.get(record.release)
        if release is None:
            release = ("splice-release", str(record.release).encode())
            self._releases[record.release] = release
        headers = (
            _JSON[0],
            self._integration,
            ("splice-call-id", record.call_id.encode()),
            release,
            ("splice-event-id", cause),
        )
        return headers if record.trace is None else headers + _traced(record.trace, event)

    def _place(self, origin: Origin) -> bytes:
        """What `str` gives of it, as a header of HTTP can have it."""
        stream, partition, start = self._begun
        if origin.partition != partition or origin.stream != stream:
            start = b"%b/%d@" % (_quoted(origin.stream).encode(), origin.partition)
            self._begun = origin.stream, origin.partition, start
        return start + b"%d" % origin.offset

    def _time(self, at_us: int) -> str:
        """RFC 3339 in UTC, to the microsecond; the second is written once."""
        second, micros = divmod(at_us, 1_000_000)
        if second != self._second:
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._second_text}.{micros:06d}Z"


def _quoted(text: str) -> str:
    """As a header of HTTP can have it; most texts are so already."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe=_HTTP_SAFE)


def _cause(event: Event, letter: Letter | None) -> tuple[str, str]:
    """Id and source of the event that was answered; its place where it has no id."""
    if letter is None or letter.id is None:
        return str(event.origin), ""
    return letter.id, letter.source


def _attributes(named: Sequence[tuple[str, str]], *, over_http: bool) -> Headers:
    if over_http:
        return tuple([
            ("ce-" + name, quote(text, safe=_HTTP_SAFE, errors="replace").encode())
            for name, text in named
        ])  # fmt: skip
    # A list first: as a generator it takes half as long again.
    return tuple([("ce_" + name, text.encode("utf-8", "replace")) for name, text in named])


def _parent(trace: Trace | None) -> str | None:
    return f"00-{trace.trace_id}-{trace.span_id}-{trace.flags & 0xFF:02x}" if trace else None


def _traced(trace: Trace | None, event: Event) -> Headers:
    """The trace of the event goes on, with what its vendors put beside it."""
    parent = _parent(trace)
    if parent is None:
        return ()
    states = tuple(
        ("tracestate", value)
        for name, value in event.headers
        if name.lower() == "tracestate" and _STATE.fullmatch(value)
    )
    return (("traceparent", parent.encode()), *states)
