"""Worker processes that crash, leak, hang, lie and look around; their pool goes on."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import moods
import pytest
from moods import Moody
from pools_house import GENEROUS, adder, asked, lives, opened, pickled, until

from splice.adapters.pools.confine import NETWORK
from splice.adapters.pools.processes import Pool
from splice.core.errors import (
    BadAnswer,
    ModelMismatch,
    ModelUnavailable,
    RouteCrashed,
    RouteTimeout,
)
from splice.ports.hosts import PoolTally


@pytest.fixture
def moody(tmp_path: Path) -> Path:
    return pickled(tmp_path / "moody.pkl", Moody())


@pytest.fixture
async def pool_and_tally(moody: Path) -> AsyncIterator[tuple[Pool, PoolTally]]:
    pool, tally = await opened(moody)
    yield pool, tally
    await pool.close()


@pytest.fixture
def pool(pool_and_tally: tuple[Pool, PoolTally]) -> Pool:
    return pool_and_tally[0]


@pytest.fixture
def tally(pool_and_tally: tuple[Pool, PoolTally]) -> PoolTally:
    return pool_and_tally[1]


@pytest.mark.parametrize(
    ("mood", "how"),
    [(moods.EXIT, "it ended with code 3"), (moods.SEGFAULT, "it was ended by SIGSEGV")],
)
async def test_a_crash_fails_its_run_with_how_it_ended_and_the_next_run_is_answered(
    pool: Pool, tally: PoolTally, mood: int, how: str
) -> None:
    before = pool.pids

    error = await asked(pool, mood)

    assert isinstance(error, RouteCrashed)
    assert how in error.got
    assert await asked(pool, moods.CALM, 5) == 5
    assert pool.pids != before
    assert dict(tally.restarts) == {"crashed": 1}
    assert tally.processes == 1


async def test_a_process_killed_from_outside_is_replaced_before_anybody_asks(
    pool: Pool, tally: PoolTally
) -> None:
    (pid,) = pool.pids

    os.kill(pid, signal.SIGKILL)

    await until(lambda: pool.pids not in ([], [pid]) and tally.processes == 1)
    assert await asked(pool, moods.CALM, 5) == 5


async def test_a_leak_is_ended_at_its_limit_and_says_how_much_it_took(moody: Path) -> None:
    pool, tally = await opened(moody, memory_mb=300)

    error = await asked(pool, moods.LEAK)

    assert isinstance(error, RouteCrashed)
    assert "MB, allowed 300 MB" in error.got
    took = int(error.got.partition("it took ")[2].partition(" MB")[0])
    assert 300 < took < 900
    assert await asked(pool, moods.CALM, 5) == 5
    assert dict(tally.restarts) == {"memory": 1}
    await pool.close()


async def test_memory_asked_for_at_one_stroke_is_not_given(moody: Path) -> None:
    pool, _ = await opened(moody, memory_mb=300)
    before = pool.pids

    error = await asked(pool, moods.HOARD)

    assert isinstance(error, RouteCrashed)
    assert "MemoryError" in error.got
    assert pool.pids == before
    await pool.close()


async def test_a_run_over_its_time_times_out_and_a_stuck_process_is_replaced(
    pool: Pool, tally: PoolTally
) -> None:
    (pid,) = pool.pids

    error = await asked(pool, moods.HANG, timeout_s=0.1)

    assert isinstance(error, RouteTimeout)
    assert await asked(pool, moods.CALM, 5) == 5
    assert dict(tally.restarts) == {"timeout": 1}
    assert not lives(pid)


async def test_a_run_that_is_a_little_late_costs_no_process(pool: Pool, tally: PoolTally) -> None:
    before = pool.pids

    error = await asked(pool, moods.SLOW, 0.3, timeout_s=0.1)

    assert isinstance(error, RouteTimeout)
    assert [await asked(pool, moods.CALM, i) for i in range(3)] == [0, 1, 2]
    assert pool.pids == before
    assert not tally.restarts


async def test_a_run_whose_caller_goes_away_gives_its_process_back(
    pool: Pool, tally: PoolTally
) -> None:
    before = pool.pids
    task = asyncio.create_task(asked(pool, moods.SLOW, 0.2))
    await asyncio.sleep(0.05)

    task.cancel()

    assert await asked(pool, moods.CALM, 5) == 5
    assert pool.pids == before
    assert not tally.restarts


async def test_callers_that_go_away_just_as_the_answer_comes_cost_no_process(
    pool: Pool, tally: PoolTally
) -> None:
    before = pool.pids

    for _ in range(30):
        task = asyncio.create_task(asked(pool, moods.CALM))
        await asyncio.sleep(0)
        # Between the moment that what it waits for is there and its next step.
        while not task.done() and not (task._fut_waiter and task._fut_waiter.done()):  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert await asked(pool, moods.CALM, 5) == 5
    assert pool.pids == before
    assert not tally.restarts


async def test_what_a_model_prints_is_no_answer_and_harms_none(pool: Pool) -> None:
    assert [await asked(pool, moods.PRINT, i) for i in range(3)] == [0, 1, 2]


async def test_a_model_that_writes_to_its_own_line_is_ended(pool: Pool, tally: PoolTally) -> None:
    error = await asked(pool, moods.OWN_PIPE)

    assert isinstance(error, RouteCrashed)
    assert "no answer" in error.got
    assert await asked(pool, moods.CALM, 5) == 5
    assert tally.restarts.total() == 1


@pytest.mark.parametrize("mood", [moods.FORK, moods.DAEMON])
async def test_what_a_model_forks_ends_with_its_process(pool: Pool, mood: int) -> None:
    (pid,) = pool.pids
    forked = int(await asked(pool, mood))
    assert lives(forked)

    os.kill(pid, signal.SIGKILL) if mood == moods.FORK else await pool.close()

    await until(lambda: not lives(forked) and not lives(pid))


async def test_nan_fails_its_own_row_and_no_other(pool: Pool) -> None:
    rows = [{"mood": moods.CALM, "value": i} for i in range(9)]
    rows[4]["mood"] = moods.NAN

    answers = await pool.infer(rows, GENEROUS)

    assert isinstance(answers[4], BadAnswer)
    others = [one.value for i, one in enumerate(answers) if i != 4]  # type: ignore[union-attr]
    assert others == [0, 1, 2, 3, 5, 6, 7, 8]


async def test_an_error_of_the_model_does_not_quote_the_row(pool: Pool) -> None:
    error = await asked(pool, moods.RAISE, 123456)

    assert isinstance(error, RouteCrashed)
    assert "ValueError" in error.got
    assert "123456" not in str(error)


@pytest.mark.parametrize(
    "value", ["1", None, float("nan"), float("inf"), 10**30, {}, object(), [1.0], b"1"]
)
async def test_a_value_that_does_not_fit_fails_its_own_row(pool: Pool, value: Any) -> None:
    rows = [{"mood": moods.CALM, "value": 1.0}, {"mood": moods.CALM, "value": value}]

    good, bad = await pool.infer(rows, GENEROUS)

    assert good.value == 1.0  # type: ignore[union-attr]
    assert isinstance(bad, ModelMismatch)


async def test_what_the_model_does_not_read_is_not_sent(pool: Pool) -> None:
    row = {"mood": moods.CALM, "value": 1.0, "handle": object(), "big": 10**400}

    (answer,) = await pool.infer([row], GENEROUS)

    assert answer.value == 1.0  # type: ignore[union-attr]


async def test_a_process_sees_no_secret_of_the_server(
    moody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLICE_TOKEN", moods.SECRET)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", moods.SECRET)

    pool, _ = await opened(moody, environment={"TZ": "UTC"})

    assert await asked(pool, moods.LOOK) == 0
    await pool.close()


async def test_a_release_meets_a_file_that_was_tampered_with(moody: Path) -> None:
    pool, tally = await opened(moody)
    moody.write_bytes(moody.read_bytes() + b" ")

    os.kill(pool.pids[0], signal.SIGKILL)

    await until(lambda: tally.restarts["start"])
    error = await asked(pool, moods.CALM)
    assert isinstance(error, ModelUnavailable)
    assert "hash" in error.got
    await pool.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "EOFError"), (b"\x80\x04K\x01.", "int"), (b"<html>", "Error")],
)
async def test_a_file_that_does_not_load_is_unavailable_with_the_reason(
    tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "broken.pkl"
    file.write_bytes(content)

    with pytest.raises(ModelUnavailable) as raised:
        await opened(file)

    assert said in raised.value.got


async def test_a_process_that_dies_while_it_loads_is_unavailable(tmp_path: Path) -> None:
    file = pickled(tmp_path / "dies.pkl", moods.DiesLoading(tmp_path / "not there"))

    with pytest.raises(ModelUnavailable) as raised:
        await opened(file)

    assert "it ended with code 7" in raised.value.got


async def test_a_process_that_takes_too_long_to_load_is_ended(tmp_path: Path) -> None:
    file = pickled(tmp_path / "slow.pkl", moods.SlowToLoad(3600))

    with pytest.raises(ModelUnavailable) as raised:
        await opened(file, start_seconds=1.5)

    assert "within 1.5 s" in raised.value.got


async def test_while_nothing_can_be_started_runs_are_refused_at_once(tmp_path: Path) -> None:
    gate = tmp_path / "open"
    gate.touch()
    pool, tally = await opened(pickled(tmp_path / "gated.pkl", moods.DiesLoading(gate)))
    gate.unlink()
    os.kill(pool.pids[0], signal.SIGKILL)
    await until(lambda: tally.restarts["start"])

    resting = await asked(pool, moods.CALM)
    await until(lambda: pool.pids)
    starting = await asked(pool, moods.CALM)
    gate.touch()

    assert isinstance(resting, ModelUnavailable)
    assert isinstance(starting, ModelUnavailable)
    assert "code 7" in resting.got
    assert starting.mend == "the next is starting"

    async def answers() -> bool:
        return await asked(pool, moods.CALM, 5) == 5

    while not await answers():
        await asyncio.sleep(0.1)
    await pool.close()


async def test_processes_are_added_while_runs_wait_and_ended_when_they_rest(moody: Path) -> None:
    pool, tally = await opened(moody, processes=1, most_processes=3, idle_seconds=0.5)
    busy = True

    async def keep_busy() -> None:
        while busy:
            await asked(pool, moods.SLOW, 0.02)

    callers = [asyncio.create_task(keep_busy()) for _ in range(6)]
    await until(lambda: tally.processes == 3)
    assert pool.lanes == 3
    busy = False
    await asyncio.gather(*callers)

    await until(lambda: tally.processes == 1)
    assert not tally.restarts
    assert await asked(pool, moods.CALM, 5) == 5
    await pool.close()


async def test_a_short_wait_adds_no_process(moody: Path) -> None:
    pool, tally = await opened(moody, processes=1, most_processes=3)

    for _ in range(20):
        await asyncio.gather(*(asked(pool, moods.SLOW, 0.002) for _ in range(3)))
        await asyncio.sleep(0.05)

    assert tally.processes == 1
    await pool.close()


async def test_a_pool_that_nothing_refers_to_ends_its_processes(moody: Path) -> None:
    pool, tally = await opened(moody, processes=2)
    await until(lambda: tally.processes == 2)
    pids = pool.pids

    del pool
    gc.collect()

    await until(lambda: not any(map(lives, pids)) and tally.processes == 0)


async def test_a_closed_pool_refuses_and_its_running_runs_end(moody: Path) -> None:
    pool, _ = await opened(moody)
    running = asyncio.create_task(asked(pool, moods.HANG))
    waiting = asyncio.create_task(asked(pool, moods.CALM))
    await asyncio.sleep(0.05)

    await pool.close()

    assert isinstance(await running, RouteCrashed)
    assert isinstance(await waiting, ModelUnavailable)
    assert isinstance(await asked(pool, moods.CALM), ModelUnavailable)


async def test_a_pool_leaves_nothing_behind(moody: Path) -> None:
    def held() -> tuple[int, list[str]]:
        folders = sorted(one.name for one in Path(tempfile.gettempdir()).glob("splice-pool-*"))
        return len(os.listdir("/proc/self/fd")), [one for one in folders if one not in others]

    others = [one.name for one in Path(tempfile.gettempdir()).glob("splice-pool-*")]
    before = held()
    pool, _ = await opened(moody, processes=2)
    for mood in (moods.EXIT, moods.CALM, moods.OWN_PIPE, moods.CALM):
        await asked(pool, mood)
    await asked(pool, moods.HANG, timeout_s=0.05)
    running = asyncio.create_task(asked(pool, moods.HANG))
    await asyncio.sleep(0.05)

    await pool.close()
    await running

    await until(lambda: held() == before)


async def test_two_hundred_calls_over_crashing_processes_all_end_in_their_time(moody: Path) -> None:
    pool, tally = await opened(moody, processes=2)

    one_by_one = asyncio.Lock()

    async def call(i: int) -> Any:
        await asyncio.sleep(i * 0.01)
        if i % 40 != 20:
            return await asked(pool, moods.CALM, i, timeout_s=GENEROUS)
        async with one_by_one:  # a pool that lost all of its processes waits before it starts more
            await until(lambda: tally.processes == 2)
            crashed = tally.restarts["crashed"]
            end = await asked(pool, moods.EXIT, i, timeout_s=GENEROUS)
            await until(lambda: tally.restarts["crashed"] > crashed)
            return end

    ends = await asyncio.gather(*(call(i) for i in range(200)))

    failed = [i for i, end in enumerate(ends) if not isinstance(end, float)]
    assert failed == [20, 60, 100, 140, 180]
    assert all(end == i for i, end in enumerate(ends) if i not in failed)
    assert tally.restarts["crashed"] == 5
    await pool.close()


async def test_an_onnx_model_runs_in_a_pool_with_its_threads(tmp_path: Path) -> None:
    pool, _ = await opened(adder(tmp_path / "adder.onnx"), form="", threads=3)

    answers = await pool.infer([{"x": [i, 1.0]} for i in range(65)], GENEROUS)

    assert [one.value for one in answers] == [i + 1.0 for i in range(65)]  # type: ignore[union-attr]
    names = [p.read_text() for p in Path(f"/proc/{pool.pids[0]}/task").glob("*/comm")]
    assert len(names) >= 3
    await pool.close()


async def test_a_process_has_a_network_of_its_own_where_that_is_permitted(pool: Pool) -> None:
    own, theirs = (os.readlink(f"/proc/{pid}/ns/net") for pid in ("self", pool.pids[0]))

    assert (own != theirs) == (NETWORK in pool.confined)
    if NETWORK in pool.confined:
        devices = Path(f"/proc/{pool.pids[0]}/net/dev").read_text()
        assert [line.split(":")[0].strip() for line in devices.splitlines()[2:]] == ["lo"]
