"""Lines of a result, files that are there whole or not at all, and a folder for one run alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec

from splice.core.call import Record, Status
from splice.core.errors import SettingsError, SpliceError
from splice.core.units import NANO


def line_of_record(row: int, record: Record, key: int | str | None = None) -> dict[str, Any]:
    """The line of a row that was asked; with its key where it has one."""
    line: dict[str, Any] = {
        **_named(row, key),
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


def line_of_error(
    row: int, status: str, error: SpliceError, key: int | str | None = None
) -> dict[str, Any]:
    """The line of a row that was not asked, or whose call was not recorded."""
    return {**_named(row, key), "call_id": None, "status": status, "error": str(error)}


def _named(row: int, key: int | str | None) -> dict[str, Any]:
    return {"row": row} if key is None else {"row": row, "key": key}


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


@contextlib.contextmanager
def alone(folder: Path) -> Generator[None]:
    """This process has the folder for itself; the system gives it back however the process ends.

    Where the system has no such locks (Windows), nothing is checked.

    Raises:
        SettingsError: Another process has it.
    """
    try:
        import fcntl  # not everywhere
    except ImportError:
        yield
        return
    try:
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise cannot(folder, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise SettingsError(
            folder.name,
            got="another run of this job, which is under way",
            mend="wait for it; --status says how it stands",
        ) from None
    try:
        yield
    finally:
        os.close(handle)


def cannot(file: Path, error: OSError) -> SettingsError:
    """The error for a file of a job that cannot be written or read."""
    return SettingsError(
        str(file),
        got=error.strerror or str(error),
        promised="a place that can be written",
        mend="name another target with --out",
    )
