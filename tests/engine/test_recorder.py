"""What is answered is recorded; what cannot be recorded is refused, or set aside and said."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engine_house import (
    HighOrders,
    House,
    Orders,
    line_for,
    record_of,
    until,
)

from splice.adapters.spools.files import FileSpool
from splice.core.call import Gathered, Prediction, Reason, Record, Status
from splice.core.errors import NotRecorded, Overloaded, StoreError
from splice.engine import floor as engine_module
from splice.engine import record as record_module
from splice.engine.record import Recorder
from splice.testing.fakes import MemoryRecords, ScriptedPredictor

GOOD = Prediction(score=0.25, cost_nano=0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_module, "_RETRY_SECONDS", 0.05)


def ids(records: list[Record]) -> list[str]:
    return [record.call_id for record in records]


async def test_a_high_risk_reply_waits_for_the_commit(house: House) -> None:
    line = line_for(HighOrders, ScriptedPredictor(GOOD))
    house.store.hang()
    task = asyncio.create_task(house.ask(line))
    await asyncio.sleep(0.1)

    early = task.done()
    house.store.resume()
    answered = await task

    assert not early
    assert house.store.get(answered.record.call_id) == answered.record


async def test_a_low_risk_reply_does_not_wait_for_the_commit(house: House) -> None:
    house.store.hang()

    answered = await house.ask(line_for(Orders, ScriptedPredictor(GOOD)))

    assert answered.error is None
    assert house.store.get(answered.record.call_id) is None


async def test_many_high_risk_calls_share_few_commits(house: House) -> None:
    line = line_for(HighOrders, ScriptedPredictor(GOOD))

    await asyncio.gather(*(house.ask(line) for _ in range(200)))

    assert house.store.count() == 200
    assert house.store.tries < 20


async def test_a_ledger_that_hangs_refuses_high_risk_calls_and_says_not_recorded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_RECORD_SECONDS", 0.1)
    line = line_for(HighOrders, ScriptedPredictor(GOOD))
    line.deadline_s = 0.1
    house.store.hang()

    first = await house.ask(line)
    second = await house.ask(line)

    assert isinstance(first.error, NotRecorded)
    assert "no commit within" in first.error.got
    assert (first.record.status, first.record.reply) == (Status.REFUSED, None)
    house.store.resume()
    # The second was still in the queue when its caller was refused: it must not count as answered.
    late = until(lambda: house.store.get(second.record.call_id))
    assert (late.status, late.reason, late.reply) == (Status.REFUSED, Reason.NOT_RECORDED, None)


async def test_a_ledger_that_fails_refuses_high_risk_calls_and_keeps_that_they_were_refused(
    house: House,
) -> None:
    line = line_for(HighOrders, ScriptedPredictor(GOOD))
    house.store.failing = True

    answered = await house.ask(line)

    assert isinstance(answered.error, NotRecorded)
    house.store.failing = False
    record = until(lambda: house.store.get(answered.record.call_id))
    assert (record.status, record.reason) == (Status.REFUSED, Reason.NOT_RECORDED)
    assert record.reply is None
    assert record.problem is not None


async def test_a_refused_call_is_counted_as_refused_and_not_as_answered(house: House) -> None:
    line = line_for(HighOrders, ScriptedPredictor(GOOD))
    house.store.failing = True

    await house.ask(line)

    ((labels, cell),) = house.engine.metrics.snapshot()["splice_calls_total"]
    assert (labels, cell) == (("high-orders", "test", "refused", "not_recorded"), [1.0])


async def test_a_ledger_that_fails_does_not_keep_low_risk_calls_from_their_answer(
    house: House,
) -> None:
    line = line_for(Orders, ScriptedPredictor(GOOD))
    house.store.failing = True

    answered = [await house.ask(line) for _ in range(20)]

    assert [one.error for one in answered] == [None] * 20
    until(lambda: house.recorder.spooled)
    assert "out of order" in house.recorder.trouble
    assert house.store.count() == 0


async def test_set_aside_calls_are_written_once_and_in_order_when_the_ledger_is_back(
    house: House,
) -> None:
    house.store.failing = True
    records = [record_of(n) for n in range(300)]
    for record in records:
        house.recorder.put(record)
        if record.asked_us % 50 == 0:
            await house.recorder.flush()
    until(lambda: house.recorder.waiting == 0)

    house.store.failing = False

    until(lambda: house.recorder.spooled == 0)
    assert house.store.stored == records
    assert house.recorder.trouble == ""
    assert sum(house.store.batches) == 300


async def test_set_aside_calls_survive_the_process(tmp_path: Path) -> None:
    broken, back = MemoryRecords(), MemoryRecords()
    broken.failing = True
    first = Recorder(broken, FileSpool(tmp_path), flush_seconds=0.001)
    first.start()
    records = [record_of(n) for n in range(10)]
    for record in records:
        first.put(record)
    assert first.stop() == 0

    second = Recorder(back, FileSpool(tmp_path), flush_seconds=0.001)
    second.start()

    until(lambda: back.count() == 10)
    assert back.stored == records
    until(lambda: second.spooled == 0)
    second.stop()
    assert list(tmp_path.glob("*.records")) == []


@pytest.mark.parametrize("bad", [{0}, {9}, {0, 9}, {0, 1, 2, 7, 8, 9}, {4}, set(range(1, 10))])
async def test_a_record_that_the_ledger_refuses_does_not_keep_its_neighbours_out(
    house: House, tmp_path: Path, bad: set[int]
) -> None:
    folder = tmp_path / "spool"
    records = [record_of(n) for n in range(10)]
    poison = {records[n].call_id for n in bad}
    house.store.refuses = lambda record: record.call_id in poison
    house.store.hang()

    for record in records:
        house.recorder.put(record)
    house.store.resume()

    good = [record.call_id for record in records if record.call_id not in poison]
    until(lambda: sorted(ids(house.store.stored)) == good)
    until(lambda: {path.stem for path in folder.glob("*.rejected")} == poison)
    until(lambda: house.recorder.spooled == 0)


async def test_a_record_that_the_ledger_refuses_does_not_refuse_the_high_risk_calls_beside_it(
    house: House,
) -> None:
    line = line_for(HighOrders, ScriptedPredictor(GOOD))
    house.store.refuses = lambda record: record.entity == "poison"
    bodies = [{"customer": "poison" if n % 5 == 0 else "c", "amount": 1} for n in range(20)]

    answered = await asyncio.gather(*(house.ask(line, body) for body in bodies))

    refused = [isinstance(one.error, NotRecorded) for one in answered]
    assert refused == [n % 5 == 0 for n in range(20)]


async def test_a_record_that_the_ledger_refuses_does_not_stand_before_later_ones_in_the_spool(
    house: House,
) -> None:
    house.store.failing = True
    house.store.refuses = lambda record: record.asked_us in (0, 1, 3)
    for n in range(6):
        house.recorder.put(record_of(n))
        await house.recorder.flush()

    house.store.failing = False
    house.recorder.put(record_of(6))

    until(lambda: house.recorder.spooled == 0 and house.store.count() == 4)
    assert sorted(r.asked_us for r in house.store.stored) == [2, 4, 5, 6]


async def test_a_record_that_is_refused_for_the_moment_is_written_later_and_holds_up_no_other(
    house: House,
) -> None:
    house.store.refusal = StoreError  # a nearly full disk: the large one does not fit, others do
    house.store.refuses = lambda record: record.asked_us == 1
    for n in range(3):
        house.recorder.put(record_of(n))
        await house.recorder.flush()
    until(lambda: house.recorder.spooled)
    time.sleep(0.3)  # it is tried again and again
    house.recorder.put(record_of(3))
    await house.recorder.flush()
    before = [r.asked_us for r in house.store.stored]

    house.store.refuses = lambda _: False

    until(lambda: house.store.count() == 4)
    assert before == [0, 2, 3]
    until(lambda: house.recorder.spooled == 0)


async def test_a_ledger_that_is_away_at_the_start_rejects_nothing_for_good(tmp_path: Path) -> None:
    spool, store = FileSpool(tmp_path), MemoryRecords()
    spool.save([record_of(1)])
    store.failing = True
    recorder = Recorder(store, spool, flush_seconds=0.001)
    recorder.start()
    until(lambda: store.tries >= 3)

    store.failing = False

    until(lambda: store.count() == 1)
    assert list(tmp_path.glob("*.rejected")) == []
    recorder.stop()


async def test_a_record_that_can_be_kept_nowhere_does_not_end_the_writer(house: House) -> None:
    odd = Gathered("view", "c", {"a": object()}, "sql")
    house.store.refuses = lambda record: bool(record.gathered)

    house.recorder.put(record_of(1))
    await house.recorder.flush()
    house.recorder.put(record_of(2, gathered=(odd,)))
    house.recorder.put(record_of(3))
    await house.recorder.flush()

    assert [r.asked_us for r in house.store.stored] == [1, 3]


async def test_a_record_that_can_be_kept_nowhere_takes_none_of_its_neighbours_with_it(
    house: House,
) -> None:
    odd = Gathered("view", "c", {"a": object()}, "sql")
    house.store.failing = True
    house.store.hang()
    for record in (record_of(1), record_of(2, gathered=(odd,)), record_of(3)):
        house.recorder.put(record)
    house.store.resume()
    until(lambda: house.recorder.spooled)

    house.store.failing = False

    until(lambda: [r.asked_us for r in house.store.stored] == [1, 3])


async def test_a_store_that_raises_what_it_should_not_does_not_end_the_writer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> None:
        raise AttributeError("a bug of the store")

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "append", broken)
        house.recorder.put(record_of(1))
        until(lambda: house.recorder.spooled)

    until(lambda: house.store.count() == 1)


async def test_a_spool_that_is_full_keeps_records_in_memory_and_the_writer_alive(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any) -> None:
        raise StoreError("spool", got="no space left on device")

    monkeypatch.setattr(house.spool, "save", full)
    house.store.failing = True
    for n in range(50):
        house.recorder.put(record_of(n))
    until(lambda: house.recorder.errors)
    assert house.recorder.waiting == 50

    house.store.failing = False

    until(lambda: house.store.count() == 50)
    assert house.recorder.waiting == 0


async def test_a_spool_that_cannot_be_read_does_not_end_the_writer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.store.failing = True
    house.recorder.put(record_of(1))
    until(lambda: house.recorder.spooled)

    with monkeypatch.context() as patch:
        patch.setattr(house.spool, "oldest", lambda: 1 / 0)
        house.store.failing = False
        house.recorder.put(record_of(2))
        until(lambda: house.store.count() == 1)
        time.sleep(0.1)

    until(lambda: house.store.count() == 2)


async def test_a_full_recorder_refuses_new_calls_until_there_is_room(tmp_path: Path) -> None:
    house = House(tmp_path / "spool")
    house.recorder._max_waiting = 30
    line = line_for(Orders, ScriptedPredictor(GOOD))
    house.store.hang()
    house.recorder.put(record_of(1))
    until(lambda: house.recorder.waiting == 0)  # the writer has it in its hands, and hangs

    answered = [await house.ask(line) for _ in range(30)]
    with pytest.raises(Overloaded) as refused:
        await house.ask(line)
    house.store.resume()
    await house.recorder.flush()
    after = await house.ask(line)

    assert [one.error for one in answered] == [None] * 30
    assert "wait to be recorded" in refused.value.got
    assert after.error is None
    house.recorder.stop()


async def test_more_calls_in_flight_than_allowed_are_refused(house: House) -> None:
    line = line_for(Orders, ScriptedPredictor(GOOD))
    house.engine.in_flight = 1000

    with pytest.raises(Overloaded) as refused:
        await house.ask(line)

    assert "1000 calls in flight" in refused.value.got
    house.engine.in_flight = 0


async def test_stopping_writes_what_waits(tmp_path: Path) -> None:
    store = MemoryRecords()
    recorder = Recorder(store, FileSpool(tmp_path), flush_seconds=60.0)
    recorder.start()
    for n in range(2500):
        recorder.put(record_of(n))

    lost = recorder.stop()

    assert lost == 0
    assert store.count() == 2500


async def test_stopping_beside_a_ledger_that_hangs_sets_aside_even_what_it_hangs_on(
    tmp_path: Path,
) -> None:
    store, spool = MemoryRecords(), FileSpool(tmp_path)
    recorder = Recorder(store, spool, flush_seconds=0.001)
    recorder.start()
    store.hang()
    recorder.put(record_of(1))
    until(lambda: recorder.waiting == 0)
    recorder.put(record_of(2))

    lost = recorder.stop(0.1)

    assert lost == 0
    kept = spool.oldest()
    assert kept is not None
    assert [r.asked_us for r in kept[1]] == [1, 2]
    store.resume()


async def test_stopping_says_how_many_records_could_be_kept_nowhere(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any) -> None:
        raise StoreError("spool", got="no space left on device")

    monkeypatch.setattr(house.spool, "save", full)
    house.store.failing = True
    for n in range(7):
        house.recorder.put(record_of(n))

    assert house.recorder.stop() == 7


async def test_a_ledger_that_takes_long_to_say_no_is_not_asked_for_every_batch(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_module, "_SLOW_SECONDS", 0.1)
    monkeypatch.setattr(record_module, "_RETRY_SECONDS", 30.0)
    line = line_for(HighOrders, ScriptedPredictor(GOOD))

    def locked(_: Any) -> None:
        house.store.tries += 1
        time.sleep(0.15)
        raise StoreError("ledger", got="another process that holds the lock")

    monkeypatch.setattr(house.store, "append", locked)
    await house.ask(line)
    began = time.monotonic()

    answered = [await house.ask(line) for _ in range(20)]

    assert all(isinstance(one.error, NotRecorded) for one in answered)
    assert time.monotonic() - began < 1.5
    assert house.store.tries == 1


def test_a_batch_that_is_half_written_to_the_spool_is_not_read_as_one(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path)
    spool.save([record_of(1)])
    (whole,) = tmp_path.glob("*.records")
    (tmp_path / "0-cut.records").write_bytes(whole.read_bytes()[:-20])

    kept = spool.oldest()

    assert kept is not None
    assert kept[1] == [record_of(1)]
    assert [path.name for path in tmp_path.glob("*.broken")] == ["0-cut.broken"]


def test_a_batch_that_cannot_be_read_for_the_moment_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = FileSpool(tmp_path)
    spool.save([record_of(1)])

    def too_many(_: Path) -> bytes:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", too_many)
        with pytest.raises(StoreError):
            spool.oldest()

    assert spool.oldest() is not None


def test_a_record_is_the_same_after_the_spool(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path)
    record = record_of(
        1, gathered=(Gathered("v", "c", {"a": [1, None]}, "sql", 0.5),), entity="é", cost_nano=None
    )

    spool.save([record])

    kept = spool.oldest()
    assert kept is not None
    assert msgspec.structs.asdict(kept[1][0]) == msgspec.structs.asdict(record)
