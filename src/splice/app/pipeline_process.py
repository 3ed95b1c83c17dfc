"""A step of a pipeline in a process of its own: with a log, a deadline, and a bound of memory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from splice.adapters.child.conduct import command
from splice.app.settings import Settings
from splice.control.pipelines import StepEnd
from splice.core.pipeline import PipelineRun, Step
from splice.core.units import duration_text

_LOOK_S = 0.1
_LOG_HEAD = 4 << 20
_LOG_TAIL = 64 << 10
_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")

Changed = Callable[[PipelineRun], str]
"""Why the sources of a run are not those that it began with; empty where they are."""


def folder_of(settings: Settings, run_id: str) -> Path:
    """Where the files of a run are."""
    return settings.path(".splice/pipelines") / run_id


class StepProcesses:
    """An Executor. What a step does to its process, it does to that alone.

    Args:
        settings: Of the project.
        changed: Tells whether the sources are others by now.
    """

    def __init__(self, settings: Settings, changed: Changed) -> None:
        self._settings = settings
        self._changed = changed

    def execute(
        self, run: PipelineRun, step: Step, left_s: float, memory_mb: int, beat: Callable[[], None]
    ) -> StepEnd:
        """Do it; kills the process, and what it has started, when its time or memory is over."""
        try:
            return self._execute(run, step, left_s, memory_mb, beat)
        except OSError as error:  # a full disk ends a run, and not the watcher
            return StepEnd("failed", error=f"{type(error).__name__}: {error}")

    def _execute(
        self, run: PipelineRun, step: Step, left_s: float, memory_mb: int, beat: Callable[[], None]
    ) -> StepEnd:
        folder = folder_of(self._settings, run.id)
        folder.mkdir(parents=True, exist_ok=True)
        said = folder / f"{step}.json"
        # A process that was killed after the step was done, and before the ledger knew of it.
        found = _said(said)
        if found is not None and found.state == "done":
            return found
        if step in ("data", "train") and (why := self._changed(run)):
            return StepEnd("failed", error=why)
        said.unlink(missing_ok=True)
        write_whole(folder / "run.json", msgspec.json.encode(run))
        arguments = (self._settings.root, str(folder), step, str(os.getpid()))
        process = subprocess.Popen(  # noqa: S603 - our own module
            command("splice.app.pipeline_step", *arguments), cwd=self._settings.root,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None  # noqa: S101 - it was asked for
        log = threading.Thread(
            target=_copy, args=(process.stdout, folder / f"{step}.log"), daemon=True
        )
        log.start()
        try:
            why = _until_over(process, left_s, memory_mb, beat)
        finally:
            _kill(process)
            log.join(5)  # what left its session may hold the pipe: nobody waits for that
        if why:
            return StepEnd("failed", error=why)
        return _said(said) or StepEnd("failed", error=_how(process.returncode))


def _until_over(
    process: subprocess.Popen[bytes], left_s: float, memory_mb: int, beat: Callable[[], None]
) -> str:
    """Waits until the process has ended; says why it must be ended instead, or nothing."""
    until = time.monotonic() + left_s
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_S)
            return ""
        beat()
        if time.monotonic() >= until:
            return f"its deadline is over: it had {duration_text(max(left_s, 0.001))}"
        if memory_mb:
            took = sum(_resident(pid) for pid in (process.pid, *_below(process.pid))) >> 20
            if took > memory_mb:
                return f"it took {took} MB of memory, allowed {memory_mb} MB"


def _how(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}, and did not say how it went"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ": out of memory, perhaps" if -code == signal.SIGKILL else ""
    return f"its process was ended by {name}{hint}"


def _said(file: Path) -> StepEnd | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=StepEnd)
    except (OSError, msgspec.MsgspecError):
        return None


def write_whole(file: Path, raw: bytes) -> None:
    """Write a file that is there as a whole or not at all, whatever is killed when."""
    part = file.with_suffix(f"{file.suffix}.part")
    with part.open("wb") as out:
        out.write(raw)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)


def _copy(stream: IO[bytes], file: Path) -> None:
    """Copies what a process prints: the beginning and the end of it, if it is very much."""
    kept, left_out, tail, tail_size = 0, 0, deque[bytes](), 0
    with stream, file.open("ab") as out:
        while chunk := os.read(stream.fileno(), 65536):
            room = _LOG_HEAD - kept
            if room > 0:
                out.write(chunk[:room])
                out.flush()
                kept += len(chunk[:room])
                chunk = chunk[room:]
            if chunk:
                tail.append(chunk)
                tail_size += len(chunk)
                while tail_size - len(tail[0]) >= _LOG_TAIL:
                    gone = len(tail.popleft())
                    tail_size, left_out = tail_size - gone, left_out + gone
        if left_out:
            out.write(f"\n… {left_out} bytes are left out here …\n".encode())
        out.writelines(tail)


def _kill(process: subprocess.Popen[bytes]) -> None:
    below = _below(process.pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pid in below:  # those that left its session
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _resident(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text("ascii").split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _below(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    found, waiting = list[int](), [pid]
    while waiting:
        for file in (_PROC / str(waiting.pop()) / "task").glob("*/children"):
            with contextlib.suppress(OSError, ValueError):
                children = [int(one) for one in file.read_text("ascii").split()]
                found += children
                waiting += children
    return found
