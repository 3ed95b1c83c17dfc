"""A process that joins outcomes with calls until its input ends, or until it is killed.

python label_worker.py URL FOLDER NOW_US
"""

from __future__ import annotations

import select
import sys
from pathlib import Path

from splice.adapters.ledgers.sql import open_ledger
from splice.core.errors import StoreError
from splice.monitor.labelling import Labeller


def main() -> None:
    """Say `ready`, then join."""
    url, folder, now_us = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    ledger = open_ledger(url, folder, migrate=False)
    labeller = Labeller(ledger.labels, ledger.releases)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        try:
            more = labeller.step(now_us)
        except StoreError:  # the database was too busy: the next step does it
            more = True
        if not more and select.select([sys.stdin], [], [], 0.01)[0]:
            return


if __name__ == "__main__":
    main()
