"""Merkle trees over calls and audit events, and their signed heads."""

from __future__ import annotations

from typing import Protocol


class CheckpointStore(Protocol):
    """Merkle trees over calls and audit events, and their signed heads. Blocks."""
