"""A project folder with the command line in it, run in this process; other people's systems."""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from copied_schema import CopiedSchema
from splice.adapters.ledgers import migrate
from splice.cli.main import main
from splice.testing.project import Project
from warm_splice import WarmSplice

WARM = WarmSplice()
SERVICES = Path(__file__).parents[1] / "scripts" / "services"

ORDERS = '''
from typing import Literal

import splice


class Order(splice.Request):
    customer: splice.Entity
    amount_eur: float
    items: int = 1
    note: str | None = None


class Screening(splice.Reply):
    risk: float
    action: Literal["ship", "review"]


def scorecard(context):
    return 0.9 if context["amount_eur"] > 500 else 0.1


class OrderScreening(splice.Integration):
    """Find the orders that will not be paid."""

    deadline = "200 ms"
    routes = [splice.Rule(scorecard)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score, "review" if prediction.score > 0.5 else "ship")
'''


class Ran(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


class Command:
    """The command line in one project folder."""

    def __init__(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.folder = folder
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.settings('[project]\nmodules = ["integrations"]\n')

    def settings(self, text: str) -> None:
        """Write splice.toml."""
        self.write("splice.toml", text)

    def write(self, path: str, text: str) -> Path:
        """Write a file of the project."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), "utf-8")
        return file

    def __call__(self, *arguments: str | Path) -> Ran:
        """Run `splice …` in the folder."""
        self._monkeypatch.chdir(self.folder)
        self._monkeypatch.setattr(sys, "argv", ["splice", *map(str, arguments)])
        self._capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err, err
        return Ran(code, out, err)


@pytest.fixture
def command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """An empty project; `command("check")` runs `splice check` in it."""
    path, environment = list(sys.path), dict(os.environ)
    folder = tmp_path / "project"
    folder.mkdir()
    yield Command(folder, capsys, monkeypatch)
    sys.path[:] = path
    os.environ.clear()  # `splice serve` hands its options to its workers there
    os.environ.update(environment)


@pytest.fixture
def orders(command: Command) -> Command:
    """A project with one integration of one rule, nothing applied yet."""
    command.write("integrations.py", ORDERS)
    return command


@pytest.fixture
def applied(orders: Command) -> Callable[[str], Ran]:
    """Writes the integration's source with a change, applies it; gives what the command said."""

    def apply(change: str = "") -> Ran:
        old, _, new = change.partition("=>")
        orders.write("integrations.py", ORDERS.replace(old, new) if old else ORDERS)
        return orders("release", "apply", "--yes")

    return apply


def pytest_configure() -> None:
    """What every test may rely on, however the tests were started."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what runs in its background, and what a test interrupts inherited it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Made anew for each command, it takes more time than most commands.
    typer.main.get_command = functools.cache(typer.main.get_command)
    Project.start = WARM.start
    migrate._upgrade = CopiedSchema(migrate._upgrade)


def pytest_unconfigure() -> None:
    """End what was started for all tests."""
    WARM.end()


@pytest.fixture(scope="session")
def warm_splice() -> WarmSplice:
    """Starts `splice …` as a process, without the wait for its imports."""
    return WARM


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes stays to the end: a million and a half objects, never walked again.

    Walking them takes a second, at which a worker would halt in the middle of whatever it tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


PEERS = {  # by fixture: the name that scripts/services knows
    "kafka": "kafka",
    "registry_url": "registry",
    "asyncapi_parser": "asyncapi",
    "chromium_at": "browser",
    "provider_script": "identity",
    "postgres_tls_programs": "postgres-tls",
    "mlflow_url": "mlflow",
    "mlserver": "mlserver",
    "kserve_python": "kserve",
    "kfp_python": "kfp",
    "ray_python": "ray",
}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start those peers that the chosen tests use: by the time of their turn they are ready."""
    used = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    wanted = [peer for fixture, peer in PEERS.items() if fixture in used]
    if wanted and not session.config.option.collectonly:
        start(*wanted)


def start(*peers: str) -> None:
    """Where scripts/test runs the tests, which ends the services; elsewhere that is up to you."""
    if "SPLICE_TEST_MLFLOW" in os.environ:
        subprocess.run([SERVICES, "start", *peers], capture_output=True, check=False)


def peer(name: str) -> list[str]:
    """Where a peer is, as soon as it can be used; skips the test if it cannot."""
    start(name)
    waited = subprocess.run([SERVICES, "wait", name], capture_output=True, text=True, check=False)
    if waited.returncode:
        pytest.skip(f"no {name} (scripts/services start {name}): {waited.stderr.strip()}")
    return [line.partition("=")[2] for line in waited.stdout.splitlines()]


class ChromiumAt(NamedTuple):
    """Where the browser is, and axe."""

    program: str
    axe: str


class MLServerAt(NamedTuple):
    """An MLServer that serves one model in the versions 1 and 2: see scripts/peers.d/mlserver."""

    http: str  # http://127.0.0.1:…
    grpc: str  # 127.0.0.1:…
    model: str = "order-risk"


@pytest.fixture(scope="session")
def kafka() -> str:
    """The bootstrap servers of a real Kafka; `tests/events` has topics in it, and own brokers."""
    return peer("kafka")[0]


@pytest.fixture(scope="session")
def registry_url() -> str:
    """A Schema Registry: give what you register in it a subject of its own."""
    return peer("registry")[0]


@pytest.fixture(scope="session")
def asyncapi_parser() -> str:
    """A script for Node that says what AsyncAPI's own parser makes of a document."""
    return peer("asyncapi")[0]


@pytest.fixture(scope="session")
def chromium_at() -> ChromiumAt:
    """A headless Chromium, and the script that checks pages in it for accessibility."""
    return ChromiumAt(*peer("browser"))


@pytest.fixture(scope="module")
def browser(chromium_at: ChromiumAt) -> Iterator[Any]:
    """A Chromium that runs, of Playwright's synchronous kind; it ends with the module."""
    from playwright.sync_api import sync_playwright  # not for those who need none

    flags = [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-dev-shm-usage", "--disable-background-networking",
        "--disable-component-update", "--disable-sync",
    ]  # fmt: skip
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium_at.program, args=flags, timeout=60_000
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def provider_script() -> str:
    """A script for Node that is a real OpenID provider: see scripts/peers.d/identity."""
    return peer("identity")[0]


@pytest.fixture(scope="session")
def postgres_tls_programs() -> str:
    """The folder of the programs of a PostgreSQL that was built with TLS."""
    return peer("postgres-tls")[0]


@pytest.fixture(scope="session")
def mlflow_url() -> str:
    """An MLflow server, empty when the tests began: give what you make in it a name of its own."""
    return peer("mlflow")[0]


@pytest.fixture(scope="session")
def mlserver() -> MLServerAt:
    """A server of the Open Inference Protocol that is not ours."""
    return MLServerAt(*peer("mlserver"))


@pytest.fixture(scope="session")
def kserve_python() -> str:
    """A Python with KServe's SDK: the tests of its clients run in it."""
    return peer("kserve")[0]


@pytest.fixture(scope="session")
def kfp_python() -> str:
    """A Python with Kubeflow Pipelines' SDK, which compiles and runs steps as processes."""
    return peer("kfp")[0]


@pytest.fixture(scope="session")
def ray_python() -> str:
    """A Python with Ray Data, and with this checkout installed."""
    return peer("ray")[0]


@pytest.fixture
def postgres_database() -> Iterator[str]:
    """The URL of an empty database on a real PostgreSQL; dropped after the test."""
    server = os.environ.get("SPLICE_TEST_POSTGRES")
    if not server:
        pytest.skip("no PostgreSQL: scripts/services start postgres")
    import psycopg  # only tests with PostgreSQL need it

    name = f"fresh_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.replace("/splice_test", f"/{name}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
