"""Hosted: what waits goes together, what nobody wants ends, what keeps failing is left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from splice.core.call import Prediction, Trace
from splice.core.errors import (
    BadAnswer,
    ModelMismatch,
    ProviderFailed,
    ProviderLimited,
    RouteCrashed,
    RouteError,
    RouteTimeout,
)
from splice.core.release import Signature
from splice.engine.routing.breaker import Breaker, Breaking
from splice.engine.routing.hosted import Hosted
from splice.ports.predictor import Question

Rows = Sequence[Mapping[str, Any]]


class Scripted:
    """A HostedModel that doubles `n`, or does what it is told; a run waits while `gate` is shut."""

    signature: Signature | None = None

    def __init__(self, lanes: int = 2) -> None:
        self.lanes = lanes
        self.runs: list[list[Any]] = []
        self.patience: list[float] = []
        self.traces: list[Trace | None] = []
        self.ended = 0
        self.closed = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.instead: Callable[[Rows], list[Prediction | RouteError]] | None = None

    async def infer(
        self, rows: Rows, timeout_s: float, trace: Trace | None = None
    ) -> list[Prediction | RouteError]:
        self.runs.append([row["n"] for row in rows])
        self.patience.append(timeout_s)
        self.traces.append(trace)
        try:
            async with asyncio.timeout(timeout_s):
                await self.gate.wait()
        except TimeoutError:
            raise RouteTimeout("scripted") from None
        except asyncio.CancelledError:
            self.ended += 1
            raise
        if self.instead is not None:
            return self.instead(rows)
        return [Prediction(row["n"] * 2) for row in rows]

    async def close(self) -> None:
        self.closed = True


def ask(n: int, deadline_s: float = 30.0, until_s: float = 0.0) -> Question:
    now = time.monotonic()
    return Question("c", {"n": n}, now + deadline_s, until=until_s and now + until_s)


def raising(error: RouteError) -> Callable[[Rows], list[Prediction | RouteError]]:
    def fail(rows: Rows) -> list[Prediction | RouteError]:
        raise error

    return fail


async def until(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def test_questions_of_one_tick_make_one_run_and_each_gets_its_own_answer() -> None:
    model = Scripted()
    hosted = Hosted(model, "m")

    answers = await asyncio.gather(*(hosted.predict(ask(n)) for n in range(5)))

    assert [one.value for one in answers] == [0, 2, 4, 6, 8]
    assert model.runs == [[0, 1, 2, 3, 4]]


async def test_a_run_is_no_longer_than_its_bound() -> None:
    model = Scripted(lanes=9)
    hosted = Hosted(model, "m", max_batch=2)

    await asyncio.gather(*(hosted.predict(ask(n)) for n in range(5)))

    assert model.runs == [[0, 1], [2, 3], [4]]


async def test_what_comes_while_every_lane_is_taken_makes_the_next_run() -> None:
    model = Scripted(lanes=2)
    hosted = Hosted(model, "m")
    model.gate.clear()
    futures = []
    for n in range(6):
        futures.append(hosted.predict(ask(n)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    model.gate.set()

    answers = await asyncio.gather(*futures)

    assert [one.value for one in answers] == [0, 2, 4, 6, 8, 10]
    assert model.runs == [[0], [1], [2, 3, 4, 5]]


async def test_a_run_has_the_time_of_the_route_and_not_of_the_whole_call() -> None:
    model = Scripted()
    hosted = Hosted(model, "m")

    await hosted.predict(ask(1, deadline_s=30, until_s=0.5))
    await asyncio.gather(hosted.predict(ask(1, until_s=0.5)), hosted.predict(ask(2, until_s=3.0)))

    assert model.patience[0] <= 0.5
    assert 2.0 < model.patience[1] <= 3.0


async def test_a_run_that_nobody_wants_any_more_is_ended() -> None:
    model = Scripted(lanes=1)
    hosted = Hosted(model, "m")
    model.gate.clear()
    first, second = hosted.predict(ask(1)), hosted.predict(ask(2))
    await until(lambda: model.runs)

    first.cancel()
    await asyncio.sleep(0.02)
    assert model.ended == 0  # somebody still waits
    second.cancel()

    await until(lambda: model.ended == 1)
    model.gate.set()
    assert (await hosted.predict(ask(3))).value == 6


async def test_what_is_given_up_before_it_was_sent_is_never_sent() -> None:
    model = Scripted(lanes=1)
    hosted = Hosted(model, "m")
    model.gate.clear()
    kept = hosted.predict(ask(1))
    await until(lambda: model.runs)
    hosted.predict(ask(2)).cancel()
    later = hosted.predict(ask(3))
    model.gate.set()

    assert [(await kept).value, (await later).value] == [2, 6]
    assert model.runs == [[1], [3]]


async def test_each_row_has_its_own_error() -> None:
    model = Scripted()
    model.instead = lambda rows: [Prediction(1), BadAnswer("m", got="NaN"), Prediction(3)]
    hosted = Hosted(model, "m")

    results = await asyncio.gather(
        *(hosted.predict(ask(n)) for n in range(3)), return_exceptions=True
    )

    assert [type(one) for one in results] == [Prediction, BadAnswer, Prediction]


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_another_number_of_answers_is_a_crash_and_never_somebody_elses(count: int) -> None:
    model = Scripted()
    model.instead = lambda rows: [Prediction(1)] * count
    hosted = Hosted(model, "m")

    results = await asyncio.gather(
        *(hosted.predict(ask(n)) for n in range(2)), return_exceptions=True
    )

    assert [type(one) for one in results] == [RouteCrashed, RouteCrashed]


async def test_a_fault_of_the_host_itself_reaches_its_callers() -> None:
    model = Scripted()
    model.instead = lambda rows: [1 / 0]  # type: ignore[list-item]

    with pytest.raises(RouteCrashed, match="ZeroDivisionError"):
        await Hosted(model, "m").predict(ask(1))


async def test_closing_ends_what_runs() -> None:
    model = Scripted()
    hosted = Hosted(model, "m")
    model.gate.clear()
    asked = hosted.predict(ask(1))
    await until(lambda: model.runs)

    await hosted.close()

    assert (model.ended, model.closed) == (1, True)
    asked.cancel()


async def test_a_host_that_keeps_failing_is_left_alone_and_asked_again_by_one() -> None:
    model = Scripted()
    breaker = Breaker(Breaking(failures=3, seconds=0.2))
    hosted = Hosted(model, "m", breaker=breaker)
    model.instead = raising(ProviderFailed("m", got="refused"))
    for _ in range(3):
        with pytest.raises(ProviderFailed):
            await hosted.predict(ask(1))
    asked = len(model.runs)

    assert "3 times" in hosted.trouble
    with pytest.raises(ProviderLimited) as left_alone:
        hosted.predict(ask(1))
    assert len(model.runs) == asked
    assert 0 < (left_alone.value.retry_after or 0) <= 0.2

    await until(lambda: breaker.ready(time.monotonic()))
    probe = hosted.predict(ask(1))
    with pytest.raises(ProviderLimited):
        hosted.predict(ask(2))
    with pytest.raises(ProviderFailed):
        await probe
    with pytest.raises(ProviderLimited):
        hosted.predict(ask(1))

    await until(lambda: breaker.ready(time.monotonic()))
    model.instead = None
    assert (await hosted.predict(ask(4))).value == 8
    assert (await hosted.predict(ask(5))).value == 10
    assert hosted.trouble == ""


async def test_what_waited_when_it_became_known_is_refused_at_once() -> None:
    model = Scripted(lanes=1)
    hosted = Hosted(model, "m", breaker=Breaker(Breaking(failures=1, seconds=60)))
    model.gate.clear()
    model.instead = raising(ProviderFailed("m", got="refused"))
    first = hosted.predict(ask(1))
    await until(lambda: model.runs)
    waiting = hosted.predict(ask(2))
    model.gate.set()

    results = await asyncio.gather(first, waiting, return_exceptions=True)

    assert [type(one) for one in results] == [ProviderFailed, ProviderLimited]
    assert model.runs == [[1]]


@pytest.mark.parametrize(
    "error", [ModelMismatch("m", got="x"), BadAnswer("m", got="x"), RouteCrashed("m", got="x")]
)
async def test_what_a_callers_rows_do_never_shuts_others_out(error: RouteError) -> None:
    model = Scripted()
    hosted = Hosted(model, "m", breaker=Breaker(Breaking(failures=2, seconds=60)))
    model.instead = raising(error)
    for _ in range(5):
        with pytest.raises(type(error)):
            await hosted.predict(ask(1))
    model.instead = None

    assert (await hosted.predict(ask(1))).value == 2


async def test_callers_that_go_away_never_shut_others_out() -> None:
    model = Scripted()
    hosted = Hosted(model, "m", breaker=Breaker(Breaking(failures=2, seconds=60)))
    for _ in range(5):
        model.gate.clear()
        asked = len(model.runs)
        future = hosted.predict(ask(1))
        await until(lambda before=asked: len(model.runs) > before)
        future.cancel()
        await until(lambda: not hosted._running)
    model.gate.set()

    assert (await hosted.predict(ask(1))).value == 2


async def test_a_probe_that_goes_away_lets_another_one_try() -> None:
    model = Scripted()
    breaker = Breaker(Breaking(failures=1, seconds=0.05))
    hosted = Hosted(model, "m", breaker=breaker)
    model.instead = raising(ProviderFailed("m"))
    with pytest.raises(ProviderFailed):
        await hosted.predict(ask(1))
    model.instead = None
    await until(lambda: breaker.ready(time.monotonic()))

    hosted.predict(ask(1)).cancel()
    await until(lambda: breaker.ready(time.monotonic()))

    assert (await hosted.predict(ask(2))).value == 4


async def test_callers_that_give_up_at_the_end_of_their_time_do_count() -> None:
    model = Scripted()
    hosted = Hosted(model, "m", breaker=Breaker(Breaking(failures=2, seconds=60)))
    model.gate.clear()
    for _ in range(2):
        with pytest.raises((TimeoutError, RouteTimeout)):
            async with asyncio.timeout(0.05):
                await hosted.predict(ask(1, until_s=0.05))
    await until(lambda: not hosted._running)

    with pytest.raises(ProviderLimited):
        hosted.predict(ask(1))


async def test_no_time_at_all_says_nothing_of_the_host() -> None:
    model = Scripted()
    hosted = Hosted(model, "m", breaker=Breaker(Breaking(failures=1, seconds=60)))

    with pytest.raises(RouteTimeout):
        await hosted.predict(ask(1, until_s=-1.0))

    assert model.runs == []
    assert (await hosted.predict(ask(1))).value == 2


async def test_one_answer_proves_a_host_and_its_neighbours_errors_do_not_count() -> None:
    model = Scripted()
    hosted = Hosted(model, "m", breaker=Breaker(Breaking(failures=1, seconds=60)))
    model.instead = lambda rows: [ProviderFailed("m"), *[Prediction(1)] * (len(rows) - 1)]

    for _ in range(3):
        pair = hosted.predict(ask(1)), hosted.predict(ask(2))
        results = await asyncio.gather(*pair, return_exceptions=True)
        assert [type(one) for one in results] == [ProviderFailed, Prediction]


async def test_the_cost_is_the_hosts_own_or_that_of_its_time() -> None:
    model = Scripted()
    model.instead = lambda rows: [Prediction(1, cost_nano=7), Prediction(2)]
    timed = Hosted(model, "m", nano_per_second=1e9)
    untold = Hosted(model, "m")

    for hosted, known in ((timed, True), (untold, False)):
        one, two = await asyncio.gather(hosted.predict(ask(1)), hosted.predict(ask(2)))
        assert one.cost_nano == 7
        assert (two.cost_nano is not None) is known
