"""Prices of models: see `splice.core.prices`."""

from __future__ import annotations

from splice.core.prices import Price, cost_nano

__all__ = ["Price", "cost_nano"]
