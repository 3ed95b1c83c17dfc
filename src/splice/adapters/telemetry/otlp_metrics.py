"""What was counted, sent to any OTLP endpoint over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from splice.ports.telemetry import Family, Point

if TYPE_CHECKING:  # half a second of imports, spared where no endpoint is set
    from opentelemetry.sdk.metrics.export import Metric

_LOG = logging.getLogger("splice.telemetry")
_EXPORT_S = 5.0
_NANO_IN_MICRO = 1000
_VERSION = "1"


class OtlpMetrics:
    """Sends families as cumulative sums, gauges and histograms with explicit buckets.

    Each process is an instance of the service of its own, so that a backend can add them up.

    Args:
        endpoint: `http://collector:4318`, or the whole URL where it has a path of its own.
        service: `service.name` of the resource.
        instance: `service.instance.id` of the resource: this process and no other.
        headers: Sent with every export, for collectors that want a key.
    """

    def __init__(
        self,
        endpoint: str,
        service: str,
        instance: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        # By its constructor: Resource.create() would read the environment, and ask the host.
        self._resource = Resource({"service.name": service, "service.instance.id": instance})
        self._scope = InstrumentationScope("splice", _VERSION)
        # Its methods take further arguments of no type.
        self._exporter: Any = OTLPMetricExporter(
            metrics_url(endpoint), headers=dict(headers or {}), timeout=_EXPORT_S
        )

    def send(self, families: Sequence[Family], since_us: int, now_us: int) -> bool:
        """See `splice.ports.telemetry.MetricSender`."""
        from opentelemetry.sdk.metrics.export import (
            MetricExportResult,
            MetricsData,
            ResourceMetrics,
            ScopeMetrics,
        )

        try:
            span = (since_us * _NANO_IN_MICRO, now_us * _NANO_IN_MICRO)
            scope = ScopeMetrics(self._scope, [_metric(one, span) for one in families], "")
            sent = self._exporter.export(
                MetricsData([ResourceMetrics(self._resource, [scope], "")]),
                timeout_millis=_EXPORT_S * 1000,
            )
        except Exception as error:  # noqa: BLE001 - telemetry may be lost, calls may not wait
            _LOG.warning("metrics could not be sent: %s", type(error).__name__)
            return False
        return sent is MetricExportResult.SUCCESS

    def close(self) -> None:
        """See `splice.ports.telemetry.MetricSender`."""
        self._exporter.shutdown(timeout_millis=_EXPORT_S * 1000)


def metrics_url(endpoint: str) -> str:
    """Where to post metrics: an endpoint without a path gets the one that OTLP says."""
    bare = urlsplit(endpoint).path in ("", "/")
    return f"{endpoint.rstrip('/')}/v1/metrics" if bare else endpoint


def _metric(family: Family, span: tuple[int, int]) -> Metric:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Histogram,
        Metric,
        Sum,
    )

    always = AggregationTemporality.CUMULATIVE
    points = [_point(one, family.bounds, span) for one in family.points]
    filled: Any
    if family.kind == "histogram":
        filled = Histogram(points, always)
    elif family.kind == "counter":
        filled = Sum(points, always, is_monotonic=True)
    else:
        filled = Gauge(points)
    return Metric(family.name, family.help, family.unit, filled)


def _point(point: Point, bounds: tuple[float, ...], span: tuple[int, int]) -> Any:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint

    if not bounds:
        return NumberDataPoint(point.attributes, *span, point.value)
    return HistogramDataPoint(
        attributes=point.attributes,
        start_time_unix_nano=span[0],
        time_unix_nano=span[1],
        count=sum(point.counts),
        sum=point.value,
        bucket_counts=point.counts,
        explicit_bounds=bounds,
        # Cells keep no extremes; the writer of the protocol leaves out what is not a number.
        min=None,  # type: ignore[arg-type]
        max=None,  # type: ignore[arg-type]
    )
