"""`python benchmarks/gateway/hot.py [LOAD [SUBJECT]]`: where a subject spends its core, by py-spy.

Prints the functions by the time spent in themselves and in what they call; the stacks stay in
`.bench/hot-LOAD.txt`. py-spy is installed below `.bench`; it may need root to look into the server.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from environments import environment
from gateway.asking import provider, serving
from gateway.job import LOAD_CORE, LOADS, OURS, SERVER_CORE, TOGETHER, Load
from gateway.subject import HERE, Bench, Subject, free_port
from load import Wrk, find_wrk
from run import CACHE

SECONDS = 10
SHOWN = 40
WAITING = ("Condition.wait (threading.py", "_worker (concurrent/futures/thread.py")
"""Threads that wait for work: py-spy does not tell everywhere that they are idle."""
LINE = re.compile(r":\d+\)$")


def main(argv: list[str]) -> None:
    """Record the stacks of the server while the load runs."""
    load = Load.named(argv[0] if argv else LOADS.split(",")[-1])
    spy = environment("py-spy", HERE / "requirements-py-spy.txt", CACHE).parent / "py-spy"
    found = find_wrk(CACHE)
    wrk = Wrk(("taskset", "-c", LOAD_CORE, *found.argv), found.version)
    name, _, variant = (argv[1] if len(argv) > 1 else OURS).partition(":")
    subject = Subject(name)
    variant = variant or next(iter(subject.variants))
    stacks = CACHE / f"hot-{load.name}.txt"
    with provider(CACHE, LOAD_CORE, TOGETHER) as mock:
        bench = Bench(CACHE, free_port(), mock.url, variant)
        command = subject.prepare(bench)
        with serving(command, bench.port, SERVER_CORE) as (process, asking):
            target = asking.target(CACHE / "places", stream=load.stream)
            running = threading.Thread(
                target=wrk.run, args=(target, load.connections, SECONDS + 4.0)
            )
            running.start()
            options = f"record --duration {SECONDS} --rate 200 --format raw --subprocesses"
            subprocess.run(
                ["taskset", "-c", LOAD_CORE, str(spy), *options.split(),
                 "--output", str(stacks), "--pid", str(process)],
                check=True,
            )  # fmt: skip
            running.join()
    tell(stacks)


def tell(stacks: Path) -> None:
    """Print the functions that took most."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = 0
    for line in stacks.read_text().splitlines():
        frames, _, count = line.rpartition(" ")
        names = [name for name in frames.split(";") if not name.startswith("process ")]
        if not names or names[-1].startswith(WAITING):
            continue
        total += int(count)
        own[names[-1]] += int(count)
        for name in {LINE.sub(")", name) for name in names}:
            whole[name] += int(count)
    for title, counted in (("in itself", own), ("with what it calls", whole)):
        print(f"{title}:")
        for name, count in counted.most_common(SHOWN):
            print(f"  {count / total:6.1%}  {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
