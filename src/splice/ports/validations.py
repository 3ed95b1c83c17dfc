"""Validations and approvals of model versions: appended and never changed. All block."""

from __future__ import annotations

from typing import Protocol

from splice.core.validation import Approval, Validation


class ValidationStore(Protocol):
    """What was found out about versions, and who consented."""

    def add_validation(self, validation: Validation) -> None:
        """Store it, durably.

        Raises:
            StoreError: It was not stored.
        """
        ...

    def validations(self, model: str, version: int | None = None) -> list[Validation]:
        """Of one version, or of all versions of a model; newest first."""
        ...

    def add_approval(self, approval: Approval) -> None:
        """Store it, durably.

        Raises:
            StoreError: It was not stored.
        """
        ...

    def approvals(self, validation: str) -> list[Approval]:
        """Approvals of a validation, by its digest; oldest first."""
        ...
