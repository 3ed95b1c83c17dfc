"""A process that folds whatever waits, until it is killed.

python roller.py URL FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from splice.adapters.ledgers.sql import open_ledger
from splice.monitor import rolling
from splice.monitor.rolling import Roller


def main() -> None:
    """Say that it is ready, and fold in small batches, that many are under way when it ends."""
    rolling.BATCH = 100
    ledger = open_ledger(sys.argv[1], Path(sys.argv[2]))
    roller = Roller(ledger.rollups)
    os.write(1, b"ready\n")
    while True:
        roller.step(1)


if __name__ == "__main__":
    main()
