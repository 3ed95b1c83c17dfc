"""`splice batch --engine ray`: the same lines as the local engine gives, whatever is killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from splice.app.settings import load
from splice.app.wiring import Stores
from splice.core.errors import SpliceError
from splice.serve.batch import ray
from splice.serve.batch.asking import Answers, Todo

ROWS, BAD = 12_000, (7, 5_555)
PATIENCE_S = 300

IS_OLD = """
import asyncio
import os
import time


def is_old(file, order):
    wanted_s = order.amount_eur % 64 / 64  # they end one after the other
    return os.path.exists(file) and time.time() - os.path.getmtime(file) > wanted_s
"""
NOTED = """
    async def context(self, order: Order, look: splice.Lookup) -> dict:
        with open(f"asked-{{os.getpid()}}", "a") as asked:
            print(order.customer, file=asked)
        {meanwhile}
            await asyncio.sleep(0.03)
        return {{"amount_eur": order.amount_eur}}

    def decide"""


def declare(orders, meanwhile: str) -> None:
    """An integration that notes who is asked, and waits."""
    text = (orders.folder / "integrations.py").read_text()
    noted = NOTED.format(meanwhile=meanwhile).lstrip("\n")
    text = text.replace("    def decide", noted).replace("200 ms", "60 s")
    (orders.folder / "integrations.py").write_text(IS_OLD + text)


def write_orders(folder: Path, count: int, bad: Sequence[int] = ()) -> None:
    """Rows in `in.jsonl`; the amount is the number."""
    with (folder / "in.jsonl").open("w") as out:
        for n in range(count):
            order = {"customer": "" if n in bad else f"c{n}", "amount_eur": n}
            out.write(json.dumps(order) + "\n")


def asked_in(folder: Path) -> Counter[str]:
    """How often each customer was asked about."""
    return Counter(
        line for file in folder.glob("asked-*") for line in file.read_text().splitlines()
    )


class Running:
    """`splice batch` by Ray in a folder, and every process that belongs to it."""

    def __init__(self, python: str, folder: Path, home: Path) -> None:
        self.mark = f"SPLICE_TEST_RAY={uuid.uuid4().hex}"
        self.folder = folder
        name, _, value = self.mark.partition("=")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHON"))}
        self.process = subprocess.Popen(
            [python, "-m", "splice.cli.main", "batch", "order-screening", "in.jsonl",
             "-o", "out.jsonl", "--engine", "ray", "--workers", "2", "--json"],
            cwd=folder, env={**kept, name: value, "HOME": str(home)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def parts(self) -> int:
        """Parts that are there."""
        return len(list((self.folder / "out.jsonl.parts").glob("*.jsonl")))

    def until(self, happened: Callable[[], object]) -> None:
        """Wait for it, as long as the command runs."""
        give_up = time.monotonic() + PATIENCE_S
        while not happened():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def processes(self) -> dict[int, str]:
        """Those that live, and their names."""
        found: dict[int, str] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_text().split("\0")[0]
        return found

    def workers(self) -> list[int]:
        """The processes that answer rows."""
        return [pid for pid, name in self.processes().items() if name.startswith("ray::MapWorker")]

    def end(self) -> tuple[int, str, str]:
        """Its exit code, and what it said."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err

    def kill(self) -> None:
        """All that is left."""
        while left := self.processes():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self.process.communicate()


@pytest.fixture
def by_ray(ray_python: str, tmp_path: Path) -> Iterator[Callable[[Path], Running]]:
    """Starts the command in a folder."""
    started: list[Running] = []
    home = tmp_path / "home"
    home.mkdir()

    def start(folder: Path) -> Running:
        started.append(Running(ray_python, folder, home))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def listened(pids: set[int]) -> set[str]:
    """The addresses that processes listen on, as the kernel writes them."""
    sockets: set[str] = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(file))
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                found.add(local.partition(":")[0])
    return found


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.mark.peers
def test_whatever_ends_a_run_its_lines_are_those_of_the_local_engine(
    orders, by_ray, tmp_path: Path
) -> None:
    declare(orders, "if True:")
    write_orders(orders.folder, ROWS, BAD)
    orders("release", "apply", "-y")
    orders("stop", "order-screening", "--why", "so that both engines do the same job")
    local = ("batch", "order-screening", "in.jsonl", "-o", "out.jsonl", "--json")
    assert orders(*local).code == 1
    folder = tmp_path / "by-ray"
    shutil.copytree(orders.folder, folder)
    orders("start", "order-screening")
    assert orders(*local).json["answered"] == ROWS - len(BAD)

    own, orders.folder = orders.folder, folder
    orders("start", "order-screening")
    killed = by_ray(folder)
    killed.until(lambda: killed.parts() >= 1)
    addresses = listened(set(killed.processes()))
    lost = killed.workers()[0]
    os.kill(lost, signal.SIGKILL)
    killed.until(lambda: len({*killed.workers()} - {lost}) == 2)
    begun = killed.parts()
    killed.until(lambda: killed.parts() > begun)
    os.kill(killed.process.pid, signal.SIGKILL)
    left = killed.parts()
    assert left < ROWS // 1000
    assert addresses
    assert addresses <= LOOPBACK

    last = by_ray(folder)
    code, out, said = last.end()

    assert code == 0, said
    ended = json.loads(out)
    assert (ended["rows"], ended["invalid"]) == (ROWS, len(BAD))
    assert ended["resumed"] >= 1000 * left
    assert (folder / "out.jsonl").read_bytes() == (own / "out.jsonl").read_bytes()
    assert not list(folder.glob("*.parts"))
    assert not (tmp_path / "home" / ".ray").exists()
    stores = Stores(load(folder))
    assert stores.records.count() == ROWS - len(BAD)
    stores.close()
    # Asked again were at most those that ran, or were not yet in the ledger, at the two kills.
    asked = asked_in(folder)
    assert len(asked) == ROWS - len(BAD)
    assert set(asked.values()) <= {1, 2}
    assert sum(asked.values()) - len(asked) <= 3 * 1000


def test_what_ray_cannot_do_is_refused_before_the_first_call(orders) -> None:
    text = (orders.folder / "integrations.py").read_text()
    budget = '    budget = splice.Spend("EUR 50")\n    deadline'
    (orders.folder / "integrations.py").write_text(text.replace("    deadline", budget))
    assert orders("release", "apply", "-y").code == 0
    orders.write("in.csv", "customer,amount_eur\nc1,1\n")
    command = ("batch", "order-screening", "in.csv", "-o", "out.csv")

    said = {
        arguments: orders(*command, *arguments)
        for arguments in (
            ("--workers", "2"),
            ("--engine", "ray", "--workers", "2"),
            ("--engine", "ray", "--workers", "1"),
            ("--engine", "ray", "--offline"),
        )
    }

    assert {ran.code for ran in said.values()} == {2}
    alone, shared, missing, offline = (ran.err for ran in said.values())
    assert "Add --engine ray" in alone
    assert "budgets in the memory of each worker" in shared
    assert "splice-ai[ray]" in missing
    assert "--offline: got --engine ray" in offline
    assert orders("calls", "list", "--json").json == []


def end_loop(worker: ray._Asked) -> None:
    """What the end of its process would do."""
    worker._loop.call_soon_threadsafe(worker._loop.stop)
    worker._thread.join()
    worker._loop.close()


class HereAlone(ray.RayAsking):
    """Ray's part done by this process: one worker, which is the real one."""

    def __init__(self, parts: Path, opened: ray.Opened) -> None:
        self._parts = parts
        self._opened = opened

    def _start(self) -> None:
        (self._parts / "workers").touch()
        self._worker = ray._Asked(self._opened, str(Path.cwd()), str(self._parts))

    def _round(self, count: int) -> Iterator[ray._Found]:
        for number in range(count):
            asked = {"file": [str(self._file(number))]}
            yield ray._found(self._worker(asked)["found"][0])

    def _stop(self) -> None:
        self.left = self._worker._worker._app.engine.in_flight  # Ray would end it here
        self._worker._wait(self._worker._worker._app.stop())
        end_loop(self._worker)


@pytest.fixture
def here(orders, monkeypatch) -> list[HereAlone]:
    """Let `--engine ray` be a `HereAlone`, which is added to this list; rows from 1000 on wait."""
    declare(orders, "while order.amount_eur >= 1000 and not is_old('go', order):")
    write_orders(orders.folder, 2500)
    orders("release", "apply", "-y")
    made: list[HereAlone] = []

    def here_alone(parts: Path, opened: ray.Opened, workers: int) -> HereAlone:
        made.append(HereAlone(parts, opened))
        return made[-1]

    monkeypatch.setattr(ray, "RayAsking", here_alone)
    return made


def stop(orders, worker) -> None:
    """An operator's stop, seen by the worker."""
    subprocess.run(
        [sys.executable, "-m", "splice.cli.main", "stop", "order-screening", "--why", "x"],
        cwd=orders.folder, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while not worker._app.engine.lines["order-screening"].stopped:
        time.sleep(0.01)


def interrupt(orders, worker) -> None:
    """Ctrl-C, seen by the worker."""
    os.kill(os.getpid(), signal.SIGINT)
    while not worker._asking.ending:
        time.sleep(0.01)


@pytest.mark.parametrize(("end", "said"), [(stop, "switched off: x"), (interrupt, "")])
def test_a_run_that_is_ended_lets_its_calls_end_and_the_other_engine_goes_on(
    orders, here: list[HereAlone], end: Callable, said: str
) -> None:
    command = ("batch", "order-screening", "in.jsonl", "-o", "out.jsonl", "--json")

    def watch() -> None:
        while not list((orders.folder / "out.jsonl.parts").glob("*.jsonl")):
            time.sleep(0.01)
        while len(asked_in(orders.folder)) < 1064:  # as many as are asked at once
            time.sleep(0.01)
        end(orders, here[0]._worker._worker)
        (orders.folder / "go").touch()

    watching = threading.Thread(target=watch)
    watching.start()
    ran = orders(*command, "--engine", "ray", "--workers", "1")
    watching.join()

    assert ran.code != 0
    assert said in ran.err
    assert here[0].left == 0
    assert len(asked_in(orders.folder)) == 1064
    orders("start", "order-screening")
    last = orders(*command)
    assert (last.json["rows"], last.json["answered"], last.json["resumed"]) == (2500, 2500, 1064)
    asked = asked_in(orders.folder)
    assert set(asked.values()) == {1}


class Lost:
    """A worker that never answers."""

    async def ask(self, todo: list[Todo]) -> Answers:
        raise OSError("gone")

    async def end(self) -> None:
        """Nothing runs."""


def test_a_chunk_that_kills_its_workers_is_given_up(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workers").touch()
    (tmp_path / "00000.todo").write_bytes(b"\x90")

    async def lost() -> Lost:
        return Lost()

    worker = ray._Asked(lost, str(tmp_path), str(tmp_path))
    for _ in range(4):
        with pytest.raises(OSError, match="gone"):
            worker({"file": [str(tmp_path / "00000.todo")]})
    (found,) = worker({"file": [str(tmp_path / "00000.todo")]})["found"]
    end_loop(worker)

    with pytest.raises(SpliceError, match="died 4 times"):
        ray._answers(ray._found(found), 1.0)
