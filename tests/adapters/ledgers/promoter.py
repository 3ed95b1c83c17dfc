"""Processes that promote, each when it is told to, until they are killed.

    python promoter.py URL FOLDER

A line `once 2 1` on standard input promotes version 2 where 1 was seen, and is answered `won` or
`overtaken`. A line `go` forks a child, whose id is answered, and which promotes 1 and 2 in turns
for as long as it lives.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.errors import Overtaken
from splice.ports.promotions import Promotion, Repin
from splice.testing.contracts.promotions import NOW_US, manifest_of

NAMES = ("credit-decision", "limits")


def promote(ledger: Ledger, number: int, seen: int) -> None:
    """The version becomes champion, and both integrations take it up."""
    version = ledger.models.resolve("credit", str(number))
    assert version is not None
    live = {one.integration: one.number for one in ledger.releases.live()}
    repins = tuple(Repin(name, live[name], manifest_of(name, version)) for name in NAMES)
    ledger.promotions.promote(
        Promotion("model.promote", "credit", number, version.sha256, seen, repins, "bob", NOW_US)
    )


def in_turns(url: str, folder: Path) -> None:
    """Promote 1 and 2 in turns; whoever was killed before may have stopped at either."""
    ledger = open_ledger(url, folder, migrate=False)
    for turn in itertools.count():
        seen = ledger.models.aliases("credit")["champion"]
        promote(ledger, 3 - seen, seen)
        if not turn:
            os.write(1, b"going\n")


def main() -> None:
    """Do what each line says."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # killed children need nobody
    print("ready", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "go":
            # A connection is not to be carried across a fork: each child opens its own.
            pid = os.fork()
            if not pid:
                in_turns(url, folder)
            print(pid, flush=True)
            continue
        ledger = open_ledger(url, folder, migrate=False)
        try:
            promote(ledger, int(words[1]), int(words[2]))
            print("won", flush=True)
        except Overtaken:
            print("overtaken", flush=True)
        finally:
            ledger.close()


if __name__ == "__main__":
    main()
