"""What every pool of worker processes must hold to.

Inherit `PoolContract` and give it four fixtures: `open_pool`, what the entry point names; `adder`,
the file and the route of a model that reads `a` and `b` and gives their sum; `crasher`, those of
one that ends its process where `a` is 1, takes an hour where `a` is 2, gives NaN where `a` is 3,
and else gives `b`; and `damaged`, those of a file that cannot be loaded.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from splice.core.call import Prediction
from splice.core.errors import (
    BadAnswer,
    ModelMismatch,
    ModelUnavailable,
    RouteCrashed,
    RouteError,
    RouteTimeout,
)
from splice.core.release import PinnedRoute
from splice.ports.hosts import HostedModel, OpenPool, PoolPlan, PoolTally

Pinned: TypeAlias = "tuple[Path, PinnedRoute]"
_GENEROUS = 60.0


class PoolContract:
    """Rows are answered in their order; what happens to one process harms its own runs alone."""

    async def test_each_row_has_one_prediction_in_its_order(
        self, open_pool: OpenPool, adder: Pinned
    ) -> None:
        pool = await asyncio.to_thread(open_pool, *adder, PoolPlan(processes=2))

        runs = [pool.infer(_rows(count), _GENEROUS) for count in (1, 2, 65)]
        given = await asyncio.gather(*runs)

        for answers in given:
            assert [_value(one) for one in answers] == [i + 0.5 for i in range(len(answers))]
        assert pool.signature is not None
        assert 1 <= pool.lanes <= 2
        await pool.close()

    async def test_a_row_that_does_not_fit_spoils_its_own_answer_only(
        self, open_pool: OpenPool, adder: Pinned
    ) -> None:
        pool = await asyncio.to_thread(open_pool, *adder, PoolPlan())
        rows = [*_rows(5), {"a": 1.0}, {"a": 1.0, "b": "text"}, {"a": 1.0, "b": float("nan")}]

        answers = await pool.infer(rows, _GENEROUS)

        assert [_value(one) for one in answers[:5]] == [i + 0.5 for i in range(5)]
        assert all(isinstance(one, ModelMismatch) for one in answers[5:])
        await pool.close()

    async def test_nan_spoils_its_own_answer_only(
        self, open_pool: OpenPool, crasher: Pinned
    ) -> None:
        pool = await asyncio.to_thread(open_pool, *crasher, PoolPlan())

        first, second = await pool.infer([{"a": 3.0, "b": 1.0}, {"a": 0.0, "b": 1.0}], _GENEROUS)

        assert isinstance(first, BadAnswer)
        assert _value(second) == 1.0
        await pool.close()

    async def test_a_crash_fails_its_run_and_the_process_is_replaced(
        self, open_pool: OpenPool, crasher: Pinned
    ) -> None:
        tally = PoolTally()
        pool = await asyncio.to_thread(open_pool, *crasher, PoolPlan(tally=tally))

        with pytest.raises(RouteCrashed):
            await pool.infer([{"a": 1.0, "b": 1.0}], _GENEROUS)

        assert await _answered(pool, 7.0)
        assert dict(tally.restarts) == {"crashed": 1}
        assert tally.processes == 1
        await pool.close()
        assert tally.processes == 0

    async def test_a_run_that_does_not_end_gives_up_its_place(
        self, open_pool: OpenPool, crasher: Pinned
    ) -> None:
        pool = await asyncio.to_thread(open_pool, *crasher, PoolPlan())

        with pytest.raises(RouteTimeout):
            await pool.infer([{"a": 2.0, "b": 1.0}], 0.1)

        assert await _answered(pool, 7.0)
        await pool.close()

    async def test_a_file_that_cannot_be_loaded_is_unavailable(
        self, open_pool: OpenPool, damaged: Pinned
    ) -> None:
        with pytest.raises(ModelUnavailable) as raised:
            await asyncio.to_thread(open_pool, *damaged, PoolPlan())

        assert raised.value.detail

    async def test_features_that_do_not_fit_are_a_mismatch(
        self, open_pool: OpenPool, adder: Pinned
    ) -> None:
        file, pinned = adder
        wrong = msgspec.structs.replace(pinned, features=("a", "b", "c"))

        with pytest.raises(ModelMismatch):
            await asyncio.to_thread(open_pool, file, wrong, PoolPlan())

    async def test_a_closed_pool_refuses(self, open_pool: OpenPool, adder: Pinned) -> None:
        pool = await asyncio.to_thread(open_pool, *adder, PoolPlan())
        await pool.close()

        with pytest.raises(ModelUnavailable):
            await pool.infer(_rows(1), _GENEROUS)
        await pool.close()  # twice does no harm


def _rows(count: int) -> list[dict[str, Any]]:
    return [{"a": float(i), "b": 0.5, "more": "x"} for i in range(count)]


def _value(answer: Prediction | RouteError) -> Any:
    return answer.value if isinstance(answer, Prediction) else answer


async def _answered(pool: HostedModel, value: float) -> bool:
    """Whether it answers rightly again; a pool may refuse for a while after a failure."""
    give_up = time.monotonic() + _GENEROUS
    while time.monotonic() < give_up:
        try:
            (answer,) = await pool.infer([{"a": 0.0, "b": value}], _GENEROUS)
        except RouteError:
            await asyncio.sleep(0.05)
            continue
        return _value(answer) == value
    return False
