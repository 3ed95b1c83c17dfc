"""OtlpMetrics and the conventions, with the real exporter, against a receiver that decodes."""

from __future__ import annotations

import asyncio
import logging
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

import splice
from splice.adapters.telemetry.otlp_metrics import OtlpMetrics, metrics_url
from splice.app.measuring import metrics_endpoint
from splice.app.settings import Settings
from splice.core import call
from splice.engine import observe
from splice.engine.conventions import GENAI_SECONDS, Dress, families, own_name
from splice.engine.exposition import prometheus_text

SINCE_US, NOW_US = 1_800_000_000_000_000, 1_800_000_060_000_000
CANARY = "canary-91fe"

RECORD = call.Record(
    call_id="019b8f2e-0000-7000-8000-0123456789ab",
    integration="triage",
    release=7,
    asked_us=SINCE_US,
    duration_us=250_000,
    status=call.Status.ANSWERED,
    reason=call.Reason.FALLBACK,
    surface="http",
    caller=CANARY,
    entity=CANARY,
    attempts=(
        call.Attempt("llm:big/gpt", "provider_limited", 0, 3_000, usage=None),
        call.Attempt(
            "llm:local/org/smollm2",
            "answered",
            3_000,
            200_000,
            usage=call.Usage(40, 7, 30),
            cost_nano=5_000_000,
            first_token_us=50_000,
        ),
    ),
)


class Receiver:
    """An OTLP collector of one purpose: to remember metrics."""

    def __init__(self, status: int = 200) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.paths: list[str] = []
        self.came = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = zlib.decompress(body, 31)
                receiver.paths.append(self.path)
                receiver.requests.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
                receiver.came.set()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def metrics(self, number: int = -1) -> dict[str, Metric]:
        (resource,) = self.requests[number].resource_metrics
        (scope,) = resource.scope_metrics
        return {metric.name: metric for metric in scope.metrics}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def counted(*records: call.Record) -> observe.Snapshot:
    metrics = observe.Metrics()
    for record in records:
        metrics.called(record)
    return metrics.snapshot()


def sent(receiver: Receiver, dress: Dress = "both") -> dict[str, Metric]:
    sender = OtlpMetrics(receiver.endpoint, "splice-test", "instance-1")
    assert sender.send(families(counted(RECORD), dress), SINCE_US, NOW_US)
    sender.close()
    return receiver.metrics()


def attributes(point: object) -> dict[str, str]:
    return {one.key: one.value.string_value for one in point.attributes}  # type: ignore[attr-defined]


CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "local",
    "gen_ai.request.model": "org/smollm2",
    "splice.integration": "triage",
}


@pytest.mark.parametrize(
    "name", ["gen_ai.client.inference.duration", "gen_ai.client.operation.duration"]
)
def test_durations_of_language_models_follow_the_conventions(receiver: Receiver, name: str) -> None:
    metric = sent(receiver)[name]

    assert metric.unit == "s"
    assert (
        metric.histogram.aggregation_temporality
        == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    )
    failed, answered = metric.histogram.data_points
    assert attributes(answered) == CHAT
    assert attributes(failed) == CHAT | {
        "gen_ai.provider.name": "big",
        "gen_ai.request.model": "gpt",
        "error.type": "provider_limited",
    }
    assert tuple(answered.explicit_bounds) == (
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    )  # fmt: skip
    assert list(answered.bucket_counts) == [0, 0, 0, 0, 0, 1, *[0] * 9]  # 0.2 s
    assert list(failed.bucket_counts) == [1, *[0] * 14]  # 3 ms: below the first bound
    assert (answered.count, answered.sum) == (1, pytest.approx(0.2))
    assert (answered.start_time_unix_nano, answered.time_unix_nano) == (
        SINCE_US * 1000,
        NOW_US * 1000,
    )
    assert not answered.HasField("min")


def test_tokens_are_counters_in_0_1_and_a_histogram_in_1_41(receiver: Receiver) -> None:
    found = sent(receiver)

    (given,) = found["gen_ai.client.inference.usage.input_tokens"].sum.data_points
    assert (given.as_double, attributes(given)) == (40, CHAT | {"gen_ai.token.modality": "unknown"})
    (cached,) = found["gen_ai.client.inference.usage.cache_read.input_tokens"].sum.data_points
    assert cached.as_double == 30
    assert found["gen_ai.client.inference.usage.output_tokens"].sum.is_monotonic
    usage = {
        attributes(point)["gen_ai.token.type"]: point
        for point in found["gen_ai.client.token.usage"].histogram.data_points
    }
    assert (usage["input"].sum, usage["output"].sum) == (40, 7)
    assert list(usage["input"].bucket_counts)[:5] == [0, 0, 0, 1, 0]  # up to 64
    assert usage["input"].explicit_bounds[-1] == 67_108_864


def test_the_first_token_is_measured_under_both_names(receiver: Receiver) -> None:
    found = sent(receiver)

    for name in ("inference", "operation"):
        (point,) = found[f"gen_ai.client.{name}.time_to_first_chunk"].histogram.data_points
        assert (point.sum, attributes(point)) == (pytest.approx(0.05), CHAT)


@pytest.mark.parametrize(
    ("dress", "absent"), [("0.1", "operation.duration"), ("1.41", "inference")]
)
def test_one_dress_leaves_out_the_names_of_the_other(
    receiver: Receiver, dress: Dress, absent: str
) -> None:
    found = [name for name in sent(receiver, dress) if name.startswith("gen_ai.")]

    assert found
    assert not [name for name in found if name.startswith(f"gen_ai.client.{absent}")]


def test_a_model_that_is_no_language_model_has_no_genai_metric(receiver: Receiver) -> None:
    model = call.Attempt("model:fraud", "answered", 0, 900)
    plain = msgspec.structs.replace(RECORD, attempts=(model,))

    found = families(counted(plain), "both")

    assert [one.name for one in found if one.name.startswith("gen_ai.")] == []
    (point,) = next(one for one in found if one.name == "splice.attempt_duration").points
    assert point.attributes == {
        "integration": "triage", "route": "model:fraud", "ended": "answered",
    }  # fmt: skip


def test_no_caller_and_no_entity_is_sent_and_the_process_is_named(receiver: Receiver) -> None:
    sent(receiver)

    assert CANARY.encode() not in receiver.requests[0].SerializeToString()
    (resource,) = receiver.requests[0].resource_metrics
    assert {one.key: one.value.string_value for one in resource.resource.attributes} == {
        "service.name": "splice-test",
        "service.instance.id": "instance-1",
    }


def as_prometheus(name: str, unit: str, kind: str) -> str:
    """Prometheus's own translation of an OTLP name: dots, unit, `_total`."""
    plain = name.replace(".", "_") + ("_seconds" if unit == "s" else "")
    return f"{plain}_total" if kind == "counter" else plain


def test_every_metric_gets_its_prometheus_name_back_by_the_usual_translation() -> None:
    back = {one.name: as_prometheus(own_name(one), one.unit, one.kind) for one in observe.METRICS}

    assert {name: made for name, made in back.items() if name != made} == {}
    assert all(
        one.unit == "s" or one.unit.startswith("{") or not one.unit for one in observe.METRICS
    )


def test_the_bounds_of_the_conventions_are_bounds_of_ours() -> None:
    assert observe.SECONDS[-len(GENAI_SECONDS) :] == GENAI_SECONDS
    assert sorted(observe.SECONDS) == list(observe.SECONDS)


def test_tokens_counted_once_are_told_as_sum_and_as_distribution() -> None:
    text = prometheus_text(counted(RECORD))

    labels = 'integration="triage",route="llm:local/org/smollm2",type="input"'
    assert f"splice_tokens_total{{{labels}}} 40" in text
    assert f'splice_attempt_tokens_bucket{{{labels},le="16"}} 0' in text
    assert f'splice_attempt_tokens_bucket{{{labels},le="64"}} 1' in text
    assert f"splice_attempt_tokens_sum{{{labels}}} 40" in text
    assert (
        'splice_cached_tokens_total{integration="triage",route="llm:local/org/smollm2"} 30' in text
    )


def test_a_collector_that_refuses_is_told_of_and_raises_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    refusing = Receiver(status=400)
    sender = OtlpMetrics(refusing.endpoint, "splice-test", "i")

    assert sender.send(families(counted(RECORD), "both"), SINCE_US, NOW_US) is False
    sender.close()
    refusing.close()


@pytest.mark.parametrize(
    ("traces", "metrics", "expected"),
    [
        ("", "", ""),
        ("http://h:4318", "", "http://h:4318"),
        ("http://h:4318/", "", "http://h:4318/"),
        ("http://h/v1/traces", "", "http://h/v1/metrics"),
        ("https://h/tenant/otlp", "", ""),
        ("http://h:4318", "none", ""),
        ("http://h:4318", "http://other:4318", "http://other:4318"),
        ("", "http://other:4318", "http://other:4318"),
    ],
)
def test_metrics_go_beside_the_traces_or_where_they_are_sent(
    traces: str, metrics: str, expected: str
) -> None:
    assert metrics_endpoint(traces, metrics) == expected


def test_an_endpoint_without_a_path_gets_the_usual_one() -> None:
    assert metrics_url("http://h:4318/") == "http://h:4318/v1/metrics"
    assert metrics_url("https://h/tenant/v1/metrics") == "https://h/tenant/v1/metrics"


async def test_an_app_sends_what_it_counted_again_and_again_and_at_its_end(
    receiver: Receiver, tmp_path: Path
) -> None:
    telemetry = {"metrics_endpoint": receiver.endpoint, "metrics_every_s": 0.1}
    settings = msgspec.convert({"telemetry": telemetry, "root": str(tmp_path)}, Settings)
    app = splice.App(settings=settings, apply="never")

    async with app:
        while len(receiver.requests) < 2:
            receiver.came.clear()
            await asyncio.to_thread(receiver.came.wait, 30)
        app.engine.metrics.called(RECORD)

    assert receiver.paths[0] == "/v1/metrics"
    (calls,) = receiver.metrics()["splice.calls"].sum.data_points
    assert calls.as_double == 1
    assert attributes(calls)["status"] == "answered"
    first, last = receiver.metrics(0), receiver.metrics()
    (was,) = first["splice.calls_in_flight"].gauge.data_points
    assert was.as_double == 0
    assert last["splice.calls"].sum.is_monotonic
