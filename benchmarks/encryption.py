"""`python benchmarks/encryption.py`: what encrypting the texts of a call costs.

CPU time of this process, all threads, so that a busy machine changes little. `record` appends calls
to an SQLite ledger in groups of 64: as they are, encrypted for persons whose keys are in memory,
and for a new person each. `call` asks an integration of one rule in process, from the request to
its place in the ledger, with and without `splice.Protect(encrypt=True)`; `served` asks it over HTTP
and tells the CPU of the server, chores included. Rounds alternate, and the
median counts. Payloads have about as many bytes as `--bytes` says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.audit import BATCH, records, spent

import splice
from splice.adapters.vaults.file import FileVault
from splice.app.settings import load
from splice.app.wiring import Stores
from splice.core.call import Record
from splice.testing.project import Project

DECLARED = '''
import splice


class Question(splice.Request):
    customer: splice.Entity
    note: str


class Answer(splice.Reply):
    words: str


class Credit(splice.Integration):
    """Answer by a rule."""

    protect = splice.Protect(encrypt={encrypt})
    routes = [splice.Rule(lambda context: {{"words": "approve"}})]

    def decide(self, question: Question, prediction: splice.Prediction) -> Answer:
        return Answer("approve")
'''
WAYS = ("plain", "known", "new")
JOBS = ("record", "call", "served")


def project(folder: Path, *, encrypt: bool) -> Project:
    """A project with a vault and one integration."""
    made = Project(folder, '[project]\napply = "new"\n[server]\nmax_in_flight = 100000\n')
    made.declare(DECLARED.format(encrypt=encrypt))
    FileVault(folder / ".splice-keys" / "vault.json").make(1)
    return made


def recorded(some: list[Record], folder: Path, way: str) -> float:
    """CPU microseconds a call for storing them."""
    place = folder / f"{way}-{random.random()}"
    project(place, encrypt=way != "plain").run("release", "apply", "--yes")
    with closing(Stores(load(place, {}))) as stores:
        mine = [msgspec.structs.replace(one, release=1) for one in some]
        if way == "new":
            for number, one in enumerate(mine):
                one.entity = f"customer-{number}"
        else:  # every person has called before
            stores.records.append(mine[:1000])
        first = 1 if way == "new" else 1000
        stores.records.append(mine[:first])

        def store() -> None:
            for start in range(first, len(mine), BATCH):
                stores.records.append(mine[start : start + BATCH])

        return spent(store) / (len(mine) - first) * 1e6


def asked(count: int, size: int, folder: Path, way: str) -> float:
    """CPU microseconds a call, from the request to the ledger."""
    place = folder / f"call-{way}-{random.random()}"
    project(place, encrypt=way != "plain")
    note = random.Random(1).randbytes(max(0, size - 60) // 2).hex()

    async def run() -> float:
        async with splice.App(project=place) as app:

            async def ask(first: int, many: int) -> None:
                for n in range(first, first + many):
                    who = n if way == "new" else n % 997
                    await app.ask("credit", {"customer": f"customer-{who}", "note": note})

            await ask(0, 1000)
            await app.services.recorder.flush()
            began = time.process_time()
            await ask(1000, count)
            await app.services.recorder.flush()
            return (time.process_time() - began) / count * 1e6

    return asyncio.run(run())


def served(count: int, size: int, folder: Path, way: str) -> float:
    """CPU microseconds of the server a call over HTTP, on kept-alive connections."""
    place = folder / f"served-{way}-{random.random()}"
    note = random.Random(1).randbytes(max(0, size - 60) // 2).hex()
    with project(place, encrypt=way != "plain").serve() as server:

        def spent_by_server() -> float:
            stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1] for pid in server.pids()]
            ticks = sum(sum(map(int, stat.split()[11:13])) for stat in stats)
            return ticks / os.sysconf("SC_CLK_TCK")

        def ask(first: int) -> None:
            connection = server.connection()
            for n in range(first, count, 8):
                who = n if way == "new" else n % 997
                body = {"customer": f"customer-{who}", "note": note}
                connection.ask("POST", "/v1/integrations/credit/calls", body)
            connection.close()

        with ThreadPoolExecutor(8) as threads:
            if way != "new":  # every person has called before
                list(threads.map(ask, range(8)))
            began = spent_by_server()
            list(threads.map(ask, range(8)))
            time.sleep(1.0)  # what was recorded last is written, and counted
            return (spent_by_server() - began) / count * 1e6


def told(job: str, size: int, rows: dict[str, list[float]]) -> None:
    """Print a row: microseconds, and how much more it is."""
    plain = statistics.median(rows["plain"])
    row: dict[str, Any] = {"job": f"encryption {job}", "bytes": size, "plain_us": round(plain, 2)}
    for way in WAYS[1:]:
        took = statistics.median(rows[way])
        row |= {f"{way}_us": round(took, 2), f"{way}_more": f"{(took / plain - 1) * 100:+.1f} %"}
    print(json.dumps(row | {"python": platform.python_version()}))


def main() -> None:
    """Print a row for each job and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bytes", type=int, nargs="*", default=[300, 2400])
    parser.add_argument("--jobs", nargs="*", choices=JOBS, default=JOBS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in given.bytes:
            some = records(given.calls, size, 1)
            measured: dict[str, Callable[[str], float]] = {
                "record": lambda way, some=some: recorded(some, folder, way),
                "call": lambda way, size=size: asked(given.calls, size, folder, way),
                "served": lambda way, size=size: served(given.calls, size, folder, way),
            }
            rows = {job: {way: list[float]() for way in WAYS} for job in given.jobs}
            for _ in range(given.rounds):
                for way in WAYS:
                    for job in given.jobs:
                        rows[job][way].append(measured[job](way))
            for job in given.jobs:
                told(job, size, rows[job])
            sys.stdout.flush()


if __name__ == "__main__":
    main()
