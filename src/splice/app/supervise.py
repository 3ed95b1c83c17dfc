"""Supervise: the workers of `splice consume`, started again when they die.

An event that kills its process must not stop the others: a new process counts what it did, and
after some attempts keeps it as a dead letter.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import msgspec

from splice.app.settings import load

ENDED_WELL, WRONG_USAGE = 0, 2
_LOOK_S = 0.1
_LONG_S = 10.0
"""A worker that lived so long did not die at its start."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_SLACK_S = 10.0


class _Worker(msgspec.Struct):
    """One process, and how soon after its death the next may start."""

    number: int
    running: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    again: float = 0.0
    wait_s: float = _FIRST_WAIT_S
    ended: int | None = None


def supervise(root: Path, names: Sequence[str], workers: int | None, *, until_empty: bool) -> int:
    """Run the workers until SIGTERM or SIGINT; gives the exit code.

    Args:
        root: Folder of splice.toml.
        names: Integrations; those that the settings name if empty.
        workers: Processes; as the settings say if None.
        until_empty: They end once nothing more comes.

    Raises:
        SettingsError: The settings are wrong.
    """
    settings = load(root)
    wanted = [one for name, one in settings.consume.items() if not names or name in names]
    count = workers or max((one.workers for one in wanted), default=1)
    drain_s = max((one.drain_seconds for one in wanted), default=20.0)
    command = [sys.executable, "-m", "splice.cli.main", "--project", str(root), "consume", *names]
    command += ["--until-empty"] if until_empty else []
    crew = [_Worker(number) for number in range(count)]
    stopping = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    before = {one: signal.signal(one, stop) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        while not stopping and _goes_on(crew):
            for one in crew:
                _look_after(one, command)
            time.sleep(_LOOK_S)
    finally:
        _end(crew, drain_s + _SLACK_S)
        for number, handler in before.items():
            signal.signal(number, handler)
    return max((one.ended or ENDED_WELL for one in crew), default=ENDED_WELL)


def _goes_on(crew: Sequence[_Worker]) -> bool:
    """Whether any works, and none found what is wrong for all of them."""
    ended = [one.ended for one in crew]
    return None in ended and WRONG_USAGE not in ended


def _look_after(one: _Worker, command: Sequence[str]) -> None:
    now = time.monotonic()
    if one.ended is not None:
        return
    if one.running is None:
        if now >= one.again:
            one.running = subprocess.Popen([*command, "--worker", str(one.number)])  # noqa: S603
            one.started = now
        return
    code = one.running.poll()
    if code is None:
        return
    one.running = None
    if code in (ENDED_WELL, WRONG_USAGE):  # wrong usage stays wrong
        one.ended = code
        return
    if now - one.started > _LONG_S:
        one.wait_s = _FIRST_WAIT_S
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    sys.stderr.write(f"worker {one.number} died ({how}); it is started again in {one.wait_s:g} s\n")
    one.again = now + one.wait_s
    one.wait_s = min(one.wait_s * 2, _LONGEST_WAIT_S)


def _end(crew: Sequence[_Worker], seconds: float) -> None:
    running = [one.running for one in crew if one.running is not None]
    for process in running:
        process.terminate()
    until = time.monotonic() + seconds
    for process in running:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
