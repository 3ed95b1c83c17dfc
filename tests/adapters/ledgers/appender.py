"""A process that appends batches until it is killed, and says each one that was acknowledged.

    python appender.py URL FOLDER SEED BATCHES SIZE

Batch n of a seed always holds the same calls, so that another process can tell what must be there.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from splice.adapters.ledgers.sql import open_ledger
from splice.core.call import Record
from splice.testing.contracts.records import simple_record


def batch(seed: int, number: int, size: int) -> list[Record]:
    """The calls of one batch."""
    rng = random.Random(f"{seed}/{number}")
    return [simple_record(rng) for _ in range(size)]


def main() -> None:
    """Append, and write `number` and a newline after each return."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    seed, batches, size = (int(word) for word in sys.argv[3:])
    ledger = open_ledger(url, folder)
    os.write(1, b"ready\n")
    for number in range(batches):
        ledger.records.append(batch(seed, number, size))
        os.write(1, b"%d\n" % number)
    ledger.close()


if __name__ == "__main__":
    main()
