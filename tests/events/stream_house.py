"""A project whose events are answered by real processes, which tests kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from splice.app import wiring
from splice.app.settings import load
from splice.core.events import Event, Headers, Origin
from splice.testing.project import Project

DECLARED = '''
import os
import time

import splice


class Order(splice.Request):
    key: str
    number: int
    does: str = ""


class Answer(splice.Reply):
    key: str
    number: int


def rule(context):
    if context["does"] == "die":
        os.kill(os.getpid(), 9)
    if context["does"] == "linger":
        time.sleep(0.005)
    return float(context["number"])


class Orders(splice.Integration):
    """Answers with what it was asked."""

    routes = [splice.Rule(rule)]
    deadline = "20 s"

    def decide(self, order: Order, prediction: splice.Prediction) -> Answer:
        return Answer(order.key, order.number)
'''


def order(key: str, number: int, does: str = "") -> bytes:
    """The body of an event."""
    return json.dumps({"key": key, "number": number, "does": does}).encode()


def until(
    done: Callable[[], object], what: str, seconds: float = 300.0, pause_s: float = 0.02
) -> None:
    """Wait for something that comes to be; the time is only there to end a test that hangs."""
    limit = time.monotonic() + seconds
    while not done():
        if time.monotonic() > limit:
            raise AssertionError(f"never came to be: {what}")
        time.sleep(pause_s)


class Consume:
    """A running `splice consume`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / f"consume-{time.monotonic_ns()}.log"
        with self.log.open("wb") as out:
            self.process = Project.start(
                ["consume", *arguments], cwd=folder, env=os.environ, stdout=out, stderr=out
            )

    def ready(self, workers: int = 1) -> Consume:
        """Wait until so many workers consume."""
        until(
            lambda: self.text.count(" consumes\n") >= workers or self.process.poll() is not None,
            "workers that consume",
        )
        assert self.process.poll() is None, self.text
        return self

    @property
    def text(self) -> str:
        """What it said."""
        return self.log.read_text("utf-8", "replace")

    def workers(self) -> list[int]:
        """The processes that answer."""
        file = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in file.read_text().split()]

    def kill_worker(self) -> None:
        """kill -9 of one of them."""
        for pid in self.workers()[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class StreamProject(Project):
    """A project with one integration, `orders`, that consumes."""

    def __init__(self, folder: Path, toml: str) -> None:
        super().__init__(folder, toml)
        self.declare(DECLARED)
        done = self.run("release", "apply", "--yes")
        assert done.returncode == 0, done.stderr

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, seconds: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """The same, with patience for a busy machine."""
        return super().run(*command, env=env, seconds=seconds)

    @contextlib.contextmanager
    def stores(self) -> Iterator[wiring.Stores]:
        """The ledger."""
        stores = wiring.Stores(load(self.folder))
        try:
            yield stores
        finally:
            stores.close()

    def put(self, *events: tuple[bytes | None, bytes | None, Headers]) -> None:
        """Key, value and headers into the embedded queue."""
        made = [Event(Origin("", 0, 0), *one) for one in events]
        with self.stores() as stores:
            stores.queue.put("orders", made, now_us=time.time_ns() // 1000)

    def depth(self) -> int:
        """Events in the queue."""
        with self.stores() as stores:
            return stores.queue.depth("orders")

    def until_no_more_than(self, events: int) -> None:
        """Wait until no more than so many are in the queue."""
        with self.stores() as stores:
            until(lambda: stores.queue.depth("orders") <= events, "an emptier queue", pause_s=0.1)

    @contextlib.contextmanager
    def consume(self, *arguments: str, workers: int = 1) -> Iterator[Consume]:
        """`splice consume`, until the block ends."""
        running = Consume(self.folder, "--workers", str(workers), *arguments)
        try:
            yield running.ready(workers)
        finally:
            if running.process.poll() is None:
                running.process.send_signal(signal.SIGTERM)
                try:
                    running.process.wait(60)
                except subprocess.TimeoutExpired:
                    running.process.kill()


def wrong_order(answers: Sequence[tuple[str, int]]) -> list[str]:
    """What is not as promised: answers that are doubled, or out of the order of their keys."""
    wrong = [f"{one} came {n} times" for one, n in Counter(answers).items() if n > 1]
    last: dict[str, int] = {}
    for key, number in answers:
        if number < last.get(key, -1):
            wrong.append(f"{key}: {number} after {last[key]}")
        last[key] = number
    return wrong
