"""The HTTP surface of a process, as its settings say."""

from __future__ import annotations

from splice.app.settings import Settings
from splice.serve.http.body import Limits
from splice.serve.http.desk import Desk
from splice.serve.http.lane import HttpSurface, McpLimits
from splice.serve.http.protocols import OpenLimits
from splice.serve.oip.inference import RowLimits


def http_surface(desk: Desk, settings: Settings) -> HttpSurface:
    """The surface of a process with these settings."""
    server, gateway = settings.server, settings.gateway
    return HttpSurface(
        desk,
        Limits(server.max_body_bytes, server.body_seconds),
        settings.cost.currency,
        gateway.max_body_bytes,
        McpLimits(gateway.mcp_hosts, gateway.mcp_origins),
        OpenLimits(
            RowLimits(settings.oip.max_rows, server.max_in_flight), settings.sagemaker.integration
        ),
    )
