"""Findings of monitors, and alerts: what is needed of their store. Blocks."""

from __future__ import annotations

from typing import Protocol


class AlertStore(Protocol):
    """Findings of monitors, and alerts."""
