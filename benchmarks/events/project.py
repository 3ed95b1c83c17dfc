"""The project that Splice runs: one integration with the ONNX model as its route."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

from events.cluster import Arrived
from events.subjects import Load, Wiring
from serve.subject import own_python
from splice.adapters.ledgers.sql import open_ledger
from splice.core.events import Event, Origin

NAME = "screening"
LEDGER = Path(".splice") / "ledger.db"
DECISIONS = "decisions"
AT_ONCE = 1000
"""Events that are published in one transaction."""
DECLARATION = '''\
"""What the benchmark of events answers."""

from typing import Annotated, Literal

import msgspec
import splice


class Merchant(msgspec.Struct):
    """Who is paid."""

    id: str
    name: str
    category: str
    city: str


class Device(msgspec.Struct):
    """What it was paid with."""

    agent: str
    address: str
    session: str


class Payment(splice.Request):
    """One event."""

    id: str
    at: str
    card: str
    amount_eur: Annotated[float, msgspec.Meta(gt=0)]
    currency: Literal["EUR", "CHF"]
    country: Annotated[str, msgspec.Meta(min_length=2, max_length=2)]
    merchant: Merchant
    device: Device
    note: str
    features: Annotated[list[float], msgspec.Meta(min_length=30, max_length=30)]


class Decision(splice.Reply):
    """What to do with it."""

    id: str
    probability: float
    action: Literal["approve", "review", "block"]


class Screening(splice.Integration):
    """Stop card fraud before a payment is authorised."""

    name = "screening"
    routes = [splice.Model("screening")]

    def context(self, payment: Payment, look: splice.Lookup) -> dict:
        """What the model sees."""
        return {"features": payment.features}

    def decide(self, payment: Payment, prediction: splice.Prediction) -> Decision:
        """What to do at so high a probability of fraud."""
        p = prediction.score
        action = "block" if p > 0.9 else "review" if p > 0.6 else "approve"
        return Decision(payment.id, p, action)
'''
ON_KAFKA = """\
[project]
modules = ["screening"]

[kafka]
servers = "{wiring.servers}"

[consume.screening]
source = "kafka:{wiring.source}"
targets = ["kafka:{wiring.target}"]
group = "{wiring.group}"
exactly_once = {exactly_once}
reply_format = "json"
"""
ON_QUEUE = """\
[project]
modules = ["screening"]

[consume.screening]
targets = ["table:decisions"]
max_batch = {load.batch}
workers = {load.workers}
"""
CONSUME = (str(own_python().parent / "splice"), "consume", NAME)


def on_kafka(place: Path, variant: str, wiring: Wiring, model: Path) -> None:
    """Make the project that reads from Kafka and writes to it."""
    exactly_once = "true" if variant == "exactly-once" else "false"
    _make(place, ON_KAFKA.format(wiring=wiring, exactly_once=exactly_once), model)


def on_queue(place: Path, load: Load, model: Path) -> None:
    """Make the project that reads from its own queue, which is empty."""
    _make(place, ON_QUEUE.format(load=load), model)


@contextmanager
def publishing(place: Path) -> Generator[Callable[[Iterable[tuple[bytes, bytes]]], int]]:
    """What puts keys and events into the project's queue, and says how many those were."""
    here = Origin(f"queue:{NAME}", 0, 0)
    ledger = open_ledger(f"sqlite:///{place / LEDGER}", place / ".splice" / "blobs")

    def put(events: Iterable[tuple[bytes, bytes]]) -> int:
        rest, count = iter(events), 0
        while some := [Event(here, key, value) for key, value in islice(rest, AT_ONCE)]:
            ledger.queue.put(NAME, some, now_us=time.time_ns() // 1000)
            count += len(some)
        return count

    try:
        yield put
    finally:
        ledger.close()


def command(place: Path, *arguments: str) -> str:
    """What a command of Splice in the project said.

    Raises:
        RuntimeError: It did not work.
    """
    argv = [CONSUME[0], *arguments]
    done = subprocess.run(argv, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"splice {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


def one_number(place: Path, sql: str) -> int:
    """What a query of the project's ledger gives; 0 where its table is not there yet, or empty."""
    with closing(sqlite3.connect(f"file:{place / LEDGER}?mode=ro", uri=True, timeout=60)) as ledger:
        try:
            found: int = ledger.execute(sql).fetchone()[0] or 0
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return 0
            raise
    return found


def decisions(place: Path) -> Arrived:
    """The table of decisions, and when each was stored."""
    with closing(sqlite3.connect(f"file:{place / LEDGER}?mode=ro", uri=True)) as ledger:
        rows = ledger.execute(f"SELECT value, at_us FROM {DECISIONS}").fetchall()
    return Arrived(
        [bytes(value) if isinstance(value, bytes) else str(value).encode() for value, _ in rows],
        [at_us // 1000 for _, at_us in rows],
    )


def _make(place: Path, settings: str, model: Path) -> None:
    """A fresh project with the model's first version and release 1."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "models").mkdir(parents=True)
    shutil.copyfile(model, place / "models" / f"{NAME}.onnx")
    (place / "splice.toml").write_text(settings)
    (place / f"{NAME}.py").write_text(DECLARATION)
    command(place, "release", "apply", "--yes")
