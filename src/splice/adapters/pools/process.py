"""One worker process, as its parent sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import site
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import ClassVar

import msgspec

from splice.adapters.child.conduct import command
from splice.adapters.pools.wire import Load, body_in, frame_of
from splice.core.errors import RouteError

_CHUNK = 1 << 18
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")
_HOME = str(Path(__file__).parents[3])  # the folder that holds this package


class State(Enum):
    """Where a process is in its life."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"  # a run holds it: only that run touches its socket
    OVERRUN = "overrun"  # nobody waits for its run any more
    LEAVING = "leaving"  # it closed its line, or is being ended
    ENDED = "ended"


class WorkerProcess:
    """A child with its socket and its folder.

    It is started, ended and reaped in one thread: the kernel ends it with the thread that started
    it.

    Args:
        load: What it is told first.
        environment: Variables that it gets beside what it cannot do without.
    """

    WAKES: ClassVar[bool] = hasattr(os, "pidfd_open")
    """Whether a descriptor tells of its end at once (Linux)."""

    def __init__(self, load: Load, environment: Mapping[str, str]) -> None:
        self.state = State.STARTING
        self.buffer = bytearray()
        self.sent = False  # whether the frame of its run has gone out whole
        self.until = 0.0  # when what it does now takes too long; 0 is never
        self.rested_since = 0.0
        self.ready_since = 0.0  # 0 is not yet
        self.runs = 0  # that it answered
        self.why = ""  # why it was ended by us
        self.reason = "crashed"  # as it is counted; empty where it was not to stay
        self.trouble: RouteError | None = None  # why it has no model, in its own words
        self.how = ""  # how it ended, once it has
        self.folder = tempfile.mkdtemp(prefix="splice-pool-")
        ours, theirs = socket.socketpair()
        try:
            number = theirs.fileno()
            self.child = subprocess.Popen(  # noqa: S603 - a fixed command
                command("splice.adapters.pools.worker", str(number)),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=_environment(environment, self.folder, load.threads), cwd=self.folder,
                pass_fds=[number], start_new_session=True,
            )  # fmt: skip
        except BaseException:
            ours.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self.sock = ours
        self.pid = self.child.pid
        self.wakes: int | None = None
        if self.WAKES:
            with contextlib.suppress(
                OSError
            ):  # no descriptors left: its end is seen a little later
                self.wakes = os.pidfd_open(self.pid)
        with contextlib.suppress(OSError):  # it has ended already: that is seen soon
            ours.send(frame_of(msgspec.structs.replace(load, parent=os.getpid())))

    def hear(self) -> memoryview | None:
        """What it has sent, once it is a whole frame; blocks never.

        Raises:
            EOFError: It has closed its end.
            ValueError: It sends what is no frame.
        """
        try:
            chunk = self.sock.recv(_CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            chunk = b""
        if not chunk:
            raise EOFError
        self.buffer += chunk
        return body_in(self.buffer)

    async def run(self, frame: bytes) -> memoryview:
        """Send a frame and wait for the one that answers it.

        Given up, it leaves what has come in `buffer`, so that the rest can be read after it.

        Raises:
            EOFError: It has ended.
            ValueError: It sends what is no frame.
        """
        loop = asyncio.get_running_loop()
        self.buffer = bytearray()  # a view of the last one may still be read
        self.sent = False
        try:
            gone = self.sock.send(frame)
        except BlockingIOError:
            gone = 0
        except OSError:
            raise EOFError from None
        if gone < len(frame):
            try:
                await loop.sock_sendall(self.sock, memoryview(frame)[gone:])
            except OSError:
                raise EOFError from None
        self.sent = True
        # Not by sock_recv: what it has read is lost where the caller goes away at that moment.
        heard: asyncio.Future[memoryview] = loop.create_future()
        loop.add_reader(self.sock, self._readable, heard)
        try:
            return await heard
        finally:
            loop.remove_reader(self.sock)
            if heard.done() and not heard.cancelled():
                heard.exception()  # looked at, though nobody may be there to take it

    def _readable(self, heard: asyncio.Future[memoryview]) -> None:
        if heard.done():
            return
        try:
            body = self.hear()
        except (EOFError, ValueError) as error:
            heard.set_exception(error)
        else:
            if body is not None:
                heard.set_result(body)

    def whole(self) -> bool:
        """Whether the answer to its run has come, though nobody took it.

        Raises:
            ValueError: What has come is no frame.
        """
        return body_in(self.buffer) is not None

    def memory(self) -> int:
        """Bytes that it and what it has forked hold in memory; 0 where that is not to be had."""
        return sum(_resident(pid) for pid in (self.pid, *_below(self.pid)))

    def kill(self) -> None:
        """End it, and what it has forked, at once; it must not have been reaped."""
        below = _below(self.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in (self.pid, *below):  # those that left its group, and it before it had one
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            # Whoever holds the other end keeps it open: this wakes our own reader all the same.
            self.sock.shutdown(socket.SHUT_RDWR)

    def ended(self) -> str | None:
        """How it ended, in words; None while it runs. It is reaped, and what it forked is ended."""
        if self.child.returncode is None:
            if not _is_over(self.pid):
                return None
            self.kill()
        code = self.child.wait()
        if self.why:
            return self.why
        if code < 0:
            return f"it was ended by {_signal_name(-code)}"
        return f"it ended with code {code}"

    def bury(self, how: str, *, close: bool) -> None:
        """It has ended. `close` where no run has its line any more."""
        if self.wakes is not None:
            os.close(self.wakes)
            self.wakes = None
        if close:
            self.sock.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.how = how


def _environment(given: Mapping[str, str], folder: str, threads: int) -> dict[str, str]:
    """All that it gets: no variable of the server's that nobody named."""
    count = str(threads)
    made = {
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
        "HOME": folder,
        "TMPDIR": folder,
        # What numpy's libraries, and joblib, take as the number of their threads instead of all.
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "LOKY_MAX_CPU_COUNT": count,
        **given,
    }
    if _HOME not in site.getsitepackages():  # there it is found without, behind Python's own
        made["PYTHONPATH"] = os.pathsep.join(filter(None, [_HOME, given.get("PYTHONPATH", "")]))
    return made


def _is_over(pid: int) -> bool:
    """Whether a child has ended, without reaping it: until then its number is nobody else's."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _resident(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text("ascii").split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _below(pid: int) -> list[int]:
    """Every process that one has started, and those that these have."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in (_PROC / str(one) / "task").iterdir():
                with contextlib.suppress(OSError):
                    found += map(int, (task / "children").read_text("ascii").split())
        if len(found) > 1000:  # it forks as fast as we look: its group is ended all the same
            break
    return found[1:]
