"""Other people's systems that tests speak to, each in a Python environment of its own.

`peers.d/NAME.in` says what is wanted, `peers.d/NAME.txt` pins all of it, so that nothing of theirs
meets `.venv`. To renew a pin, run the command in the head of the `.txt`, in that folder.

Everything is in `.services/NAME/`: `venv`, `log`, `ports`, and what the server keeps. A start
returns at once, and the rest goes on in the background: whoever needs a peer waits for it. What
runs carries a mark in its environment, so that what a killed run left behind is found again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".services"
PINS = Path(__file__).resolve().parent / "peers.d"
MARK = "SPLICE_PEER"
PATIENCE_S = 300  # a server that runs as long as this without an answer is started anew


class Peer:
    """A Python environment with one system's client in it, pinned."""

    script = __file__  # what runs in the background, with the name as its argument

    def __init__(self, name: str) -> None:
        self.name = name
        self.home = HOME / name
        self.python = self.home / "venv" / "bin" / "python"

    @property
    def env(self) -> dict[str, str]:
        """What tests read."""
        return {f"SPLICE_TEST_PEER_{self.name.upper()}": str(self.python)}

    def start(self) -> None:
        """Build it in the background, if it is not there as pinned."""
        with self._alone("starting"):
            if not self.ready() and not self._on_its_way():
                self._end()
                self._spawn()

    def stop(self) -> None:
        """End a build that is on its way; what is built stays."""
        self._end()
        (self.home / "started").unlink(missing_ok=True)

    def ready(self) -> bool:
        """Whether it can be used."""
        return self._built()

    def wait(self) -> str:
        """What is wrong with it, once it is clear; empty when it can be used."""
        while not self.ready():
            if not self._processes() and not self.ready():
                if not (self.home / "started").exists():
                    return f"{self.name} was not started"
                return f"{self.name} does not run ({self.home / 'log'}): {self._last_words()}"
            time.sleep(0.1)
        return ""

    def run(self) -> None:
        """Build it, in this process."""
        if not self._built():
            self._build()

    def _built(self) -> bool:
        return self.python.exists() and _text(self.home / "built") == self._pinned()

    def _on_its_way(self) -> bool:
        return _text(self.home / "started") == self._pinned() and bool(self._processes())

    def _pinned(self) -> str:
        return hashlib.sha256((PINS / f"{self.name}.txt").read_bytes()).hexdigest()

    def _build(self) -> None:
        uv = shutil.which("uv", path=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
        if uv is None:
            sys.exit("peers: no uv found. Run `make setup`.")
        (self.home / "built").unlink(missing_ok=True)
        venv = self.home / "venv"
        python = ROOT / ".venv" / "bin" / "python"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", python, venv], check=True)
        self._install(uv)
        (self.home / "built").write_text(self._pinned())

    def _install(self, uv: str) -> None:
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", self.python,
             "--requirement", PINS / f"{self.name}.txt"],
            check=True,
        )  # fmt: skip

    def _spawn(self) -> None:
        (self.home / "started").write_text(self._pinned())
        with (self.home / "log").open("wb") as log:
            subprocess.Popen(
                [sys.executable, self.script, self.name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.home,
                env=self._environment(), start_new_session=True,
            )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        # PYTHON…: an environment that keeps no bytecode doubles the time a server takes to start.
        left_out = ("PYTHON", "VIRTUAL_ENV", "SPLICE_", "MLFLOW_", "MLSERVER_")
        kept = {name: v for name, v in os.environ.items() if not name.startswith(left_out)}
        return kept | {MARK: str(self.home), "DO_NOT_TRACK": "true"}

    def _processes(self) -> list[int]:
        return [process for process, mark in marks().items() if mark == str(self.home)]

    def _end(self) -> None:
        # Killed, not asked: what they keep is thrown away, and asking takes seconds.
        while running := self._processes():
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)

    def _last_words(self) -> str:
        lines = _text(self.home / "log").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    @contextlib.contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / f"{what}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Installed(Peer):
    """A peer with this checkout installed in it: what runs there is our own command."""

    def _pinned(self) -> str:
        # Entry points are kept where it is installed: a new one wants a new build.
        return (
            super()._pinned() + hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
        )

    def _install(self, uv: str) -> None:
        super()._install(uv)
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", self.python, "--no-deps",
             "--editable", ROOT],
            check=True,
        )  # fmt: skip


class Server(Peer):
    """A server of a peer, on free ports of 127.0.0.1; it forgets everything at each start."""

    ports_wanted = 1
    health = "/"

    @property
    def url(self) -> str:
        """Where it answers over HTTP."""
        return f"http://127.0.0.1:{self.ports()[0]}"

    @property
    def env(self) -> dict[str, str]:
        """What tests read."""
        return {f"SPLICE_TEST_{self.name.upper()}": self.url}

    def ports(self) -> list[int]:
        """Its ports: chosen once, by the checkout's path, and kept while they can be had."""
        with self._alone("ports"):
            kept = self.home / "ports"
            chosen = [int(port) for port in _text(kept).split()]
            if not chosen or not (self._processes() or _all_free_soon(chosen)):
                chosen = free_ports(self.home, self.ports_wanted)
                kept.write_text(" ".join(map(str, chosen)))
            return chosen

    def start(self) -> None:
        """Start it in the background, if it does not run as pinned."""
        with self._alone("starting"):
            if not self._on_its_way() or self._stuck():
                self._end()
                self.ports()
                self._spawn()

    def _stuck(self) -> bool:
        if not self._built() or self.ready():
            return False
        since = max((self.home / name).stat().st_mtime for name in ("started", "built"))
        return time.time() - since > PATIENCE_S

    def ready(self) -> bool:
        """Whether it answers, and is ours."""
        if not self._processes():
            return False
        try:
            with urllib.request.urlopen(self.url + self.health, timeout=5) as answer:
                return answer.status == 200
        except OSError:  # also an answer that says no: URLError is one
            return False

    def run(self) -> None:
        """Build it, then become the server, with its mark."""
        super().run()
        command, extra = self.command()
        os.execve(command[0], command, self._environment() | extra)

    def command(self) -> tuple[list[str], dict[str, str]]:
        """What runs it, and what it reads from the environment."""
        raise NotImplementedError


class MLflow(Server):
    """The tracking server with its registry, on SQLite."""

    health = "/health"

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Two processes: without jobs, with one worker."""
        kept, template = self.home / "kept", self.home / f"empty-{self._pinned()[-16:]}.db"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        database = kept / "mlflow.db"
        if not template.exists():  # its migrations take seconds: once
            subprocess.run(
                [self.python, "-m", "mlflow", "db", "upgrade", f"sqlite:///{template}.new"],
                check=True, env=self._environment() | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            )  # fmt: skip
            Path(f"{template}.new").rename(template)
        shutil.copyfile(template, database)
        return [
            str(self.python), "-m", "mlflow", "server", "--host", "127.0.0.1",
            "--port", str(self.ports()[0]), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{database}",
            "--artifacts-destination", str(kept / "artifacts"),
        ], {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            # Our end of a webhook is on this machine and speaks plain HTTP.
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_CACHE_TTL": "0",
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "c3BsaWNlIHRlc3RzOiBub3QgYSBzZWNyZXQgYXQhISE=",
        }  # fmt: skip


class MLServer(Server):
    """Serves `order-risk` in two versions, over HTTP and gRPC: see peers.d/mlserver."""

    ports_wanted = 3
    health = "/v2/models/order-risk/ready"

    @property
    def env(self) -> dict[str, str]:
        """What tests read."""
        http, grpc, _ = self.ports()
        return {
            "SPLICE_TEST_MLSERVER_HTTP": f"http://127.0.0.1:{http}",
            "SPLICE_TEST_MLSERVER_GRPC": f"127.0.0.1:{grpc}",
        }

    def command(self) -> tuple[list[str], dict[str, str]]:
        """One process: without workers for inference."""
        models = self.home / "models"
        shutil.rmtree(models, ignore_errors=True)
        shutil.copytree(PINS / "mlserver", models)
        http, grpc, metrics = self.ports()
        settings = {
            "host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics,
            "parallel_workers": 0, "debug": False,
        }  # fmt: skip
        (models / "settings.json").write_text(json.dumps(settings))
        script = "from mlserver.cli import main; main()"
        return [str(self.python), "-c", script, "start", str(models)], {"PYTHONPATH": str(models)}


def marks() -> dict[int, str]:
    """The mark of each process that has one; the dead whom nobody reaps have no environment."""
    found: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            for variable in entry.read_bytes().split(b"\0"):
                if variable.startswith(f"{MARK}=".encode()):
                    found[int(entry.parent.name)] = variable.decode().partition("=")[2]
    return found


def free_ports(of: Path, wanted: int) -> list[int]:
    """Ports that nobody has, from where the folder's path says.

    They are below those that systems hand out for port 0, or a server that takes seconds to start
    would lose its port to any connection.
    """
    first = 20_000 + int(hashlib.sha256(str(of).encode()).hexdigest(), 16) % 10_000
    free = (port for port in range(first, 32_000) if _is_free(port))
    return [next(free) for _ in range(wanted)]


def _text(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text("utf-8", "replace")
    return ""


def _all_free_soon(ports: list[int]) -> bool:
    """Whether they are free, or are in a moment: those of a server that was just killed."""
    for _ in range(20):
        if all(map(_is_free, ports)):
            return True
        time.sleep(0.05)
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as asked:
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            asked.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


PEERS: dict[str, Peer] = {
    "mlflow": MLflow("mlflow"),
    "mlserver": MLServer("mlserver"),
    "kserve": Peer("kserve"),
    "kfp": Peer("kfp"),
    "ray": Installed("ray"),
}

if __name__ == "__main__":
    PEERS[sys.argv[1]].run()
