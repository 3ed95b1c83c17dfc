"""Triton's own client libraries call integrations over HTTP and gRPC."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from oip_house import filled, grpc_of
from tritonclient.utils import InferenceServerException

from splice.testing.project import Server


@pytest.fixture(params=["http", "grpc"])
def module(request: pytest.FixtureRequest) -> Any:
    return {"http": tritonclient.http, "grpc": tritonclient.grpc}[request.param]


@pytest.fixture
def client(module: Any, server: Server) -> Any:
    url = f"{server.host}:{server.port}" if module is tritonclient.http else grpc_of(server)
    made = module.InferenceServerClient(url)
    yield made
    made.close()


def test_the_server_and_its_models_are_live_and_ready(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("orders")
    assert client.is_model_ready("orders", "1")


def test_metadata_tell_the_fields_as_tensors(client: Any, module: Any) -> None:
    metadata = plain(client.get_model_metadata("orders"), module)
    server = plain(client.get_server_metadata(), module)

    assert metadata["name"] == "orders"
    assert metadata["versions"] == ["1"]
    told = [(one["name"], one["datatype"], one["shape"]) for one in metadata["inputs"]]
    assert told == [
        ("customer", "BYTES", [-1]), ("amount", "FP64", [-1]), ("items", "INT64", [-1]),
        ("note", "BYTES", [-1]),
    ]  # fmt: skip
    assert [one["name"] for one in metadata["outputs"]] == ["risk", "action"]
    assert server["name"] == "splice"
    assert "binary_tensor_data" in server["extensions"]


def test_the_index_names_what_is_live(client: Any, module: Any) -> None:
    index = plain(client.get_model_repository_index(), module)

    models = index["models"] if isinstance(index, dict) else index
    ready = {one["name"]: (one["version"], one["state"]) for one in models}
    assert ready["orders"] == ("1", "READY")


@pytest.mark.parametrize("rows", [1, 5])
def test_rows_are_answered_in_their_order(client: Any, module: Any, rows: int) -> None:
    result = client.infer("orders", filled(module, rows), request_id="mine")

    assert (
        result.as_numpy("action").tolist()
        == [b"ship", b"review", b"ship", b"review", b"ship"][:rows]
    )
    assert result.as_numpy("risk").tolist() == [0.1, 0.9, 0.1, 0.9, 0.1][:rows]
    response = plain(result.get_response(), module)
    assert (response["id"], response["model_version"]) == ("mine", "1")


def test_only_the_outputs_that_are_asked_for_come_back(client: Any, module: Any) -> None:
    wanted = [module.InferRequestedOutput(one) for one in ("action", "splice_call_id")]

    result = client.infer("orders", filled(module, 2), outputs=wanted)

    assert result.as_numpy("risk") is None
    assert result.as_numpy("action").tolist() == [b"ship", b"review"]
    ids = result.as_numpy("splice_call_id").tolist()
    assert len(set(ids)) == 2
    assert all(len(one) == 36 for one in ids)


@pytest.mark.parametrize(
    ("model", "version", "status"), [("none", "", "404"), ("orders", "9", "404")]
)
def test_what_is_not_live_is_not_found(
    client: Any, module: Any, model: str, version: str, status: str
) -> None:
    with pytest.raises(InferenceServerException) as error:
        client.infer(model, filled(module, 1), model_version=version)

    grpc = module is tritonclient.grpc
    assert error.value.status() == ("StatusCode.NOT_FOUND" if grpc else status)
    assert "is not live" in str(error.value) or "no live release" in str(error.value)


@pytest.mark.parametrize("binary", [True, False])
def test_over_http_json_and_binary_data_say_the_same(server: Server, binary: bool) -> None:
    with tritonclient.http.InferenceServerClient(f"{server.host}:{server.port}") as client:
        outputs = [
            tritonclient.http.InferRequestedOutput(one, binary_data=binary)
            for one in ("risk", "action")
        ]
        result = client.infer(
            "orders", filled(tritonclient.http, 3, binary_data=binary), outputs=outputs
        )

    (risk, action) = result.get_response()["outputs"]
    assert ("data" in risk) is not binary
    assert ("binary_data_size" in action.get("parameters", {})) is binary
    actions = [one if isinstance(one, str) else one.decode() for one in result.as_numpy("action")]
    assert actions == ["ship", "review", "ship"]


@pytest.mark.parametrize("datatype", [np.float32, np.float16, np.int32, np.uint8, np.int64])
def test_a_number_may_come_in_any_numeric_datatype(server: Server, datatype: Any) -> None:
    from tritonclient.utils import np_to_triton_dtype

    inputs = filled(tritonclient.http, 1)
    amount = tritonclient.http.InferInput("amount", [1, 1], np_to_triton_dtype(datatype))
    amount.set_data_from_numpy(np.array([[120]], dtype=datatype))
    with tritonclient.http.InferenceServerClient(f"{server.host}:{server.port}") as client:
        result = client.infer("orders", [inputs[0], amount])

    assert result.as_numpy("action").tolist() == [b"ship"]


def test_typed_contents_are_read_as_raw_ones_are(server: Server) -> None:
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    request = service_pb2.ModelInferRequest(model_name="orders")
    customer = request.inputs.add(name="customer", datatype="BYTES", shape=[2])
    customer.contents.bytes_contents.extend([b"a", b"b"])
    amount = request.inputs.add(name="amount", datatype="FP32", shape=[2, 1])
    amount.contents.fp32_contents.extend([100.0, 900.0])
    with grpc.insecure_channel(grpc_of(server)) as channel:
        reply = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)

    assert reply.raw_output_contents[1] == b"\4\0\0\0ship\6\0\0\0review"
    assert [one.name for one in reply.outputs] == ["risk", "action"]
    assert reply.parameters["splice_route"].string_param == "rule:scorecard"


def plain(said: Any, module: Any) -> Any:
    """What a client gives back, without protobuf."""
    if module is tritonclient.http:
        return said
    from google.protobuf.json_format import MessageToDict

    found = MessageToDict(said, preserving_proto_field_name=True)
    for fields in (*found.get("inputs", ()), *found.get("outputs", ())):
        fields["shape"] = [int(size) for size in fields["shape"]]
    return found
