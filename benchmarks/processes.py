"""A server and the processes it started: their start on one core, their cost, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# Places in the fields of /proc/PID/stat that follow the command's name, see proc(5).
PARENT, USER_TICKS, SYSTEM_TICKS, STARTED, RESIDENT_PAGES = 1, 11, 12, 19, 21
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
GRACE_SECONDS = 15.0


@dataclass(frozen=True)
class Process:
    """One process; number and start together name it for good."""

    number: int
    started: int


def family_seconds(root: int) -> float:
    """The processor time, in seconds, that `root` and its living descendants have taken so far."""
    ticks = 0
    for process in _family(root):
        fields = _fields(process.number)
        if fields:
            ticks += int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])
    return ticks / TICKS_A_SECOND


def family_memory(root: int) -> int:
    """The bytes that `root` and its living descendants hold in memory now.

    The sum of their resident sets: what they share is counted for each.
    """
    pages = 0
    for process in _family(root):
        fields = _fields(process.number)
        pages += int(fields[RESIDENT_PAGES]) if fields else 0
    return pages * PAGE_BYTES


@contextmanager
def on_core(
    core: str, argv: Sequence[str], cwd: Path, env: Mapping[str, str], log: str
) -> Generator[subprocess.Popen[bytes]]:
    """A server pinned to `core`, from its start to its end; what it prints goes to `cwd/log`."""
    # A fair subject has its compiled bytecode: the switch that forbids writing it is taken away.
    prefix = ["taskset", "-c", core, "env", "-u", "PYTHONDONTWRITEBYTECODE"]
    prefix += [f"{name}={value}" for name, value in env.items()]
    with (cwd / log).open("wb") as sink:
        server = subprocess.Popen(
            [*prefix, *argv],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a stop typed at the terminal is ours to pass on
        )
        try:
            yield server
        finally:
            end(server)


def end(server: subprocess.Popen[bytes]) -> None:
    """End the server and whatever it started, politely first.

    By family, not by process group: BentoML's supervisor puts its worker in a session of its own.
    """
    family = _family(server.pid)
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline:
        server.poll()
        if not any(_lives(process) for process in family):
            break
        time.sleep(0.05)
    for process in family:
        if _lives(process):
            os.kill(process.number, signal.SIGKILL)
    server.wait()


def family(root: int) -> list[int]:
    """The numbers of `root` and its living descendants."""
    return [process.number for process in _family(root)]


@contextmanager
def only_on(core: str) -> Generator[None]:
    """This process, and what it starts, on one core for a while."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(core)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _family(root: int) -> list[Process]:
    """The process `root` and all that descend from it now."""
    children: dict[int, list[Process]] = {}
    found: list[Process] = []
    for directory in Path("/proc").glob("[0-9]*"):
        number = int(directory.name)
        fields = _fields(number)
        if not fields:
            continue
        process = Process(number, int(fields[STARTED]))
        children.setdefault(int(fields[PARENT]), []).append(process)
        if number == root:
            found.append(process)
    for process in found:  # grows while it is walked
        found += children.get(process.number, [])
    return found


def _lives(process: Process) -> bool:
    """Whether this very process is still there, and not only waited for."""
    fields = _fields(process.number)
    return bool(fields) and int(fields[STARTED]) == process.started and fields[0] != "Z"


def _fields(number: int) -> list[str]:
    """What /proc tells of a process after its name; nothing if it has ended."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
