"""A small project on disk, and its server as a process of its own.

    project = Project(tmp_path)
    project.declare(INTEGRATIONS)
    with project.serve(workers=2) as server:
        answer = server.post("/v1/integrations/orders/calls", {"customer": "c", "amount": 5})

What is tested this way is what users run: the command line, the settings, the sockets, the signals.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Protocol, Self

import msgspec

_WORKER = re.compile(r"^worker \d+ answers$", re.M)
_READY = re.compile(r"(?:ready|listening) on https?://([\d.]+):(\d+)")
_START_SECONDS = 60.0  # a generous bound for a loaded machine; a start takes about a second


class Answer(msgspec.Struct, frozen=True):
    """What came back over HTTP; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


class Connection:
    """One kept-alive HTTP connection; not for several threads at once."""

    def __init__(
        self, host: str, port: int, seconds: float = 30.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._http = http.client.HTTPConnection(host, port, timeout=seconds)
        if tls is not None:
            self._http = http.client.HTTPSConnection(host, port, timeout=seconds, context=tls)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,  # bytes go as they are, anything else as JSON
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends one request and reads its answer; opens the connection anew if it was closed."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        sent = {"content-type": "application/json"} if body is not None else {}
        try:
            self._http.request(method, path, body, {**sent, **(headers or {})})
            response = self._http.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        except BaseException:
            self._http.close()
            raise

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """A POST; header names are written with underscores."""
        return self.ask("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})

    def get(self, path: str) -> Answer:
        """A GET."""
        return self.ask("GET", path)

    def close(self) -> None:
        """Close it."""
        self._http.close()


class Running(Protocol):
    """A process, as `subprocess.Popen` has it."""

    pid: int
    returncode: int | Any  # None while it runs

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; subprocess.TimeoutExpired where it does not end in time."""
        ...

    def send_signal(self, sig: int, /) -> None:
        """Send it, if it still runs."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...


Start = Callable[..., Running]
"""Starts `splice …`: its arguments; by name `cwd`, `env`, `stdout`, `stderr`. In a new session."""


class Server:
    """A running `splice serve`. Its whole process group ends with the `with` block.

    With `tls`, what its clients trust and show, it is asked over TLS. All its workers answer.
    """

    def __init__(
        self, process: Running, log: Path, tls: ssl.SSLContext | None = None, workers: int = 1
    ) -> None:
        self.process = process
        self.tls = tls
        self._log = log
        self.host, self.port = self._address()
        if workers > 1:  # one that loads late would load what a test has changed meanwhile
            self._until(lambda: len(_WORKER.findall(self.log)) >= workers)

    @property
    def log(self) -> str:
        """What it wrote to standard error so far."""
        return self._log.read_text("utf-8", "replace")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'http' if self.tls is None else 'https'}://{self.host}:{self.port}"

    def _address(self) -> tuple[str, int]:
        found = self._until(lambda: _READY.search(self.log))
        host, port = found[1], int(found[2])

        def answers() -> bool:
            probe = Connection(host, port, tls=self.tls)
            try:
                return probe.get("/healthz").status == 200
            except OSError:
                return False
            finally:
                probe.close()

        self._until(answers)
        return host, port

    def _until(self, found: Any) -> Any:
        give_up = time.monotonic() + _START_SECONDS
        while time.monotonic() < give_up and self.process.poll() is None:
            if value := found():
                return value
            time.sleep(0.02)
        text = self.log
        self.kill()
        raise RuntimeError(f"the server did not start:\n{text}")

    def connection(self, seconds: float = 30.0) -> Connection:
        """A new connection."""
        return Connection(self.host, self.port, seconds, self.tls)

    def socket(self, seconds: float = 30.0) -> socket.socket:
        """A bare socket, for requests that no client library would send."""
        return socket.create_connection((self.host, self.port), timeout=seconds)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; header names are written with underscores."""
        one = self.connection()
        try:
            named = {k.replace("_", "-"): v for k, v in headers.items()}
            return one.ask(method, path, body, named)
        finally:
            one.close()

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """A POST on a connection of its own."""
        return self.ask("POST", path, body, **headers)

    def get(self, path: str) -> Answer:
        """A GET on a connection of its own."""
        return self.ask("GET", path)

    def until_it_drains(self) -> None:
        """Return once it takes no new calls: several workers then leave connections unanswered."""
        ready = True
        while ready and self.process.poll() is None:
            probe = self.connection(2.0)
            try:
                ready = probe.get("/readyz").status == 200
            except (OSError, http.client.HTTPException):
                ready = False
            finally:
                probe.close()

    def pids(self) -> list[int]:
        """The server process and its workers."""
        found = [self.process.pid]
        for one in found:
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                found.extend(int(pid) for pid in children.read_text().split())
        return found

    def memory(self) -> int:
        """Bytes that the server and its workers hold in memory, without those of files (Linux)."""
        counts = [Path(f"/proc/{pid}/statm").read_text().split() for pid in self.pids()]
        pages = sum(int(resident) - int(of_files) for _, resident, of_files, *_ in counts)
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self, seconds: float = 60.0) -> int:
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL to the server and all its workers at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is not None:
            sys.stderr.write(self.log[-4000:])
        self.kill()


def _start(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: IO[Any], stderr: IO[Any]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own command line
        [*_SPLICE, *arguments], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
        stdout=stdout, stderr=stderr, start_new_session=True,
    )  # fmt: skip


class Project:
    """A folder with splice.toml and declarations.

    Args:
        folder: An empty folder.
        toml: Text of splice.toml; the port is always a free one.
    """

    start: ClassVar[Start] = staticmethod(_start)
    """How its commands are started: whoever starts many may know a quicker way."""

    def __init__(self, folder: Path, toml: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "splice.toml").write_text(toml, "utf-8")

    def declare(self, source: str, module: str = "integrations") -> None:
        """Write the declarations."""
        (self.folder / f"{module}.py").write_text(source, "utf-8")

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run `splice …` in the project until it ends."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = self.start(
                command, cwd=self.folder, env=_environment(env), stdout=out, stderr=err
            )
            try:
                code = process.wait(seconds)
            except BaseException:
                process.kill()
                raise
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, code, out.read(), err.read())

    def serve(
        self,
        *,
        workers: int = 1,
        port: int = 0,
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> Server:
        """Start `splice serve` and wait until it answers.

        Args:
            workers: Worker processes.
            port: Port; 0 takes a free one.
            env: Variables besides those of this process.
            tls: What its clients trust, and the certificate that they show, where it has TLS.
            before: A command that starts it: `("sh", "-c", 'ulimit -f 100; exec "$@"', "sh")`.
        """
        descriptor, name = tempfile.mkstemp(prefix="serve-", suffix=".log", dir=self.folder)
        serve = ["serve", "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        with open(descriptor, "wb") as log:
            if before:
                process = subprocess.Popen(  # noqa: S603 - our own command line
                    [*before, *_SPLICE, *serve], cwd=self.folder, env=_environment(env),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            else:
                process = self.start(
                    serve, cwd=self.folder, env=_environment(env), stdout=log, stderr=log
                )
        return Server(process, Path(name), tls, workers)


_SPLICE = (sys.executable, "-m", "splice.cli.main")


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    inherited = os.environ  # noqa: TID251 - a child process has its parent's environment
    return {**inherited, **(more or {})}
