"""Finished calls as OpenTelemetry spans, sent to any OTLP endpoint over HTTP."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from splice.core.call import Attempt, Record, Status, Trace

if TYPE_CHECKING:  # half a second of imports, spared where no endpoint is set
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

_LOG = logging.getLogger("splice.telemetry")
_QUEUE = 4096
_BATCH = 512
_EXPORT_S = 5.0
_NANO_IN_MICRO = 1000
_SAMPLED = 1
_LLM = "llm:"
_TELEMETRY_VERSION = "1"


class OtlpTracer:
    """Turns records into spans: one for the call, and below it one for each attempt.

    Spans hold no payload, no caller and no entity. A trace that its caller did not sample is not
    sent. What does not fit into the queue is dropped: telemetry may be lost, calls may not wait.

    Args:
        endpoint: `http://collector:4318`, or the whole URL where it has a path of its own.
        service: `service.name` of the resource.
        headers: Sent with every export, for collectors that want a key.
        delay_s: The longest a span waits for its batch.
        close_s: The longest that `close()` takes.
    """

    def __init__(
        self,
        endpoint: str,
        service: str,
        headers: Mapping[str, str] | None = None,
        *,
        delay_s: float = 2.0,
        close_s: float = 5.0,
    ) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        # By its constructor: Resource.create() would read the environment, and ask the host.
        self._resource = Resource({"service.name": service})
        self._scope = InstrumentationScope("splice", _TELEMETRY_VERSION)
        self._close_s = close_s
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(traces_url(endpoint), headers=dict(headers or {}), timeout=_EXPORT_S),
            max_queue_size=_QUEUE,
            schedule_delay_millis=delay_s * 1000,
            max_export_batch_size=_BATCH,
            export_timeout_millis=_EXPORT_S * 1000,
        )

    def finished(self, record: Record) -> None:
        """See `splice.ports.telemetry.Tracer`."""
        try:
            for span in self._spans(record):
                self._processor.on_end(span)
        except Exception as error:  # noqa: BLE001 - a span must never cost a call
            _LOG.warning("a call could not be traced: %s", type(error).__name__)

    def close(self) -> None:
        """See `splice.ports.telemetry.Tracer`."""
        closing = threading.Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        closing.join(self._close_s)

    def _spans(self, record: Record) -> list[ReadableSpan]:
        from opentelemetry.trace import SpanKind

        trace = record.trace or _trace_of(record.call_id)
        if not trace.flags & _SAMPLED:
            return []
        call = _context(trace.trace_id, trace.span_id)
        caller = _context(trace.trace_id, trace.parent_id) if trace.parent_id else None
        asked_ns = record.asked_us * _NANO_IN_MICRO
        spans = [
            self._span(
                "splice.call",
                (call, caller),
                SpanKind.SERVER,
                (asked_ns, asked_ns + record.duration_us * _NANO_IN_MICRO),
                call_attributes(record),
                record.problem.code if record.problem else _failed(record),
            )
        ]
        for index, attempt in enumerate(record.attempts):
            start_ns = asked_ns + attempt.started_us * _NANO_IN_MICRO
            model = attempt.route.startswith(_LLM)
            spans.append(
                self._span(
                    f"chat {_model(attempt)}" if model else f"splice.attempt {attempt.route}",
                    (_context(trace.trace_id, _span_id(f"{record.call_id}/{index}")), call),
                    SpanKind.CLIENT if model else SpanKind.INTERNAL,
                    (start_ns, start_ns + attempt.latency_us * _NANO_IN_MICRO),
                    attempt_attributes(attempt),
                    "" if attempt.ended == "answered" else attempt.ended,
                )
            )
        return spans

    def _span(
        self,
        name: str,
        place: tuple[SpanContext, SpanContext | None],
        kind: Any,  # SpanKind, which is imported late
        times: tuple[int, int],
        attributes: dict[str, Any],
        error: str,
    ) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import Status as SpanStatus
        from opentelemetry.trace import StatusCode

        if error:
            attributes["error.type"] = error
        return ReadableSpan(
            name,
            context=place[0],
            parent=place[1],
            resource=self._resource,
            attributes=attributes,
            kind=kind,
            instrumentation_scope=self._scope,
            status=SpanStatus(StatusCode.ERROR if error else StatusCode.UNSET),
            start_time=times[0],
            end_time=times[1],
        )


def traces_url(endpoint: str) -> str:
    """Where to post spans: an endpoint without a path gets the one that OTLP says."""
    bare = urlsplit(endpoint).path in ("", "/")
    return f"{endpoint.rstrip('/')}/v1/traces" if bare else endpoint


def call_attributes(record: Record) -> dict[str, Any]:
    """The attributes of the span of a call; those without a value are left out."""
    return _given(
        {
            "splice.integration": record.integration,
            "splice.release": record.release,
            "splice.route": record.route,
            "splice.version": record.version,
            "splice.variant": record.variant,
            "splice.reason": record.reason.value,
            "splice.status": record.status.value,
            "splice.surface": record.surface,
            "splice.call_id": record.call_id,
            "splice.cost_nano": record.cost_nano,
        }
    )


def attempt_attributes(attempt: Attempt) -> dict[str, Any]:
    """The attributes of the span of an attempt; of a language model, by the GenAI conventions."""
    ours = {
        "splice.route": attempt.route,
        "splice.version": attempt.version,
        "splice.why": attempt.why,
        "splice.ended": attempt.ended,
        "splice.cost_nano": attempt.cost_nano,
    }
    if not attempt.route.startswith(_LLM):
        return _given(ours)
    usage = attempt.usage
    genai = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": attempt.route.removeprefix(_LLM).partition("/")[0],
        "gen_ai.request.model": _model(attempt),
        "gen_ai.usage.input_tokens": usage.input_tokens if usage else None,
        "gen_ai.usage.output_tokens": usage.output_tokens if usage else None,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens if usage else None,
    }
    return _given(ours | genai)


def _model(attempt: Attempt) -> str:
    """The model in `llm:local/smollm2`; model names may hold slashes themselves."""
    return attempt.route.removeprefix(_LLM).partition("/")[2]


def _failed(record: Record) -> str:
    return record.reason.value if record.status is Status.FAILED else ""


def _given(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value not in (None, "")}


def _trace_of(call_id: str) -> Trace:
    """A trace of its own for a call that came without one; the same call always gets the same."""
    return Trace(call_id.replace("-", ""), _span_id(call_id))


def _span_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _context(trace_id: str, span_id: str) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(_SAMPLED)
    )
