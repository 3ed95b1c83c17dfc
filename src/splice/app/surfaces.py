"""The HTTP surface of a process, as its settings say."""

from __future__ import annotations

from typing import Protocol

from splice.app.console import Serving, console_of
from splice.app.openness import is_public
from splice.app.settings import Settings
from splice.serve.http.body import Limits
from splice.serve.http.desk import Desk
from splice.serve.http.lane import HttpSurface, McpLimits
from splice.serve.http.protocols import OpenLimits
from splice.serve.oip.inference import RowLimits


class Served(Desk, Serving, Protocol):
    """A process with all that its surfaces show."""


def http_surface(desk: Served, settings: Settings) -> HttpSurface:
    """The surface of a process with these settings."""
    server, gateway = settings.server, settings.gateway
    surface = HttpSurface(
        desk,
        Limits(server.max_body_bytes, server.body_seconds),
        settings.cost.currency,
        gateway.max_body_bytes,
        McpLimits(gateway.mcp_hosts, gateway.mcp_origins),
        OpenLimits(
            RowLimits(settings.oip.max_rows, server.max_in_flight), settings.sagemaker.integration
        ),
    )
    surface.console = console_of(desk, settings)
    metrics = settings.access.metrics
    surface.guarded = metrics == "key" or (metrics == "auto" and is_public(settings))
    return surface
