"""Pools under a real server: crashes, kills, releases, and what the metrics say of them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import moods
import pytest
from pools_house import GENEROUS, adder, lives, pickled

from splice.adapters.runtimes.onnx import OnnxRuntime
from splice.app.application import App
from splice.app.registering import by_hand
from splice.app.settings import load
from splice.app.wiring import Stores, registry_of
from splice.control.registry import Registration
from splice.engine.compile import Compiler
from splice.ports.predictor import Question
from splice.testing.project import Project, Server

DECLARED = '''
import splice


class Order(splice.Request):
    mood: float
    value: float


class Screening(splice.Reply):
    value: float


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    deadline = "4 s"
    routes = [
        splice.Model("orders", features=("mood", "value"), timeout="1 s"),
        splice.Rule(lambda _: -1.0),
    ]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.value)
'''
TOML = '[project]\napply = "new"\n[ledger]\nflush_interval_ms = 5\n'
ATTEMPTS = 'splice_attempts_total{integration="orders",route="model:orders",'
PATH = "/v1/integrations/orders/calls"


def project_of(folder: Path, toml: str) -> Project:
    project = Project(folder, TOML + toml)
    project.declare(DECLARED)
    return project


def applied(project: Project, *more: str) -> None:
    ran = project.run("release", "apply", "--yes", *more)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture
def plain(tmp_path: Path) -> Project:
    """An ONNX model in a pool of two processes."""
    project = project_of(tmp_path / "p", "[pools.orders]\nprocesses = 2\n")
    (project.folder / "models").mkdir()
    adder(project.folder / "models/orders.onnx")
    return project


@pytest.fixture
def moody(tmp_path: Path) -> Project:
    """A pickled model that misbehaves on request."""
    toml = "[models]\nallow_pickle = true\n[pools.orders]\nprocesses = 2\nmemory_mb = 400\n"
    project = project_of(tmp_path / "p", toml)
    shutil.copy(moods.__file__, project.folder)
    register(project)
    return project


def register(project: Project) -> None:
    """Registers the pickled model, as `splice models add --unsafe-pickle` does."""
    settings = load(project.folder)
    stores = Stores(settings)
    try:
        registry_of(settings, stores).register_as(
            "orders", pickled(project.folder / "orders.pkl", moods.Moody()), "pickle",
            by_hand(("mood", "value"), ()), now_us=1, said=Registration(aliases=("champion",)),
        )  # fmt: skip
    finally:
        stores.close()


def ask(server: Server, mood: int, value: float = 1.0) -> tuple[int, float | None]:
    answer = server.post(PATH, {"mood": mood, "value": value})
    return answer.status, answer.json.get("reply", {}).get("value")


def workers(server: Server) -> set[int]:
    """The worker processes of pools."""

    def is_one(pid: int) -> bool:
        try:
            return b"splice.adapters.pools.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    return {pid for pid in server.pids() if is_one(pid)}


def metric(server: Server, line: str) -> float:
    found = re.search(rf"^{re.escape(line)} (\S+)$", server.get("/metrics").body.decode(), re.M)
    return float(found[1]) if found else 0.0


def until(true: Callable[[], Any]) -> Any:
    give_up = time.monotonic() + GENEROUS
    while time.monotonic() < give_up:
        if value := true():
            return value
        time.sleep(0.02)
    raise AssertionError(f"never came true: {true}")


def test_a_model_answers_from_its_pool_and_no_process_outlives_a_killed_server(
    plain: Project,
) -> None:
    with plain.serve() as server:
        until(lambda: metric(server, 'splice_pool_processes{model="orders"}') == 2)
        pids = workers(server)

        assert ask(server, 2, 3) == (200, 5.0)
        assert len(pids) == 2
        server.process.send_signal(signal.SIGKILL)

        until(lambda: not any(map(lives, pids)))


def test_a_process_stuck_in_its_model_does_not_outlive_a_killed_server(moody: Project) -> None:
    with moody.serve() as server, ThreadPoolExecutor(1) as caller:
        until(lambda: ask(server, moods.CALM, 5) == (200, 5.0))
        pids = workers(server)
        stuck = caller.submit(ask, server, moods.HANG)
        until(lambda: metric(server, "splice_calls_in_flight") == 1)

        server.process.send_signal(signal.SIGKILL)

        until(lambda: not any(map(lives, pids)))
        assert isinstance(stuck.exception(), OSError)


def test_a_stop_ends_the_pool(plain: Project) -> None:
    with plain.serve() as server:
        pids = until(lambda: workers(server))

        assert server.stop() == 0

        assert not any(map(lives, pids))


def test_releases_of_the_same_bytes_share_a_pool_and_a_rollback_closes_the_other(
    plain: Project,
) -> None:
    with plain.serve() as server:
        first = until(lambda: len(found := workers(server)) == 2 and found)

        plain.declare(DECLARED.replace("will not be paid", "will not be paid in time"))
        applied(plain)
        until(lambda: metric(server, 'splice_release{integration="orders"}') == 2)
        assert ask(server, 2, 3) == (200, 5.0)
        assert workers(server) == first

        adder(plain.folder / "models/orders.onnx", 10, 1)
        applied(plain)
        until(lambda: ask(server, 2, 3) == (200, 23.0))
        second = until(lambda: len(found := workers(server) - first) == 2 and found)
        until(lambda: not any(map(lives, first)))

        ran = plain.run("release", "rollback", "orders", "--to", "2", "--why", "test", "--yes")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        until(lambda: ask(server, 2, 3) == (200, 5.0))
        until(lambda: not any(map(lives, second)))
        until(lambda: metric(server, 'splice_pool_processes{model="orders"}') == 2)
        assert "splice_pool_restarts_total{" not in server.get("/metrics").body.decode()


def test_calls_over_crashing_processes_are_all_answered_by_one_route_or_the_other(
    moody: Project,
) -> None:
    bad = {moods.EXIT: 17, moods.SEGFAULT: 43, moods.NAN: 29, moods.LEAK: 101, moods.HANG: 151}
    moods_of = dict.fromkeys(range(200), moods.CALM) | {i: mood for mood, i in bad.items()}
    with moody.serve() as server, ThreadPoolExecutor(32) as callers:
        until(lambda: metric(server, 'splice_pool_processes{model="orders"}') == 2)

        def call(i: int) -> tuple[tuple[int, float | None], float]:
            began = time.monotonic()
            return ask(server, moods_of[i], i), time.monotonic() - began

        ended = list(callers.map(call, range(200)))

        assert {status for (status, _), _ in ended} == {200}
        assert all(value in (i, -1.0) for i, ((_, value), _) in enumerate(ended))
        assert all(ended[i][0][1] == -1.0 for i in bad.values())
        assert max(took for _, took in ended) < 5.0  # the deadline is 4 s
        by_model = sum(value != -1.0 for (_, value), _ in ended)
        assert by_model > 20
        assert metric(server, ATTEMPTS + 'ended="answered"}') == by_model
        until(lambda: metric(server, 'splice_pool_processes{model="orders"}') == 2)
        until(lambda: ask(server, moods.CALM, 5) == (200, 5.0))
        restarts = 'splice_pool_restarts_total{model="orders",reason='
        assert metric(server, f'{restarts}"crashed"}}') > 0
        assert ask(server, moods.HANG, 5) == (200, -1.0)
        until(lambda: metric(server, f'{restarts}"timeout"}}') > 0)
        assert not metric(server, f'{restarts}"start"}}')


def test_nan_of_a_model_goes_to_the_next_route(moody: Project) -> None:
    with moody.serve() as server:
        until(lambda: ask(server, moods.CALM, 5) == (200, 5.0))

        assert ask(server, moods.NAN) == (200, -1.0)

        assert metric(server, ATTEMPTS + 'ended="bad_answer"}') == 1


def test_a_model_finds_no_secret_of_its_server(moody: Project) -> None:
    secrets = {"SPLICE_TOKEN": moods.SECRET, "AWS_SECRET_ACCESS_KEY": moods.SECRET}

    with moody.serve(env=secrets) as server:
        until(lambda: ask(server, moods.CALM, 5) == (200, 5.0))

        assert ask(server, moods.LOOK) == (200, 0.0)


async def test_a_pickle_gets_a_pool_by_itself(moody: Project) -> None:
    (moody.folder / "splice.toml").write_text(TOML + "[models]\nallow_pickle = true\n")

    async with App(project=moody.folder) as app:
        answered = await app.ask("orders", {"mood": moods.CALM, "value": 5})

    assert [one.version for one in answered.record.attempts] == ["orders@1"]


async def test_without_consent_a_pickle_is_not_loaded_and_the_route_says_why(
    moody: Project,
) -> None:
    (moody.folder / "splice.toml").write_text(TOML + "[pools.orders]\nprocesses = 1\n")

    async with App(project=moody.folder) as app:
        answered = await app.ask("orders", {"mood": moods.CALM, "value": 5})

    model, rule = answered.record.attempts
    assert (model.ended, rule.ended) == ("model_unavailable", "answered")
    assert "models.allow_pickle = true" in model.why


@pytest.mark.parametrize(("toml", "more"), [("", 0), ("[models.threads_of]\norders = 4\n", 3)])
async def test_a_model_in_the_server_has_the_threads_of_its_setting(
    plain: Project, toml: str, more: int
) -> None:
    (plain.folder / "splice.toml").write_text(TOML + toml)

    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    async with App(project=plain.folder) as app:
        services = app.services
        route = app.engine.lines["orders"].release.manifest.routes[0]
        other = Compiler(
            services.stores.models, {"onnx": OnnxRuntime()}, {}, services.compiler._machine
        )
        before = threads()
        model = other.model(route)

        assert threads() - before == more
        assert await model.predict(Question("1", {"mood": 2.0, "value": 3.0}, GENEROUS)) is not None
