"""What a subject of the benchmark of serving is: how it is started, asked and read."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
JSON_HEADERS = {"Content-Type": "application/json"}

Row = Sequence[float]


@dataclass(frozen=True)
class Bench:
    """Where the benchmark keeps what it makes, and what every subject serves."""

    cache: Path
    """Environments, the model, and each subject's working directory; git ignores it."""
    model: Path
    """The ONNX file."""
    port: int
    """The port of the subject's server on 127.0.0.1."""
    variant: str
    """Which of the subject's variants to prepare."""
    python: Path
    """The interpreter of the subject's environment."""
    models: int = 1
    """How many models to serve, each with a session, a name and a path of its own."""

    def place(self, subject: str) -> Path:
        """A fresh working directory for `subject`, with the model in it as `model.onnx`."""
        place = self.cache / "places" / f"{subject}-{self.variant}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        shutil.copyfile(self.model, place / "model.onnx")
        return place


@dataclass(frozen=True)
class Command:
    """One prepared server: how to start it, ask it and read its answer."""

    argv: Sequence[str]
    cwd: Path
    paths: Sequence[str]
    """Where each model is asked."""
    make_body: Callable[[Row], bytes]
    read_probability: Callable[[bytes], float]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=lambda: dict(JSON_HEADERS))
    check_after: Callable[[int], None] | None = None
    """Called once the server has ended, with the number of answers it gave at least;
    raises if what it promised beside the answers (a record of each) is not there."""

    def lines(self, rows: Sequence[Row]) -> list[bytes]:
        """What the load script sends in turn: every row to one model after the other."""
        bodies = [self.make_body(row) for row in rows]
        if len(self.paths) == 1:
            return bodies
        return [path.encode() + b"\t" + body for body in bodies for path in self.paths]


class Subject:
    """One subject: the module `serve.subject_NAME` with VARIANTS, NEEDS, PACKAGES and prepare."""

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name = name
        self.variants: Mapping[str, str] = module.VARIANTS
        """Each variant and what it is; the first is the one that is compared."""
        self.needs: str | None = module.NEEDS
        """The environment it runs in; None: the interpreter that runs the benchmark."""
        self.packages: tuple[str, ...] = module.PACKAGES
        """The packages whose versions are told beside the figures."""
        self.prepare: Callable[[Bench], Command] = module.prepare


def numbered(name: str, models: int) -> list[str]:
    """A name for each model; the first is `name` itself."""
    return [name, *(f"{name}-{number}" for number in range(2, models + 1))]


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def features_body(row: Row) -> bytes:
    """The row as `{"features": [...]}`."""
    return json.dumps({"features": list(row)}, separators=(",", ":")).encode()


def probability_field(body: bytes) -> float:
    """The number in `{"probability": ...}`."""
    return float(json.loads(body)["probability"])


def uvicorn_argv(python: Path, app: str, port: int) -> list[str]:
    """The command of uvicorn with one worker, uvloop and httptools, and no access log."""
    options = f"--host 127.0.0.1 --port {port} --workers 1 --loop uvloop --http httptools"
    quiet = "--no-access-log --log-level warning"
    return [str(python), "-m", "uvicorn", app, *options.split(), *quiet.split()]


def own_python() -> Path:
    """The interpreter that runs the benchmark."""
    return Path(sys.executable)
