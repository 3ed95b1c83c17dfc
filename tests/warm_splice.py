"""`splice` without the wait for its imports: forks of one process that has them behind it.

Imports are most of what a command costs, and the tests run thousands. A fork is a process of its
own with a folder, an environment, streams, signals and an exit code of its own; what runs in it is
what `python -m splice.cli.main` runs. Where the environment says how Python itself is to start, the
fork starts it anew.

    warm = WarmSplice()
    process = warm.start(["check"], cwd=folder, env=environment, stdout=file, stderr=file)
    process.wait(60)

The program `warm.program("splice")` makes does the same for a shell.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import typer.main

MODULE = "splice.cli.main"
ALSO = (
    "splice.adapters.ledgers.sql", "alembic.command", "typer._adapters", "zoneinfo",
    "uvicorn.supervisors",
)  # fmt: skip
"""What most commands import when they run; nothing that an installation may lack."""

_MOST_BYTES = 1 << 18
_PATIENCE_S = 60.0  # the longest that its imports take on a busy machine

_STUB = """\
#!{python} -IS
import os, socket, sys
asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
asking.connect({address!r})
import json
wanted = dict(arguments=sys.argv[1:], cwd=os.getcwd(), env=dict(os.environ), script=True)
socket.send_fds(asking, [json.dumps(wanted).encode()], [0, 1, 2])
asking.recv(64)
code = int(asking.recv(64) or 70)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class Fork:
    """A command that runs; used like a `subprocess.Popen`."""

    def __init__(self, asking: socket.socket, args: Sequence[str]) -> None:
        self.args = args
        self.returncode: int | None = None
        self._asking = asking
        self.pid = int(asking.recv(64))

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; negative where a signal ended it."""
        if self.returncode is None:
            if not select.select([self._asking], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int(self._asking.recv(64))
            self._asking.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class WarmSplice:
    """Starts commands. What they are forks of begins with the first, and ends with this process."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: IO[Any],
        stderr: IO[Any],
    ) -> Fork:
        """`python -m splice.cli.main …` in a session of its own, with nothing to read."""
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asking.connect(str(self._address()))
        wanted = {"arguments": [*arguments], "cwd": str(cwd), "env": {**env}, "script": False}
        with open(os.devnull, "rb") as nothing:
            streams = [one.fileno() for one in (nothing, stdout, stderr)]
            socket.send_fds(asking, [json.dumps(wanted).encode()], streams)
        return Fork(asking, [*arguments])

    def program(self, name: str) -> Path:
        """A program of this name, in a folder without others, for whoever has a shell run it."""
        address = self._address()
        file = address.with_name("bin") / name
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            file.write_text(_STUB.format(python=sys.executable, address=str(address)), "utf-8")
            file.chmod(0o755)
        return file

    def end(self) -> None:
        """End it; what it started is told nothing."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(_PATIENCE_S)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = self._process = None

    def _address(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="splice-warm-"))  # short: it has a socket
        address = self._folder / "socket"
        if self._process is None:
            own = {name: v for name, v in os.environ.items() if name != "PYTHONPATH"}
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, address], env=own, stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            give_up = time.monotonic() + _PATIENCE_S
            while not address.exists():
                assert self._process.poll() is None, "it ended before it began"
                assert time.monotonic() < give_up
                time.sleep(0.01)
        return address


# From here on: the process that has imported all, and its forks.


def main(address: str) -> None:
    """Fork for whoever asks, until standard input ends; in the fork, do what was asked."""
    for name in (MODULE, *ALSO):
        importlib.import_module(name)
    # Made anew for each command, it takes more time than most commands.
    typer.main.get_command = functools.cache(typer.main.get_command)
    words = importlib.import_module("splice.cli.tree")
    for word in ("", *words.WORDS):
        typer.main.get_command(words.tree(word))
    importlib.import_module("splice.app.plugins").names("ledgers")  # finds those of all groups
    gc.collect()
    gc.freeze()  # or each fork copies it all when it ends, to see what can be freed
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(address + ".new")
    listening.listen(64)
    woken, waking = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda _, __: None)
    signal.set_wakeup_fd(waking)
    os.rename(address + ".new", address)
    running: dict[int, socket.socket] = {}
    while True:
        ready = select.select([0, woken, listening], [], [])[0]
        if 0 in ready:
            return
        if woken in ready:
            os.read(woken, 4096)
            _tell_ends(running)
        if listening in ready:
            asking = listening.accept()[0]
            said, streams, _, _ = socket.recv_fds(asking, _MOST_BYTES, 3)
            if not said:  # it left
                asking.close()
            elif (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for one in (listening, asking, *running.values()):
                    one.close()
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                for descriptor in (*streams, woken, waking):
                    os.close(descriptor)
                return _become(**json.loads(said))
            else:
                for stream in streams:
                    os.close(stream)
                running[pid] = asking
                asking.send(str(pid).encode())


def _tell_ends(running: dict[int, socket.socket]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            asking = running.pop(pid)
            with contextlib.suppress(OSError):
                asking.send(str(os.waitstatus_to_exitcode(status)).encode())
            asking.close()


def _become(arguments: list[str], cwd: str, env: dict[str, str], script: bool) -> None:
    """Be that process, to its end."""
    os.chdir(cwd)
    if not script:
        os.setsid()
    paths = [one for one in env.get("PYTHONPATH", "").split(os.pathsep) if one]
    if _to_python(env) != _to_python(os.environ) or any(
        Path(one, "sitecustomize.py").exists() for one in paths
    ):
        os.execve(sys.executable, [sys.executable, "-m", MODULE, *arguments], env)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    if env.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    sys.path[:0] = paths if script else [cwd, *paths]
    sys.argv[:] = ["splice", *arguments]
    sys.modules["__main__"] = sys.modules[MODULE]
    sys.modules[MODULE].main()


def _to_python(env: Mapping[str, str]) -> dict[str, str]:
    """What Python reads before it runs anything, without what a fork can still obey."""
    obeyed = ("PYTHONPATH", "PYTHONUNBUFFERED")
    told = ("PYTHON", "LC_", "LANG")
    return {name: v for name, v in env.items() if name.startswith(told) and name not in obeyed}


if __name__ == "__main__":
    main(sys.argv[1])
