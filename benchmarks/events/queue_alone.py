"""`python benchmarks/events/queue_alone.py [EVENTS]`: what the embedded queue alone does a second.

Events of 1 KB are put, taken, and settled with the record of their call and their inbox row, in one
process and on a real disk. No model runs, and no decision is written.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import msgspec

from events.stream import source_events
from run import CACHE
from serve.job import model_and_rows
from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.app.clock import Ids, now_us
from splice.core.call import Attempt, Prediction, Reason, Record, Status
from splice.core.events import Event, Inbox, Origin, Settled, body_digest, place_id

EVENTS = 20_000
BATCHES = (100, 1000)
HERE = Origin("queue:screening", 0, 0)
LEASE_US = 3_600_000_000

_encode = msgspec.json.Encoder().encode


def main(argv: Sequence[str]) -> None:
    """Print a line for each size of batch."""
    count = int(argv[0]) if argv else EVENTS
    values = [value for _, value in source_events(model_and_rows(CACHE)[1], count)]
    # Below the checkout, which is on a disk; a folder for temporary files may be in memory.
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        ledger = open_ledger(f"sqlite:///{folder}/ledger.db", Path(folder) / "blobs")
        for batch in BATCHES:
            put_s, settled_s = measured(ledger, values, batch)
            print(
                f"batches of {batch:5}: put {count / put_s:9,.0f}/s, taken and settled "
                f"{count / settled_s:9,.0f}/s, all of it {count / (put_s + settled_s):9,.0f}/s"
            )
        ledger.close()


def measured(ledger: Ledger, values: Sequence[bytes], batch: int) -> tuple[float, float]:
    """Seconds to put all events, and to take and settle them; records are made before."""
    events = [Event(HERE, b"k%d" % n, value) for n, value in enumerate(values)]
    records = iter([_record(value) for value in values])
    began = time.perf_counter()
    for start in range(0, len(events), batch):
        ledger.queue.put("screening", events[start : start + batch], now_us=now_us())
    put = time.perf_counter()
    while taken := ledger.queue.take("screening", batch, "b", now_us=now_us(), lease_us=LEASE_US):
        ledger.events.settle([_settled(one, next(records)) for one in taken], now_us=now_us())
    return put - began, time.perf_counter() - put


def _settled(event: Event, record: Record) -> Settled:
    name = place_id("screening", event.origin)
    return Settled(event, record, Inbox(name, body_digest(record.input), record.call_id))


_ids = Ids()


def _record(value: bytes) -> Record:
    """As the consumer of the benchmark makes it."""
    body = msgspec.json.decode(value)
    attempt = Attempt("screening@1", "answered", 300, 500, "1", "", None, None)
    prediction = Prediction("0", 0.125, {"0": 0.875, "1": 0.125})
    reply = {"id": body["id"], "probability": 0.125, "action": "approve"}
    return Record(
        _ids.new(), "screening", 1, now_us(), 900, Status.ANSWERED, Reason.FIRST, "events", "g",
        None, None, "screening@1", "", "1", None, value, (),
        _encode({"features": body["features"]}), (attempt,), _encode(prediction), _encode(reply),
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
