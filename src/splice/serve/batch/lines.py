"""Lines of a result, and files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from splice.core.call import Record, Status
from splice.core.errors import SettingsError, SpliceError
from splice.core.units import NANO


def line_of_record(row: int, record: Record) -> dict[str, Any]:
    """The line of a row that was asked."""
    line: dict[str, Any] = {
        "row": row,
        "call_id": record.call_id,
        "status": record.status,
        "route": record.route,
        "reason": record.reason,
        "cost": None if record.cost_nano is None else record.cost_nano / NANO,
    }
    if record.status is Status.ANSWERED:
        line["reply"] = msgspec.json.decode(record.reply or b"null")
    if record.problem is not None:
        line["error"] = f"{record.problem.where}: {record.problem.detail} [{record.problem.code}]"
    return line


def line_of_error(row: int, status: str, error: SpliceError) -> dict[str, Any]:
    """The line of a row that was not asked, or whose call was not recorded."""
    return {"row": row, "call_id": None, "status": status, "error": str(error)}


def write_whole(file: Path, content: bytes) -> None:
    """Puts a file there in one step, durably.

    Raises:
        OSError: It cannot be written.
    """
    partial = file.with_suffix(".partial")
    with partial.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)


def cannot(file: Path, error: OSError) -> SettingsError:
    """The error for a file of a job that cannot be written or read."""
    return SettingsError(
        str(file),
        got=error.strerror or str(error),
        promised="a place that can be written",
        mend="name another target with --out",
    )
