"""Endpoints that misbehave: each fault is one named error, in time, and costs no neighbour more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from remote_house import free_port

from splice.adapters.remotes.oip import OipRuntime, arrays_of
from splice.adapters.remotes.oip_grpc import OipGrpcRuntime
from splice.core.call import Prediction, Trace
from splice.core.errors import (
    BadAnswer,
    DeclarationError,
    ModelMismatch,
    ModelUnavailable,
    ProviderFailed,
    ProviderLimited,
    RouteCrashed,
    RouteTimeout,
    SpliceError,
)
from splice.core.release import Column, Signature
from splice.core.versions import Endpoint
from splice.oip.tensors import Tensor
from splice.testing.contracts.remotes import failed, same
from splice.testing.oip_grpc_server import OipGrpcServer
from splice.testing.oip_server import Asked, OipServer, Said
from splice.testing.rough_server import RoughServer

ROW = {"a": 1.0, "b": 2.0}
THIRTEEN = {"a": 6.0, "b": 7.0}  # what the faults of single values hit
PAIR = Signature(inputs=(Column("x", "FP32", (-1, 2)),))
NAMES = ("a", "b")
TRACE = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", flags=1)


@pytest.fixture
def server() -> Iterator[OipServer]:
    with OipServer() as server:
        yield server


@pytest.fixture
def grpc_server() -> Iterator[OipGrpcServer]:
    with OipGrpcServer() as server:
        yield server


@pytest.fixture
async def runtime() -> AsyncIterator[OipRuntime]:
    made = OipRuntime({"KEY": "hush-hush-hush"})
    yield made
    await made.close()


@pytest.fixture
async def grpc_runtime() -> AsyncIterator[OipGrpcRuntime]:
    made = OipGrpcRuntime({"KEY": "hush-hush-hush"})
    yield made
    await made.close()


async def _until(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize(
    ("fault", "wanted", "retryable"),
    [
        ("half an answer", ProviderFailed, True),
        ("resets", ProviderFailed, True),
        ("no http", ProviderFailed, True),
        ("endless", ProviderFailed, True),
        ("one row too few", BadAnswer, True),
        ("one row too many", BadAnswer, True),
        ("other types", BadAnswer, True),
        ("no outputs", BadAnswer, True),
        ("empty outputs", BadAnswer, True),
        ("a lie of a shape", BadAnswer, True),
        ("not an object", BadAnswer, True),
    ],
)
async def test_a_fault_is_one_named_error_and_the_next_answer_is_good(
    runtime: OipRuntime,
    server: OipServer,
    fault: str,
    wanted: type[SpliceError],
    retryable: bool,
) -> None:
    model = runtime.connect(Endpoint("oip", server.url, "adder"), NAMES, PAIR)
    await model.infer([ROW], 20)
    server.fault = fault

    for count in (1, 3):
        try:
            results = await model.infer([ROW] * count, 20)
        except SpliceError as error:
            results = [error] * count
        assert [type(one) for one in results] == [wanted] * count
        assert isinstance(results[0], SpliceError)
        assert results[0].retryable is retryable

    server.fault = ""
    assert same((await model.infer([ROW], 20))[0], 3.0)


async def test_an_output_that_was_asked_for_and_is_missing_is_a_bad_answer(
    runtime: OipRuntime, server: OipServer
) -> None:
    at = Endpoint("oip", server.url, "adder", options={"outputs": ["sum"]})
    server.fault = "other names"

    error = await failed(runtime.connect(at, NAMES, PAIR), ROW)

    assert isinstance(error, BadAnswer)
    assert error.promised == "the output sum"


@pytest.mark.parametrize("fault", ["NaN", "null", "an infinity"])
async def test_a_row_whose_answer_is_no_number_fails_alone(
    runtime: OipRuntime, server: OipServer, fault: str
) -> None:
    model = runtime.connect(Endpoint("oip", server.url, "adder"), NAMES, PAIR)
    await model.infer([ROW], 20)
    server.fault = fault

    results = await model.infer([ROW, ROW, THIRTEEN, ROW], 20)

    assert [type(one) for one in results] == [Prediction, Prediction, BadAnswer, Prediction]


async def test_a_row_that_crashes_the_model_costs_its_neighbours_nothing(
    runtime: OipRuntime, server: OipServer
) -> None:
    model = runtime.connect(Endpoint("oip", server.url, "adder"), NAMES, PAIR)
    await model.infer([ROW], 20)
    rows = [ROW] * 8
    rows[5] = {"a": 666.0, "b": 1.0}

    results = await model.infer(rows, 20)

    assert [type(one) for one in results] == [Prediction] * 5 + [RouteCrashed] + [Prediction] * 2


async def test_a_server_that_refuses_everything_is_not_asked_for_every_row(
    runtime: OipRuntime, server: OipServer
) -> None:
    model = runtime.connect(Endpoint("oip", server.url, "adder"), NAMES, PAIR)
    server.status = 400

    for _ in range(3):
        with pytest.raises(ModelMismatch):
            await model.infer([ROW] * 64, 20)

    assert len(server.asked) == 3


async def test_after_it_worked_a_refusal_of_everything_is_looked_into_once(
    runtime: OipRuntime, server: OipServer
) -> None:
    model = runtime.connect(Endpoint("oip", server.url, "adder"), NAMES, PAIR)
    await model.infer([ROW], 20)
    server.status = 500
    before = len(server.asked)

    await model.infer([ROW] * 16, 20)
    looked = len(server.asked) - before
    with pytest.raises(RouteCrashed):
        await model.infer([ROW] * 16, 20)

    assert looked < 2 * 16
    assert len(server.asked) - before == looked + 1


async def test_a_hung_server_ends_at_the_timeout_and_is_hung_up_on(
    runtime: OipRuntime, server: OipServer
) -> None:
    model = runtime.connect(Endpoint("oip", server.url, "adder"), NAMES, PAIR)
    server.fault = "hangs"
    began = time.monotonic()

    error = await failed(model, ROW, 0.2)

    assert isinstance(error, RouteTimeout)
    assert 0.15 < time.monotonic() - began < 10
    await _until(lambda: server.left == 1)


async def test_a_run_given_up_is_hung_up_on(runtime: OipRuntime, server: OipServer) -> None:
    model = runtime.connect(Endpoint("oip", server.url, "adder"), NAMES, PAIR)
    server.fault = "hangs"
    run = asyncio.ensure_future(model.infer([ROW], 60))
    await _until(lambda: server.asked)

    run.cancel()

    await _until(lambda: server.left == 1)


@pytest.mark.parametrize(
    ("status", "headers", "wanted", "retryable"),
    [
        (400, {}, ModelMismatch, False),
        (401, {}, ProviderFailed, False),
        (403, {}, ProviderFailed, False),
        (404, {}, ModelUnavailable, False),
        (408, {}, ProviderFailed, True),
        (422, {}, ModelMismatch, False),
        (429, {"retry-after": "7"}, ProviderLimited, True),
        (500, {}, RouteCrashed, False),
        (502, {}, ProviderFailed, True),
        (503, {}, ProviderFailed, True),
        (503, {"retry-after": "7"}, ProviderLimited, True),
        (504, {}, ProviderFailed, True),
        (302, {"location": "http://127.0.0.1:1/"}, ProviderFailed, False),
        (204, {}, ProviderFailed, False),
    ],
)
async def test_a_status_says_what_kind_of_error_it_is(
    runtime: OipRuntime,
    server: OipServer,
    status: int,
    headers: dict[str, str],
    wanted: type[SpliceError],
    retryable: bool,
) -> None:
    server.status, server.headers = status, headers
    server.body = b"" if status == 204 else b'{"error":"its own words"}'

    error = await failed(runtime.connect(Endpoint("oip", server.url, "adder"), NAMES, PAIR), ROW)

    assert (type(error), error.retryable) == (wanted, retryable)
    assert "its own words" in error.got or status == 204
    if isinstance(error, ProviderLimited):
        assert error.retry_after == 7.0


async def test_a_secret_goes_where_it_is_said_and_is_never_repeated(
    runtime: OipRuntime, server: OipServer
) -> None:
    at = Endpoint("oip", server.url, "adder", key_env="KEY")
    other = Endpoint("oip", server.url, "adder", key_env="KEY", options={"key_header": "X-Api-Key"})
    for endpoint in (at, other):
        await runtime.connect(endpoint, NAMES, PAIR).infer([ROW], 20)
    server.status, server.body = 401, b'{"error":"hush-hush-hush is wrong"}'

    error = await failed(runtime.connect(at, NAMES, PAIR), ROW)

    sent = [one.headers for one in server.asked]
    assert sent[0]["authorization"] == "Bearer hush-hush-hush"
    assert sent[1]["x-api-key"] == "hush-hush-hush"
    assert "authorization" not in sent[1]
    assert "hush" not in str(error)
    assert "the variable KEY" in error.mend


async def test_trace_host_and_headers_go_with_the_request(
    runtime: OipRuntime, server: OipServer
) -> None:
    options = {"host": "credit.models.example.com", "headers": {"X-Tenant": "one"}}
    at = Endpoint("oip", server.url, "adder", "2", options=options)

    await runtime.connect(at, NAMES, PAIR).infer([ROW], 20, TRACE)

    (asked,) = server.asked
    assert asked.path == "/v2/models/adder/versions/2/infer"
    assert asked.headers["host"] == "credit.models.example.com"
    assert asked.headers["x-tenant"] == "one"
    assert asked.headers["traceparent"] == f"00-{TRACE.trace_id}-{TRACE.span_id}-01"


async def test_a_model_that_is_not_ready_is_not_registered(
    runtime: OipRuntime, server: OipServer
) -> None:
    server.fault = "not ready"

    with pytest.raises(ModelUnavailable, match="503"):
        await runtime.inspect(Endpoint("oip", server.url, "adder"))


async def test_a_model_of_one_row_is_asked_one_row_at_a_time(
    runtime: OipRuntime, server: OipServer
) -> None:
    single = Signature(inputs=(Column("x", "FP32", (1, 2)),))
    model = runtime.connect(
        Endpoint("oip", server.url, "adder", options={"lanes": 2}), NAMES, single
    )
    capped = runtime.connect(
        Endpoint("oip", server.url, "adder", options={"max_batch": 4}), NAMES, PAIR
    )

    ones = await model.infer([{"a": i, "b": 0} for i in range(5)], 20)
    first = len(server.asked)
    fours = await capped.infer([{"a": i, "b": 0} for i in range(10)], 20)

    assert all(same(one, float(i)) for i, one in enumerate(ones))
    assert all(same(one, float(i)) for i, one in enumerate(fours))
    assert (first, len(server.asked) - first) == (5, 3)


async def test_no_more_requests_are_on_their_way_than_there_are_lanes(
    runtime: OipRuntime, server: OipServer
) -> None:
    options = {"lanes": 3, "max_batch": 1}
    model = runtime.connect(Endpoint("oip", server.url, "adder", options=options), NAMES, PAIR)
    server.delay_s = 0.02

    results = await model.infer([{"a": i, "b": 0} for i in range(10)], 20)

    assert all(same(one, float(i)) for i, one in enumerate(results))
    assert server.most_at_once == 3


async def test_any_name_of_a_model_is_one_step_of_the_path(
    runtime: OipRuntime, server: OipServer
) -> None:
    odd = Endpoint("oip", f"{server.url}/v2/", "team/modèle?x", "1/2")

    error = await failed(runtime.connect(odd, NAMES, PAIR), ROW)

    assert isinstance(error, ModelUnavailable)
    assert server.asked[-1].path == "/v2/models/team%2Fmod%C3%A8le%3Fx/versions/1%2F2/infer"


async def test_a_model_that_says_of_itself_that_it_is_not_ready_is_not(
    runtime: OipRuntime, server: OipServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave = server.answer

    def unready(asked: Asked) -> Said:
        said = behave(asked)
        return Said(200, b'{"ready": false}') if asked.path.endswith("/ready") else said

    monkeypatch.setattr(server, "answer", unready)

    with pytest.raises(ModelUnavailable, match="not ready"):
        await runtime.inspect(Endpoint("oip", server.url, "adder"))


async def test_binary_data_that_is_too_short_is_a_bad_answer(
    runtime: OipRuntime, server: OipServer
) -> None:
    at = Endpoint("oip", server.url, "adder", options={"binary": True})
    server.fault = "binary that is too short"

    assert isinstance(await failed(runtime.connect(at, NAMES, PAIR), ROW), BadAnswer)


async def test_connections_are_kept_and_shared_by_models_of_one_address(
    runtime: OipRuntime, server: OipServer
) -> None:
    for _ in range(3):
        model = runtime.connect(Endpoint("oip", server.url, "adder"), NAMES, PAIR)
        await model.infer([ROW], 20)

    (http,) = runtime._https.values()
    (pool,) = http._pools.values()
    assert len(pool.every) == 1


@pytest.mark.parametrize(
    "url",
    [
        "", "adder", "ftp://host", "http://", "http://user:pw@host", "http://host?key=1",
        "http://host/ü", "http://host:port", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_without_being_repeated(
    runtime: OipRuntime, url: str
) -> None:
    with pytest.raises(DeclarationError) as raised:
        runtime.connect(Endpoint("oip", url, "adder"))

    assert "pw" not in str(raised.value)


@pytest.mark.parametrize(
    "options",
    [
        {"lanes": 0}, {"lanes": "many"}, {"outputs": "sum"}, {"headers": {"a b": "c"}},
        {"headers": {"x": "a\r\ny: b"}}, {"row_price": -1}, {"ca_file": "/no/such/file"},
    ],
)  # fmt: skip
def test_an_option_that_is_wrong_is_refused(runtime: OipRuntime, options: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError):
        runtime.connect(Endpoint("oip", "https://127.0.0.1:1", "adder", options=options))


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        ("one row too few", BadAnswer),
        ("one row too many", BadAnswer),
        ("no outputs", BadAnswer),
        ("raw too short", BadAnswer),
    ],
)
async def test_a_fault_over_grpc_is_one_named_error(
    grpc_runtime: OipGrpcRuntime,
    grpc_server: OipGrpcServer,
    fault: str,
    wanted: type[SpliceError],
    raw: bool,
) -> None:
    grpc_server.raw = raw or fault == "raw too short"
    grpc_server.fault = fault
    model = grpc_runtime.connect(Endpoint("oip-grpc", grpc_server.url, "adder"), NAMES, PAIR)

    assert isinstance(await failed(model, ROW), wanted)
    grpc_server.fault = ""
    assert same((await model.infer([ROW], 20))[0], 3.0)


@pytest.mark.parametrize("raw", [True, False])
async def test_a_nan_over_grpc_fails_its_own_row(
    grpc_runtime: OipGrpcRuntime, grpc_server: OipGrpcServer, raw: bool
) -> None:
    grpc_server.raw, grpc_server.fault = raw, "NaN"
    model = grpc_runtime.connect(Endpoint("oip-grpc", grpc_server.url, "adder"), NAMES, PAIR)

    results = await model.infer([ROW, THIRTEEN, ROW], 20)

    assert [type(one) for one in results] == [Prediction, BadAnswer, Prediction]


@pytest.mark.parametrize(
    ("code", "wanted", "retryable"),
    [
        ("INVALID_ARGUMENT", ModelMismatch, False),
        ("NOT_FOUND", ModelUnavailable, False),
        ("UNIMPLEMENTED", ModelUnavailable, False),
        ("UNAVAILABLE", ProviderFailed, True),
        ("RESOURCE_EXHAUSTED", ProviderLimited, True),
        ("UNAUTHENTICATED", ProviderFailed, False),
        ("PERMISSION_DENIED", ProviderFailed, False),
        ("INTERNAL", RouteCrashed, False),
        ("UNKNOWN", RouteCrashed, False),
        ("DEADLINE_EXCEEDED", RouteTimeout, True),
        ("ABORTED", ProviderFailed, True),
    ],
)
async def test_a_grpc_status_says_what_kind_of_error_it_is(
    grpc_runtime: OipGrpcRuntime,
    grpc_server: OipGrpcServer,
    code: str,
    wanted: type[SpliceError],
    retryable: bool,
) -> None:
    grpc_server.code = code
    model = grpc_runtime.connect(Endpoint("oip-grpc", grpc_server.url, "adder"), NAMES, PAIR)

    error = await failed(model, ROW)

    assert (type(error), error.retryable) == (wanted, retryable)


async def test_a_hung_grpc_server_ends_at_the_timeout_and_is_told(
    grpc_runtime: OipGrpcRuntime, grpc_server: OipGrpcServer
) -> None:
    model = grpc_runtime.connect(Endpoint("oip-grpc", grpc_server.url, "adder"), NAMES, PAIR)
    await model.infer([ROW], 20)
    grpc_server.fault = "hangs"
    began = time.monotonic()

    assert isinstance(await failed(model, ROW, 0.2), RouteTimeout)

    assert 0.15 < time.monotonic() - began < 10
    await _until(lambda: grpc_server.left == 1)
    run = asyncio.ensure_future(model.infer([ROW], 60))
    await _until(lambda: len(grpc_server.asked) == 3)
    run.cancel()
    await _until(lambda: grpc_server.left == 2)


async def test_a_grpc_server_that_comes_back_is_found_again(
    grpc_runtime: OipGrpcRuntime, grpc_server: OipGrpcServer
) -> None:
    model = grpc_runtime.connect(Endpoint("oip-grpc", grpc_server.url, "adder"), NAMES, PAIR)
    await model.infer([ROW], 20)
    grpc_server.stop()
    assert isinstance(await failed(model, ROW), ProviderFailed)

    grpc_server.start()

    for _ in range(200):
        try:
            results = await model.infer([ROW], 20)
            break
        except ProviderFailed:
            await asyncio.sleep(0.05)
    assert same(results[0], 3.0)


async def test_secret_and_trace_go_as_metadata(
    grpc_runtime: OipGrpcRuntime, grpc_server: OipGrpcServer
) -> None:
    at = Endpoint("oip-grpc", grpc_server.url, "adder", key_env="KEY")

    await grpc_runtime.connect(at, NAMES, PAIR).infer([ROW], 20, TRACE)

    (metadata,) = grpc_server.asked
    assert metadata["authorization"] == "Bearer hush-hush-hush"
    assert metadata["traceparent"] == f"00-{TRACE.trace_id}-{TRACE.span_id}-01"


async def test_http_where_grpc_is_spoken_is_said_to_be_wrong(
    runtime: OipRuntime, grpc_server: OipGrpcServer
) -> None:
    url = grpc_server.url.replace("grpc:", "http:")

    error = await failed(runtime.connect(Endpoint("oip", url, "adder"), NAMES, PAIR), ROW)

    assert isinstance(error, ProviderFailed)
    assert "oip-grpc" in error.mend or "broken" in error.got


@pytest.mark.parametrize("url", ["", "host:80", "grpc://user:pw@host", "grpc://h/path", "ftp://h"])
def test_a_grpc_url_that_is_none_is_refused(grpc_runtime: OipGrpcRuntime, url: str) -> None:
    with pytest.raises(DeclarationError, match="grpc://"):
        grpc_runtime.connect(Endpoint("oip-grpc", url, "adder"))


async def test_an_address_with_nobody_is_refused_at_once(runtime: OipRuntime) -> None:
    model = runtime.connect(Endpoint("oip", f"http://127.0.0.1:{free_port()}", "adder"), NAMES)
    began = time.monotonic()

    error = await failed(model, ROW, 20)

    assert isinstance(error, ProviderFailed)
    assert "refused" in error.got
    assert time.monotonic() - began < 5


async def test_a_certificate_is_trusted_where_it_is_named_and_nowhere_else(
    grpc_runtime: OipGrpcRuntime, tmp_path: Path
) -> None:
    with RoughServer(tls=True, folder=tmp_path):  # it writes a key and its certificate there
        pem = (tmp_path / "rough.pem").read_bytes()
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(pem[pem.index(b"-----BEGIN CERTIFICATE") :])
    with OipGrpcServer(pem) as server:
        at = Endpoint("oip-grpc", server.url, "adder", options={"ca_file": str(trusted)})
        untold = Endpoint("oip-grpc", server.url, "adder")

        results = await grpc_runtime.connect(at, NAMES, PAIR).infer([ROW], 20)
        error = await failed(grpc_runtime.connect(untold, NAMES, PAIR), ROW)

    assert same(results[0], 3.0)
    assert isinstance(error, ProviderFailed)


async def test_proxies_of_the_environment_are_not_obeyed(
    server: OipServer, grpc_server: OipGrpcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, nobody)
    monkeypatch.setenv("no_proxy", "")
    over_http, over_grpc = OipRuntime({}), OipGrpcRuntime({})

    answers = [
        await over_http.connect(Endpoint("oip", server.url, "adder"), NAMES).infer([ROW], 20),
        await over_grpc.connect(Endpoint("oip-grpc", grpc_server.url, "adder"), NAMES).infer(
            [ROW], 20
        ),
    ]

    assert all(same(one[0], 3.0) for one in answers)
    await over_http.close()
    await over_grpc.close()


def test_outputs_come_in_the_order_in_which_they_were_asked_for() -> None:
    tensors = [Tensor("a", "FP32", (1,), [1.0]), Tensor("b", "FP64", (1, 2), [2.0, 3.0])]

    both = arrays_of(tensors, ("b", "a"), "m")

    assert [one.tolist() for one in both] == [[[2.0, 3.0]], [1.0]]
    assert [one.tolist() for one in arrays_of(tensors, (), "m")] == [[1.0], [[2.0, 3.0]]]


async def test_lists_of_several_lengths_are_asked_apart(
    runtime: OipRuntime, server: OipServer
) -> None:
    server.fault = ""
    loose = Signature(inputs=(Column("x", "FP32", (-1, -1)),))
    model = runtime.connect(Endpoint("oip", server.url, "adder"), (), loose)

    results = await model.infer([{"x": [1.0, 2.0]}, {"x": [1.0]}, {"x": [3.0, 4.0]}], 20)

    assert [type(one) for one in results] == [Prediction, ModelMismatch, Prediction]


async def test_a_model_that_says_nothing_of_its_inputs_asks_for_them_by_hand(
    runtime: OipRuntime, server: OipServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = b'{"name":"adder","versions":[],"platform":"","inputs":[],"outputs":[]}'
    monkeypatch.setattr(server, "answer", lambda asked: Said(200, silent))
    at = Endpoint("oip", server.url, "adder")

    error = await failed(runtime.connect(at, NAMES), ROW)

    assert isinstance(error, ModelUnavailable)
    assert "--input" in error.mend
    server_of_something = b"<html>a login page</html>"
    monkeypatch.setattr(server, "answer", lambda asked: Said(200, server_of_something))
    with pytest.raises(ModelUnavailable, match="metadata"):
        await runtime.inspect(at)


async def test_a_signature_is_learnt_once(runtime: OipRuntime, server: OipServer) -> None:
    model = runtime.connect(Endpoint("oip", server.url, "adder"), NAMES)
    assert model.signature is None

    for _ in range(3):
        await model.infer([ROW], 20)

    assert [one.method for one in server.asked] == ["GET", "GET", "POST", "POST", "POST"]
    assert model.signature is not None
