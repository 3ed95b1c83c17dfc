"""What a job does, and how it ended."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from splice.core.call import Status
from splice.core.ids import derived_uuid7
from splice.core.units import NANO
from splice.serve.batch.rows import Input


class Plan(msgspec.Struct, frozen=True):
    """What a job does. It is kept beside its parts, so that a later run can go on with it.

    Nothing in it is a secret. How the rows are asked (by which engine, how many at once) is no
    part of it: the next run may do it otherwise.
    """

    integration: str
    release: int
    input: str
    input_size: int
    input_sha256: str
    created_ms: int
    ignore_extra: bool = False
    bounds: Any | UnsetType = UNSET

    @property
    def name(self) -> str:
        """The same job has the same name."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()

    @property
    def begun(self) -> Input:
        """What there was to read when the job began."""
        return Input(self.input, self.input_size, self.input_sha256, self.bounds)

    def call_id(self, row: int | str) -> str:
        """The id of the call of a row, the same in every run."""
        return derived_uuid7(self.created_ms, self.name, str(row))


class Result(msgspec.Struct):
    """How a job ended: rows by status, and how many came from the ledger instead of being asked."""

    rows: int = 0
    answered: int = 0
    failed: int = 0
    invalid: int = 0
    resumed: int = 0
    cost_nano: int | None = 0
    seconds: float = 0.0
    pending: int = 0  # rows that a provider has, or is still to get
    waiting: str = ""  # what the next rows wait for

    def count(self, line: dict[str, Any]) -> None:
        """One more row, by its line."""
        self.rows += 1
        status = line["status"]
        if status == Status.ANSWERED:
            self.answered += 1
        elif status == "invalid":
            self.invalid += 1
        else:
            self.failed += 1
        cost = line.get("cost")
        if status == Status.ANSWERED and cost is None:
            self.cost_nano = None
        elif cost and self.cost_nano is not None:
            self.cost_nano += round(cost * NANO)
