"""Asks the program `document_reader`, which runs apart, and is killed where it takes too long."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

SECONDS: Final = 20.0
"""For one file. Three scanned pages take five on an idle core; what needs more gets a person."""

_COMMAND: Final = [sys.executable, "-m", "document_reader"]
_TRIES: Final = 2
"""A reader that dies may have been killed for another's sake; at the second time it is the file."""


class DocumentReader:
    """One reader, one file at a time. It starts with the first, and ends with this."""

    def __init__(self, seconds: float = SECONDS, command: list[str] = _COMMAND) -> None:
        self._seconds = seconds
        self._command = command
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="document-reader")
        self._running: list[subprocess.Popen[str]] = []
        weakref.finalize(self, _end, self._running, self._thread)

    async def read(self, file: Path) -> dict[str, Any]:
        """What the reader says of a file: see `document_reader.reading.Reader.read`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, str(file))

    def _read(self, path: str) -> dict[str, Any]:
        why = ""
        for _ in range(_TRIES):
            process = self._process()
            late = threading.Event()
            timer = threading.Timer(self._seconds, _kill, (process, late))
            timer.daemon = True
            timer.start()
            try:
                said = _asked(process, path)
            finally:
                timer.cancel()
            if said and not late.is_set():
                return json.loads(said)
            _stop(self._running)
            if late.is_set():
                return _nothing(f"it could not be read within {self._seconds:g} s")
            why = f"its reader died (exit {process.returncode})"
        return _nothing(why)

    def _process(self) -> subprocess.Popen[str]:
        if self._running and self._running[0].poll() is None:
            return self._running[0]
        _stop(self._running)
        environment = {
            **os.environ,  # noqa: TID251 - what a program that is started gets
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        process = subprocess.Popen(
            self._command, env=environment, text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._running.append(process)
        return process


def _asked(process: subprocess.Popen[str], path: str) -> str:
    """The line that it answers; empty where it died."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps({"path": path}) + "\n")
        process.stdin.flush()
        return process.stdout.readline()
    except BrokenPipeError:
        return ""


def _kill(process: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    process.kill()


def _stop(running: list[subprocess.Popen[str]]) -> None:
    while running:
        process = running.pop()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except BrokenPipeError:  # what was not yet written went with it
                pass


def _end(running: list[subprocess.Popen[str]], thread: ThreadPoolExecutor) -> None:
    thread.shutdown(wait=False)  # this may run in it: whoever lets go last
    _stop(running)


def _nothing(why: str) -> dict[str, Any]:
    return {
        "reader": "", "type": "unknown", "mime": "", "text": "", "how": "none",
        "legible": None, "refused": "", "unread": why, "sha256": None,
    }  # fmt: skip
