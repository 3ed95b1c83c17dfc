"""Keys of the people whom payloads are about; an erased one is gone for good."""

from __future__ import annotations

from typing import Protocol


class SubjectStore(Protocol):
    """Keys of the people whom payloads are about; an erased one is gone for good. Blocks."""
