"""OtlpTracer, with the real exporter, against a receiver that decodes the protocol."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from splice.adapters.telemetry.otlp import OtlpTracer, traces_url
from splice.core import call

ASKED_US = 1_800_000_000_000_000
CALL_ID = "019b8f2e-0000-7000-8000-0123456789ab"
CANARY = "canary-b4c1"

RECORD = call.Record(
    call_id=CALL_ID,
    integration="triage",
    release=7,
    asked_us=ASKED_US,
    duration_us=250_000,
    status=call.Status.ANSWERED,
    reason=call.Reason.FALLBACK,
    surface="http",
    caller=CANARY,
    entity=CANARY,
    key=CANARY,
    route="llm:local/org/smollm2",
    version="smollm2 prompt 4f1c",
    cost_nano=12_345,
    input=CANARY.encode(),
    context=CANARY.encode(),
    prediction=CANARY.encode(),
    reply=CANARY.encode(),
    gathered=(call.Gathered("v", CANARY, {"x": CANARY}, "sql"),),
    attempts=(
        call.Attempt("model:fraud", "timeout", 1_000, 100_000, "fraud@3", "first"),
        call.Attempt(
            "llm:local/org/smollm2",
            "answered",
            101_000,
            140_000,
            "smollm2 prompt 4f1c",
            usage=call.Usage(40, 7, 30),
            cost_nano=12_345,
        ),
    ),
    trace=call.Trace("ab" * 16, "cd" * 8, "ef" * 8),
)


class Receiver:
    """An OTLP collector of one purpose: to remember."""

    def __init__(self, delay_s: float = 0.0, status: int = 200) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.raw = b""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = zlib.decompress(body, 31)
                time.sleep(delay_s)
                receiver.raw += body
                receiver.requests.append(ExportTraceServiceRequest.FromString(body))
                receiver.headers.append({k.lower(): v for k, v in self.headers.items()})
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def attributes(span: Span) -> dict[str, object]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value") or "") for a in span.attributes}


def sent(receiver: Receiver, *records: call.Record) -> list[Span]:
    tracer = OtlpTracer(receiver.endpoint, "splice-test", {"x-key": "k"})
    for record in records:
        tracer.finished(record)
    tracer.close()
    return receiver.spans


def test_a_call_is_a_span_with_its_times_and_its_place_in_the_trace(receiver: Receiver) -> None:
    span = sent(receiver, RECORD)[0]

    assert span.name == "splice.call"
    assert span.trace_id.hex() == "ab" * 16
    assert span.span_id.hex() == "cd" * 8
    assert span.parent_span_id.hex() == "ef" * 8
    assert span.start_time_unix_nano == ASKED_US * 1000
    assert span.end_time_unix_nano == (ASKED_US + 250_000) * 1000
    assert span.status.code == Status.STATUS_CODE_UNSET


def test_a_call_says_what_answered_and_why(receiver: Receiver) -> None:
    assert attributes(sent(receiver, RECORD)[0]) == {
        "splice.integration": "triage",
        "splice.release": 7,
        "splice.route": "llm:local/org/smollm2",
        "splice.version": "smollm2 prompt 4f1c",
        "splice.reason": "fallback",
        "splice.status": "answered",
        "splice.surface": "http",
        "splice.call_id": CALL_ID,
        "splice.cost_nano": 12_345,
    }


def test_attempts_are_children_with_their_own_times(receiver: Receiver) -> None:
    _, model, llm = sent(receiver, RECORD)

    assert {model.parent_span_id.hex(), llm.parent_span_id.hex()} == {"cd" * 8}
    assert model.span_id != llm.span_id
    assert model.start_time_unix_nano == (ASKED_US + 1_000) * 1000
    assert model.end_time_unix_nano == (ASKED_US + 101_000) * 1000
    assert llm.start_time_unix_nano == (ASKED_US + 101_000) * 1000


def test_an_attempt_that_failed_says_how(receiver: Receiver) -> None:
    _, model, llm = sent(receiver, RECORD)

    assert model.name == "splice.attempt model:fraud"
    assert attributes(model)["error.type"] == "timeout"
    assert model.status.code == Status.STATUS_CODE_ERROR
    assert "error.type" not in attributes(llm)


def test_an_attempt_of_a_language_model_follows_the_genai_conventions(receiver: Receiver) -> None:
    llm = sent(receiver, RECORD)[2]

    assert llm.name == "chat org/smollm2"
    assert llm.kind == Span.SPAN_KIND_CLIENT
    found = attributes(llm)
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.provider.name"] == "local"
    assert found["gen_ai.request.model"] == "org/smollm2"
    assert found["gen_ai.usage.input_tokens"] == 40
    assert found["gen_ai.usage.output_tokens"] == 7
    assert found["gen_ai.usage.cache_read.input_tokens"] == 30


def test_no_payload_caller_or_entity_is_sent(receiver: Receiver) -> None:
    sent(receiver, RECORD)

    assert receiver.raw
    assert CANARY.encode() not in receiver.raw


def test_the_service_and_the_headers_are_sent(receiver: Receiver) -> None:
    sent(receiver, RECORD)

    resource = receiver.requests[0].resource_spans[0].resource
    assert [(a.key, a.value.string_value) for a in resource.attributes] == [
        ("service.name", "splice-test")
    ]
    assert receiver.headers[0]["x-key"] == "k"


def test_a_call_without_a_trace_gets_one_of_its_own(receiver: Receiver) -> None:
    alone = msgspec.structs.replace(RECORD, trace=None)

    spans = sent(receiver, alone)

    assert {span.trace_id.hex() for span in spans} == {CALL_ID.replace("-", "")}
    assert spans[0].parent_span_id == b""


def test_a_trace_that_is_not_sampled_is_not_sent(receiver: Receiver) -> None:
    quiet = msgspec.structs.replace(RECORD, trace=call.Trace("ab" * 16, "cd" * 8, flags=0))

    assert sent(receiver, quiet) == []


def test_a_failed_call_is_an_error_with_its_code_and_without_its_words(
    receiver: Receiver,
) -> None:
    failed = msgspec.structs.replace(
        RECORD,
        status=call.Status.FAILED,
        reason=call.Reason.EXHAUSTED,
        problem=call.Problem("exhausted", "triage", CANARY),
    )

    span = sent(receiver, failed)[0]

    assert attributes(span)["error.type"] == "exhausted"
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert CANARY.encode() not in receiver.raw


@pytest.mark.parametrize("trace_id", ["", "zz" * 16, "0" * 64])
def test_a_record_that_cannot_be_a_span_raises_nothing(
    receiver: Receiver, trace_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    odd = msgspec.structs.replace(RECORD, trace=call.Trace(trace_id, "xyz"))

    assert sent(receiver, odd) == []
    assert "could not be traced" in caplog.text


def test_a_collector_that_is_away_neither_raises_nor_blocks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    tracer = OtlpTracer("http://127.0.0.1:1/v1/traces", "splice-test", close_s=1.0)
    began = time.monotonic()

    for _ in range(3_000):  # more spans than the queue holds
        tracer.finished(RECORD)
    told = time.monotonic() - began
    tracer.close()

    assert told < 3.0
    assert time.monotonic() - began < told + 1.5


def test_closing_waits_only_so_long_for_a_slow_collector() -> None:
    slow = Receiver(delay_s=3.0)
    tracer = OtlpTracer(slow.endpoint, "splice-test", close_s=0.3)
    tracer.finished(RECORD)
    began = time.monotonic()

    tracer.close()

    assert time.monotonic() - began < 1.0
    slow.close()


def test_importing_the_module_imports_no_opentelemetry() -> None:
    code = (
        "import sys, splice.adapters.telemetry.otlp;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://h:4318", "http://h:4318/v1/traces"),
        ("http://h:4318/", "http://h:4318/v1/traces"),
        ("https://h/v1/traces", "https://h/v1/traces"),
        ("https://h/tenant/otlp", "https://h/tenant/otlp"),
    ],
)
def test_an_endpoint_without_a_path_gets_the_usual_one(endpoint: str, url: str) -> None:
    assert traces_url(endpoint) == url
