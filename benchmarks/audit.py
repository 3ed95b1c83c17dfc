"""`python benchmarks/audit.py`: what proof costs a recorded call, and how fast a call is proved.

CPU time of this process, all threads, so that a busy machine changes less: calls are recorded in
SQLite in batches of 64, with the hashes of their leaves, the chore that makes the tree and a signed
head, and without all of that. Rounds alternate, and the median counts.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from splice.adapters.heads.files import HeadFile
from splice.adapters.ledgers import payloads, sqlite
from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.control.checkpoints import Checkpointer, Pace
from splice.control.proving import prove
from splice.control.signing import Signer, new_key
from splice.control.verifying import Verifier
from splice.core.call import Attempt, Reason, Record, Status
from splice.core.ids import uuid7

BATCH = 64
_NO_HASH = bytes(32)
_START_MS = 1_793_880_000_000


def records(count: int, size: int, seed: int) -> list[Record]:
    """Calls with a payload of about so many bytes."""
    rng = random.Random(seed)

    def one(n: int) -> Record:
        unix_ms = _START_MS + n
        note = rng.randbytes(max(0, size - 120) // 2).hex().encode()
        return Record(
            call_id=uuid7(unix_ms, rng.getrandbits(74)), integration="credit", release=3,
            asked_us=unix_ms * 1000, duration_us=rng.randrange(500, 5000), status=Status.ANSWERED,
            reason=Reason.FIRST, surface="http", caller="key:shop", entity=f"customer-{n % 997}",
            route="model:credit", version="credit@3 9f8a7b6c", cost_nano=12,
            input=b'{"age":41,"amount":%d,"note":"%s"}' % (n, note),
            attempts=(Attempt("model:credit", "answered", 10, 800, "credit@3 9f8a7b6c"),),
            prediction=b'{"value":1}', reply=b'{"action":"approve"}',
        )  # fmt: skip

    return [one(n) for n in range(count)]


def _nothing(*_: object) -> bytes:
    return _NO_HASH


@contextmanager
def without_leaves() -> Iterator[None]:
    """The ledger as it would be without proof: nothing is hashed, nothing is queued."""
    insert = sqlite._insert

    def inserted(cursor: Any, into: Any, values: Any) -> int:
        return 0 if into is sqlite._LEAVES else insert(cursor, into, values)

    with (
        # Plain functions: a Mock takes longer than what it stands for.
        mock.patch.object(payloads, "leaf_head", _nothing),
        mock.patch.object(payloads, "row_hash", _nothing),
        mock.patch.object(payloads, "payload_digest", _nothing),
        mock.patch.object(payloads, "urandom", bytes),
        mock.patch.object(sqlite, "_insert", inserted),
    ):
        yield


def spent(action: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    began = time.process_time()
    action()
    return time.process_time() - began


def recorded(some: list[Record], folder: Path, *, proven: bool) -> float:
    """CPU microseconds a call for storing them, trees and heads included where it is proven."""
    ledger = open_ledger(f"sqlite:///{folder}/{random.random()}.db", folder / "blobs")
    signer = Signer(new_key("bench")[0], "the key")
    heads = Checkpointer(ledger.checkpoints, signer, HeadFile(folder / "heads"), Pace())
    ledger.records.append(some[:1])  # the first call learns its kind and takes numbers

    def store() -> None:
        for start in range(1, len(some), BATCH):
            ledger.records.append(some[start : start + BATCH])

    def tend() -> None:
        while ledger.checkpoints.sequence(4096):
            pass
        heads.make(_START_MS * 1000)

    if proven:
        total = spent(store) + spent(tend)
    else:
        with without_leaves():
            total = spent(store)
    ledger.close()
    (folder / "heads").unlink(missing_ok=True)
    return total / len(some) * 1e6


def proving(some: list[Record], folder: Path) -> dict[str, float]:
    """Milliseconds for one proof, and calls that are verified in a second."""
    ledger: Ledger = open_ledger(f"sqlite:///{folder}/prove.db", folder / "blobs")
    for start in range(0, len(some), 1000):
        ledger.records.append(some[start : start + 1000])
    secret, key = new_key("bench")
    place = HeadFile(folder / "prove-heads")
    head = Checkpointer(ledger.checkpoints, Signer(secret, "key"), place, Pace()).make(1)
    store, times = ledger.checkpoints, list[float]()
    for each in random.Random(1).sample(some, 50):

        def one(call_id: str = each.call_id) -> None:
            prove(store, store.sealed([call_id])[call_id], call_id, head)

        times.append(spent(one) * 1e3)
    verifier = Verifier(store, ledger.audit, lambda _: {}, key, {"ledger": store.heads})
    took = spent(verifier.verify)
    ledger.close()
    return {
        "proof_ms": round(statistics.median(times), 2),
        "verified_per_s": round(len(some) / took),
    }


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bytes", type=int, nargs="*", default=[300, 2400])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in given.bytes:
            some = records(given.calls, size, 1)
            rows: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(given.rounds):
                for proven in rows:
                    rows[proven].append(recorded(some, folder, proven=proven))
            plain, proven = (statistics.median(rows[which]) for which in (False, True))
            row = {
                "job": "audit", "bytes": size, "recording_us": round(plain, 2),
                "recording_proven_us": round(proven, 2), "more_us": round(proven - plain, 2),
                "python": platform.python_version(),
            }  # fmt: skip
            print(json.dumps(row))
        print(json.dumps({"job": "audit", "calls": given.calls, **proving(some, folder)}))


if __name__ == "__main__":
    main()
