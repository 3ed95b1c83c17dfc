"""Splice from profiles: a day of 24 hourly ones of each column, against one of the reference.

Making the profiles is not timed: that is done beside the calls, as they are recorded.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import msgspec

from splice.core.profiles import Profile
from splice.monitor.drift import drift
from splice.monitor.profiles import merged
from splice.monitor.tables import Values, profile_of, read

HOURS = 24
ROUNDS = 5

encode = msgspec.msgpack.encode


def main(current: str, reference: str) -> None:
    """Print what was found, how long it took and what it held."""
    now = {name: hourly(column()) for name, column in read(Path(current)).columns.items()}
    before = {
        name: encode(profile_of(column(), open_words=True))
        for name, column in read(Path(reference)).columns.items()
    }
    taken: list[float] = []
    worked: list[float] = []
    flagged: list[str] = []
    for _ in range(ROUNDS):
        began, started = time.perf_counter(), time.process_time()
        found = drift(
            {name: merged(parts) for name, parts in now.items()},
            {name: merged([part]) for name, part in before.items()},
        )
        flagged = [one.column for one in found if one.alarm]
        taken.append(time.perf_counter() - began)
        worked.append(time.process_time() - started)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # The first, which finds nothing in any cache: a question is asked once.
    stored = sum(len(part) for bodies in now.values() for part in bodies)
    told = {"seconds": taken[0], "cpu_s": worked[0], "memory_mb": memory, "flagged": flagged}
    told["bytes"] = stored
    print(json.dumps(told))


def hourly(values: Values) -> list[bytes]:
    """The column in 24 parts, each a profile as the ledger keeps it."""
    return [encode(one) for one in parts(values)]


def parts(values: Values) -> list[Profile]:
    """Numbers in their order; of words a part of each count."""
    found: list[Profile] = []
    for hour in range(HOURS):
        part = Values(
            share(values.rows, hour), share(values.missing, hour),
            None if values.numbers is None else values.numbers[hour::HOURS],
            words={word: n for word, count in values.words.items() if (n := share(count, hour))},
        )  # fmt: skip
        found.append(profile_of(part, open_words=True))
    return found


def share(count: int, hour: int) -> int:
    """How many of so many fall into an hour."""
    return (count + HOURS - 1 - hour) // HOURS


if __name__ == "__main__":
    main(*sys.argv[1:3])
