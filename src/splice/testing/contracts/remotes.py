"""What every RemoteRuntime, and every HostedModel behind it, must hold to.

Inherit `RemoteContract` and give it two fixtures: `runtime`, and `known`: a server that runs, as a
`Known`. Rows and answers are the server's own, so that the suite runs against real ones too.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from splice.core.call import Prediction
from splice.core.errors import (
    DeclarationError,
    ModelMismatch,
    ModelUnavailable,
    ProviderFailed,
    RouteError,
    RouteTimeout,
)
from splice.core.release import Signature
from splice.core.versions import Endpoint
from splice.ports.hosts import HostedModel, RemoteRuntime


class Known(NamedTuple):
    """A model at an endpoint, and what is known of it.

    Attributes:
        endpoint: The model.
        rows: Rows that it answers, unlike in their answers; three at least.
        values: The value of each row's prediction.
        misfit: A row that does not fit the signature.
        unknown: The same server, another model: one that it does not have.
        away: Where nobody listens.
        features: Names of the columns of one matrix.
        signature: By hand, where the endpoint says nothing of its model; else None.
    """

    endpoint: Endpoint
    rows: Sequence[Mapping[str, Any]]
    values: Sequence[Any]
    misfit: Mapping[str, Any]
    unknown: Endpoint
    away: Endpoint
    features: Sequence[str] = ()
    signature: Signature | None = None


def opened(runtime: RemoteRuntime, known: Known, endpoint: Endpoint | None = None) -> HostedModel:
    """The model of an endpoint."""
    return runtime.connect(endpoint or known.endpoint, known.features, known.signature)


async def failed(model: HostedModel, row: Mapping[str, Any], timeout_s: float = 20) -> RouteError:
    """The error of one row, whether it is raised or is its result."""
    try:
        (result,) = await model.infer([row], timeout_s)
    except RouteError as error:
        return error
    assert isinstance(result, RouteError), result
    return result


def same(result: object, value: Any) -> bool:
    """Whether a result is the prediction of a value."""
    if not isinstance(result, Prediction):
        return False
    if isinstance(value, float):
        return math.isclose(result.value, value, rel_tol=1e-5)
    return bool(result.value == value)


class RemoteContract:
    """Rows go to an endpoint; each has its own result; what fails does so by name and in time."""

    async def test_the_signature_is_what_the_endpoint_says(
        self, runtime: RemoteRuntime, known: Known
    ) -> None:
        if known.signature is not None:
            with pytest.raises(ModelUnavailable):
                await runtime.inspect(known.endpoint)
            return

        signature = await runtime.inspect(known.endpoint)
        model = opened(runtime, known)
        await model.infer(known.rows[:1], 20)

        assert signature.inputs
        assert signature.outputs
        assert model.signature == signature

    @pytest.mark.parametrize("count", [1, 2, 65])
    async def test_each_row_has_one_prediction_in_its_order(
        self, runtime: RemoteRuntime, known: Known, count: int
    ) -> None:
        model = opened(runtime, known)
        many = len(known.rows)

        results = await model.infer([known.rows[i % many] for i in range(count)], 20)

        assert len(results) == count
        assert all(same(one, known.values[i % many]) for i, one in enumerate(results))

    async def test_no_rows_have_no_predictions(self, runtime: RemoteRuntime, known: Known) -> None:
        assert await opened(runtime, known).infer([], 20) == []

    async def test_a_row_that_does_not_fit_is_refused_alone(
        self, runtime: RemoteRuntime, known: Known
    ) -> None:
        model = opened(runtime, known)

        results = await model.infer([known.rows[0], known.misfit, {}, known.rows[1]], 20)

        assert same(results[0], known.values[0])
        assert same(results[3], known.values[1])
        assert [type(one) for one in results[1:3]] == [ModelMismatch, ModelMismatch]
        assert isinstance(await failed(model, known.misfit), ModelMismatch)

    async def test_runs_at_once_get_their_own_answers(
        self, runtime: RemoteRuntime, known: Known
    ) -> None:
        model = opened(runtime, known)
        many = len(known.rows)

        runs = await asyncio.gather(
            *(model.infer([known.rows[i % many]] * (1 + i % 3), 20) for i in range(24))
        )

        assert model.lanes >= 1
        for i, results in enumerate(runs):
            assert len(results) == 1 + i % 3
            assert all(same(one, known.values[i % many]) for one in results)

    async def test_an_endpoint_that_is_away_fails_and_says_so(
        self, runtime: RemoteRuntime, known: Known
    ) -> None:
        model = opened(runtime, known, known.away)

        error = await failed(model, known.rows[0])

        assert isinstance(error, ProviderFailed)
        assert error.retryable
        with pytest.raises(ModelUnavailable):
            await runtime.inspect(known.away)

    async def test_a_model_that_is_not_there_is_unavailable(
        self, runtime: RemoteRuntime, known: Known
    ) -> None:
        error = await failed(opened(runtime, known, known.unknown), known.rows[0])

        assert isinstance(error, ModelUnavailable)
        assert not error.retryable
        with pytest.raises(ModelUnavailable):
            await runtime.inspect(known.unknown)

    async def test_no_time_is_a_timeout(self, runtime: RemoteRuntime, known: Known) -> None:
        model = opened(runtime, known)
        await model.infer(known.rows[:1], 20)

        began = time.monotonic()
        for timeout_s in (1e-6, 0.0, -1.0):
            assert isinstance(await failed(model, known.rows[0], timeout_s), RouteTimeout)

        assert time.monotonic() - began < 10
        assert same((await model.infer(known.rows[:1], 20))[0], known.values[0])

    async def test_a_run_given_up_leaves_the_model_as_it_was(
        self, runtime: RemoteRuntime, known: Known
    ) -> None:
        model = opened(runtime, known)
        await model.infer(known.rows[:1], 20)
        for turns in range(4):
            run = asyncio.ensure_future(model.infer(known.rows[:2], 20))
            for _ in range(turns):
                await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

        assert same((await model.infer([known.rows[1]], 20))[0], known.values[1])

    def test_an_unknown_option_is_refused_when_it_connects(
        self, runtime: RemoteRuntime, known: Known
    ) -> None:
        odd = msgspec.structs.replace(known.endpoint, options={"lane": 3})

        with pytest.raises(DeclarationError, match="lane"):
            opened(runtime, known, odd)

    def test_a_secret_that_is_not_there_is_named_and_how_to_give_it(
        self, runtime: RemoteRuntime, known: Known
    ) -> None:
        locked = msgspec.structs.replace(known.endpoint, key_env="NO_SUCH")

        with pytest.raises(ModelUnavailable, match=r"NO_SUCH.*endpoint_keys"):
            opened(runtime, known, locked)

    async def test_a_price_of_rows_is_the_cost_of_a_prediction(
        self, runtime: RemoteRuntime, known: Known
    ) -> None:
        options = {**known.endpoint.options, "row_price": 0.002}
        priced = msgspec.structs.replace(known.endpoint, options=options)

        (first, bad, free) = await asyncio.gather(
            opened(runtime, known, priced).infer(known.rows[:2], 20),
            failed(opened(runtime, known, priced), known.misfit),
            opened(runtime, known).infer(known.rows[:1], 20),
        )

        assert [one.cost_nano for one in first] == [2_000_000] * 2
        assert bad.cost_nano == 0
        assert free[0].cost_nano is None
