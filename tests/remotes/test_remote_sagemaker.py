"""Models behind SageMaker endpoints: against a stand-in that checks each signature by botocore."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from remote_house import ADDED, ADDER_ROWS, free_port
from sagemaker_stand_in import KEYS, REGION, SageMakerStandIn

from splice.adapters.remotes.sagemaker import SageMakerRuntime
from splice.core.call import Prediction, Trace
from splice.core.errors import (
    BadAnswer,
    DeclarationError,
    ModelMismatch,
    ModelUnavailable,
    ProviderFailed,
    ProviderLimited,
    RouteCrashed,
    SpliceError,
)
from splice.core.release import Column, Signature
from splice.core.versions import Endpoint
from splice.testing.contracts.remotes import Known, RemoteContract, failed, same

PAIR = Signature(inputs=(Column("x", "FP64", (-1, 2)),))
ROW = {"a": 1.0, "b": 2.0}


@pytest.fixture
def server() -> Iterator[SageMakerStandIn]:
    with SageMakerStandIn() as server:
        yield server


@pytest.fixture
async def runtime() -> AsyncIterator[SageMakerRuntime]:
    made = SageMakerRuntime(KEYS)
    yield made
    await made.close()


def _at(server: SageMakerStandIn, **options: Any) -> Endpoint:
    return Endpoint("sagemaker", server.url, "adder", region=REGION, options=options)


class TestJson(RemoteContract):
    @pytest.fixture(params=["json", "csv", "oip"])
    def known(self, server: SageMakerStandIn, request: pytest.FixtureRequest) -> Known:
        datatype = "FP32" if request.param == "oip" else "FP64"
        at = _at(server, content=request.param)
        return Known(
            at,
            ADDER_ROWS,
            ADDED,
            {"a": 1.0, "b": "2"},
            msgspec.structs.replace(at, model="subtracter"),
            msgspec.structs.replace(at, url=f"http://127.0.0.1:{free_port()}"),
            ("a", "b"),
            Signature(inputs=(Column("x", datatype, (-1, 2)),)),
        )


ANSWERS: dict[str, tuple[dict[str, Any], str, list[Prediction]]] = {
    "numbers": ({}, '{"predictions": [0.25, 7.5]}', [
        Prediction(0.25, score=0.25), Prediction(7.5),
    ]),
    "chances": ({}, '{"predictions": [[0.25, 0.75], [1, 0]]}', [
        Prediction("good", 0.75, {"bad": 0.25, "good": 0.75}),
        Prediction("bad", 0.0, {"bad": 1.0, "good": 0.0}),
    ]),
    "scores and labels": (
        {}, '{"predictions": [{"score": 0.4, "predicted_label": 0}, '
        '{"score": 0.9, "predicted_label": 1}]}',
        [Prediction(0, score=0.4), Prediction(1, score=0.9)],
    ),
    "whole numbers as scores": (
        {}, '{"predictions": [{"score": 1, "predicted_label": 1}, '
        '{"score": 0, "predicted_label": 0}]}',
        [Prediction(1, score=1.0), Prediction(0, score=0.0)],
    ),
    "a list of labels": (
        {"answer": "", "label": "label"},
        '[{"label": "POSITIVE", "score": 0.98}, {"label": "NEGATIVE", "score": 0.7}]',
        [Prediction("POSITIVE", score=0.98), Prediction("NEGATIVE", score=0.7)],
    ),
    "texts far inside": (
        {"answer": "result.labels"}, '{"result": {"labels": ["a", "b"]}}',
        [Prediction("a"), Prediction("b")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
async def test_answers_of_many_containers_become_predictions(
    runtime: SageMakerRuntime, server: SageMakerStandIn, name: str
) -> None:
    options, body, wanted = ANSWERS[name]
    server.reply = body.encode(), "application/json"
    signature = msgspec.structs.replace(PAIR, classes=("bad", "good"))

    results = await runtime.connect(_at(server, **options), ("a", "b"), signature).infer(
        [ROW, ROW], 20
    )

    assert results == wanted


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("0.5,3.0", [0.5, 3.0]),
        ("0.5\n3.0\n", [0.5, 3.0]),
        ("0.1,0.9\n0.8,0.2\n", ["good", "bad"]),
        ("yes\nno\n", ["yes", "no"]),
    ],
)
async def test_csv_is_read_in_the_forms_that_containers_give(
    runtime: SageMakerRuntime, server: SageMakerStandIn, body: str, wanted: list[Any]
) -> None:
    server.reply = body.encode(), "text/csv"
    signature = msgspec.structs.replace(PAIR, classes=("bad", "good"))

    results = await runtime.connect(_at(server, content="csv"), ("a", "b"), signature).infer(
        [ROW, ROW], 20
    )

    assert [one.value for one in results if isinstance(one, Prediction)] == wanted


async def test_lines_of_json_are_answers(
    runtime: SageMakerRuntime, server: SageMakerStandIn
) -> None:
    server.reply = b'{"score": 0.5}\n{"score": 3.0}\n', "application/jsonlines"

    results = await runtime.connect(_at(server), ("a", "b"), PAIR).infer([ROW, ROW], 20)

    assert [one.value for one in results if isinstance(one, Prediction)] == [0.5, 3.0]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("", "application/json"),
        ("no json", "application/json"),
        ('{"predictions": [1.0]}', "application/json"),
        ('{"predictions": [1.0, 2.0, 3.0]}', "application/json"),
        ('{"predictions": {"a": 1}}', "application/json"),
        ('{"other": [1.0, 2.0]}', "application/json"),
        ('{"predictions": [1.0, "2"]}', "application/json"),
        ('{"predictions": [[1.0], [2.0, 3.0]]}', "application/json"),
        ('{"predictions": [{"x": 1}, {"x": 2}]}', "application/json"),
        ('{"predictions": [[], []]}', "application/json"),
        ('{"predictions": [NaN, 1.0]}', "application/json"),
        ("[" * 9000, "application/json"),
        ("1.0\n2.0\n3.0\n", "text/csv"),
        ("1.0,2.0\n3.0\n", "text/csv"),
        ("\xff", "text/csv"),
        ("", "text/csv"),
    ],
)
async def test_an_answer_that_is_none_is_a_bad_answer(
    runtime: SageMakerRuntime, server: SageMakerStandIn, body: str, kind: str
) -> None:
    server.reply = body.encode("latin-1"), kind

    model = runtime.connect(_at(server), ("a", "b"), PAIR)

    with pytest.raises(BadAnswer):
        await model.infer([ROW, ROW], 20)


async def test_a_row_without_an_answer_fails_alone(
    runtime: SageMakerRuntime, server: SageMakerStandIn
) -> None:
    server.reply = b'{"predictions": [1.5, null]}', "application/json"

    good, bad = await runtime.connect(_at(server), ("a", "b"), PAIR).infer([ROW, ROW], 20)

    assert same(good, 1.5)
    assert isinstance(bad, BadAnswer)


async def test_rows_are_sent_in_the_form_that_is_asked_for(
    runtime: SageMakerRuntime, server: SageMakerStandIn
) -> None:
    columns = Signature(
        inputs=(Column("age", "INT64", (-1,)), Column("job", "BYTES", (-1,)), PAIR.inputs[0])
    )
    row = {"age": 41, "job": 'clerk, "old"', "x": [1.0, 2.5]}
    server.reply = b"[1.0]", "application/json"
    sent: list[str] = []

    for options in ({"named": True}, {"instances": ""}, {"content": "csv"}):
        model = runtime.connect(_at(server, answer="", **options), (), columns)
        await model.infer([row], 20)
        sent.append(server.asked[-1].body.decode())

    assert json.loads(sent[0]) == {"instances": [row]}
    assert json.loads(sent[1]) == [[41, 'clerk, "old"', 1.0, 2.5]]
    assert sent[2] == '41,"clerk, ""old""",1.0,2.5\n'


async def test_variant_and_target_model_are_signed_headers(
    runtime: SageMakerRuntime, server: SageMakerStandIn
) -> None:
    at = msgspec.structs.replace(
        _at(server, target_model="de/credit.tar.gz", component="c1"), version="blue"
    )
    trace = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")

    await runtime.connect(at, ("a", "b"), PAIR).infer([ROW], 20, trace)

    headers = server.asked[-1].headers
    assert headers["x-amzn-sagemaker-target-variant"] == "blue"
    assert headers["x-amzn-sagemaker-target-model"] == "de/credit.tar.gz"
    assert headers["x-amzn-sagemaker-inference-component"] == "c1"
    assert "x-amzn-sagemaker-target-variant" in headers["authorization"]
    assert headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")


async def test_keys_by_another_prefix_without_a_token_are_used(server: SageMakerStandIn) -> None:
    server.token = ""
    runtime = SageMakerRuntime({
        "PROD_ACCESS_KEY_ID": KEYS["AWS_ACCESS_KEY_ID"],
        "PROD_SECRET_ACCESS_KEY": KEYS["AWS_SECRET_ACCESS_KEY"],
    })  # fmt: skip
    at = msgspec.structs.replace(_at(server), key_env="PROD")

    results = await runtime.connect(at, ("a", "b"), PAIR).infer([ROW], 20)

    assert same(results[0], 3.0)
    await runtime.close()


async def test_a_path_before_the_endpoints_is_signed_too(
    runtime: SageMakerRuntime, server: SageMakerStandIn
) -> None:
    at = msgspec.structs.replace(_at(server), url=f"{server.url}/gateway/")

    results = await runtime.connect(at, ("a", "b"), PAIR).infer([ROW], 20)

    assert same(results[0], 3.0)


async def test_without_a_signature_features_name_the_numbers_of_a_row(
    runtime: SageMakerRuntime, server: SageMakerStandIn
) -> None:
    results = await runtime.connect(_at(server), ("b", "a", "b")).infer([ROW], 20)

    assert same(results[0], 5.0)


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ({**KEYS, "AWS_SECRET_ACCESS_KEY": "another"}, "AWS_"),
        ({**KEYS, "AWS_SESSION_TOKEN": "expired"}, "AWS_"),
    ],
)
async def test_keys_that_are_not_let_in_are_named_and_never_shown(
    server: SageMakerStandIn, secrets: dict[str, str], words: str
) -> None:
    runtime = SageMakerRuntime(secrets)

    error = await failed(runtime.connect(_at(server), ("a", "b"), PAIR), ROW)

    assert isinstance(error, ProviderFailed)
    assert not error.retryable
    assert words in error.mend
    assert not any(secret in str(error) for secret in secrets.values())
    await runtime.close()


async def test_a_clock_that_is_wrong_is_said_to_be(server: SageMakerStandIn) -> None:
    runtime = SageMakerRuntime(KEYS, clock=lambda: 1_700_000_000.0)

    error = await failed(runtime.connect(_at(server), ("a", "b"), PAIR), ROW)

    assert "clock" in error.mend
    await runtime.close()


@pytest.mark.parametrize(
    ("status", "kind", "body", "wanted", "retryable"),
    [
        (424, "ModelError", {"OriginalStatusCode": 500}, RouteCrashed, False),
        (424, "ModelError", {"OriginalStatusCode": 415}, ModelMismatch, False),
        (429, "ThrottlingException", {}, ProviderLimited, True),
        (400, "ThrottlingException", {}, ProviderLimited, True),
        (429, "ModelNotReadyException", {}, ProviderLimited, True),
        (400, "ValidationError", {"message": "wrong"}, ModelMismatch, False),
        (400, "ValidationError", {"message": "Endpoint x not found."}, ModelUnavailable, False),
        (500, "InternalFailure", {}, ProviderFailed, True),
        (503, "ServiceUnavailable", {}, ProviderFailed, True),
        (403, "AccessDeniedException", {"Message": "not authorized"}, ProviderFailed, False),
    ],
)
async def test_errors_of_aws_become_ours(
    runtime: SageMakerRuntime,
    server: SageMakerStandIn,
    status: int,
    kind: str,
    body: dict[str, Any],
    wanted: type[SpliceError],
    retryable: bool,
) -> None:
    server.status, server.body = status, json.dumps(body).encode()
    server.headers = {"x-amzn-errortype": f"{kind}:"}

    error = await failed(runtime.connect(_at(server), ("a", "b"), PAIR), ROW)

    assert (type(error), error.retryable) == (wanted, retryable)


async def test_one_row_that_the_container_refuses_costs_its_neighbours_nothing(
    runtime: SageMakerRuntime, server: SageMakerStandIn
) -> None:
    model = runtime.connect(_at(server), ("a", "b"), PAIR)
    await model.infer([ROW], 20)

    results = await model.infer([ROW, ROW, {"a": 666, "b": 1}, ROW], 20)

    assert [type(one) for one in results] == [Prediction, Prediction, ModelMismatch, Prediction]


@pytest.mark.parametrize("region", ["", "europe", "eu-central-1.evil.example"])
def test_a_region_that_is_none_is_refused(runtime: SageMakerRuntime, region: str) -> None:
    with pytest.raises(DeclarationError, match="region"):
        runtime.connect(Endpoint("sagemaker", "", "adder", region=region))


def test_keys_that_are_not_there_are_named(server: SageMakerStandIn) -> None:
    with pytest.raises(ModelUnavailable, match="AWS_ACCESS_KEY_ID"):
        SageMakerRuntime({}).connect(_at(server))
