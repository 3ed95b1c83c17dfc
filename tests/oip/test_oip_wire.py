"""The package `splice.oip` against other people's implementations of the same wire."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2
from tritonclient.utils import serialize_byte_tensor, triton_to_np_dtype

from splice.core.errors import InputMismatch, MalformedBody
from splice.oip import messages
from splice.oip.bodies import InferRequest, read_request, wire_of, write
from splice.oip.datatypes import DATATYPES, datatype_of, elements_of, from_raw
from splice.oip.tensors import Tensor, tensor_of_raw, tensor_of_values

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False], "UINT8": [0, 255], "UINT16": [0, 65535], "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1], "INT8": [-128, 127], "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1], "INT64": [-(2**63), 2**63 - 1], "FP16": [1.5, -0.25],
    "BF16": [1.5, -2.0], "FP32": [0.25, -(2.0**100)], "FP64": [0.1, -1e300],
    "BYTES": [b"", b"\xc3\xa9x"],
}  # fmt: skip


def test_every_datatype_of_the_protocol_is_known() -> None:
    assert set(VALUES) == set(DATATYPES)


@pytest.mark.parametrize("datatype", VALUES)
def test_raw_bytes_are_those_of_triton_and_numpy(datatype: str) -> None:
    tensor = Tensor("t", datatype, (2, 1), VALUES[datatype])

    if datatype == "BYTES":
        expected = serialize_byte_tensor(np.array(VALUES[datatype], dtype=object)).item()
    elif datatype == "BF16":
        whole = np.array(VALUES[datatype], dtype=np.float32).view(np.uint32)
        expected = (whole >> 16).astype(np.uint16).tobytes()
    else:
        expected = np.array(VALUES[datatype], dtype=triton_to_np_dtype(datatype)).tobytes()
    assert tensor.raw() == expected
    assert tensor_of_raw("t", datatype, [2, 1], expected, "t") == tensor


@pytest.mark.parametrize("datatype", VALUES)
@pytest.mark.parametrize("binary", [True, False])
def test_a_tensor_survives_a_body(datatype: str, binary: bool) -> None:
    values = ["é".encode(), b""] if datatype == "BYTES" else VALUES[datatype]
    tensor = Tensor("t", datatype, (2, 1), values, {"about": "it"})
    wire, raw = wire_of(tensor, binary=binary)
    body, length = write(InferRequest([wire]), [] if raw is None else [raw])

    _, (found,) = read_request(body, None if length is None else b"%d" % length, "m")

    assert (found.name, found.datatype, found.shape) == ("t", datatype, (2, 1))
    assert list(found.values) == values


@pytest.mark.parametrize("datatype", [one for one in VALUES if DATATYPES[one].contents])
def test_typed_contents_are_read(datatype: str) -> None:
    request = service_pb2.ModelInferRequest()
    wire = request.inputs.add(name="t", datatype=datatype, shape=[2])
    getattr(wire.contents, DATATYPES[datatype].contents).extend(VALUES[datatype])
    ours = messages.ModelInferRequest.FromString(request.SerializeToString())

    (found,) = messages.tensors_of(ours.inputs, ours.raw_input_contents, "m")

    assert list(found.values) == pytest.approx(VALUES[datatype]) or found.values == VALUES[datatype]


@pytest.mark.parametrize("name", messages._MESSAGES)
def test_messages_have_the_names_and_numbers_of_triton(name: str) -> None:
    ours = messages._POOL.FindMessageTypeByName(f"inference.{name}")
    theirs = service_pb2.DESCRIPTOR.pool.FindMessageTypeByName(f"inference.{name}")

    assert fields_of(ours) == fields_of(theirs)


def fields_of(message: Any) -> list[Any]:
    return [
        (
            one.name, one.number, one.type, one.message_type and one.message_type.full_name,
            one.containing_oneof and one.containing_oneof.name, one.is_repeated,
        )
        for one in sorted(message.fields, key=lambda one: one.number)
    ]  # fmt: skip


def test_parameters_survive_protobuf() -> None:
    values = {"a": True, "b": 3, "c": 0.5, "d": "x"}
    reply = messages.ModelInferResponse()

    messages.put_parameters(reply.parameters, values)

    assert messages.parameters_of(reply.parameters) == values


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 2], [1, 2, 3, 4]),
        ([2, 2], [[1, 2], [3, 4]]),
        ([1, 2, 2], [[[1, 2], [3, 4]]]),
        ([], [7]),
        ([0], []),
        ([2, 0], [[], []]),
    ],
)
def test_data_may_be_flat_or_nested_as_the_shape_says(shape: list[int], data: Any) -> None:
    tensor = tensor_of_values("t", "INT32", shape, data, "t")

    assert list(tensor.values) == np.array(data).ravel().tolist()


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 2], [[1, 2], [3]]),
        ([2, 2], [[1, 2, 3], [4]]),
        ([2, 2], [[[1, 2], [3, 4]]]),
        ([2], [[1], [2]]),
        ([3], [1, 2]),
        ([2], [1, [2]]),
        ([2, 1], [[1], 2]),
        ([2], {"a": 1}),
        ([2], None),
    ],
)
def test_data_that_is_not_of_the_shape_is_refused(shape: list[int], data: Any) -> None:
    with pytest.raises(InputMismatch):
        tensor_of_values("t", "INT32", shape, data, "t")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"\1", "got 0 values of BYTES and 1 bytes more"),
        (b"\1\0\0\0", "got a length of 1 bytes where 0 are left"),
        (b"\xff\xff\xff\xffx", "got a length of 4294967295 bytes where 1 are left"),
        (b"\1\0\0\0ab", "got 1 values of BYTES and 1 bytes more"),
        (b"\0\0\0\0\0\0\0\0", "got 1 values of BYTES and 4 bytes more"),
        (b"", "got 0 values of BYTES and 0 bytes more"),
    ],
)
def test_byte_strings_whose_lengths_lie_are_refused(raw: bytes, says: str) -> None:
    with pytest.raises(InputMismatch, match=says):
        from_raw(datatype_of("BYTES", "t"), 1, raw, "t")


def test_a_number_that_is_none_has_no_form_in_json() -> None:
    tensor = Tensor("t", "FP64", (1,), [math.nan])

    with pytest.raises(InputMismatch):
        tensor.data()
    assert math.isnan(from_raw(datatype_of("FP64", "t"), 1, tensor.raw(), "t")[0])


@pytest.mark.parametrize("values", [[2**63], [1.5], ["a"], [None]])
def test_a_value_that_is_not_of_the_datatype_cannot_be_written(values: list[Any]) -> None:
    with pytest.raises(InputMismatch):
        Tensor("t", "INT64", (1,), values).raw()


def test_the_size_of_a_huge_shape_is_not_reserved() -> None:
    assert elements_of([1 << 40] * 16, "t") == 1 << 640
    with pytest.raises(InputMismatch, match="got 8 bytes"):
        tensor_of_raw("t", "FP64", [1 << 40] * 16, b"\0" * 8, "t")


def test_a_request_may_say_null_for_what_it_leaves_out() -> None:
    said = {
        "id": None, "parameters": None, "outputs": None,
        "inputs": [
            {"name": "t", "datatype": "INT32", "shape": [1], "data": [1], "parameters": None}
        ],
    }  # fmt: skip

    request, (tensor,) = read_request(json.dumps(said).encode(), None, "m")

    assert (request.outputs, tensor.values) == (None, [1])


@pytest.mark.parametrize("place", ["id", "parameters", "inputs", "outputs", "name", "b"])
def test_a_key_that_is_there_twice_is_found_wherever_it_is(place: str) -> None:
    keys = {
        "id": '"id":"1"', "parameters": '"parameters":{"a":1}',
        "outputs": '"outputs":[{"name":"t"}]',
        "name": '"name":"t"', "b": '"b":2',
        "inputs": '"inputs":[{"name":"t","datatype":"INT32","shape":[1],"data":[1]}]',
    }  # fmt: skip
    twice = {name: f"{text},{text}" if name == place else text for name, text in keys.items()}
    body = (
        "{" + twice["id"] + ',"parameters":{"a":1,' + twice["b"] + "},"
        + twice["inputs"].replace('"name":"t"', twice["name"]) + "," + twice["outputs"]
        + ("," + keys["parameters"] if place == "parameters" else "") + "}"
    )  # fmt: skip

    with pytest.raises(MalformedBody, match="twice"):
        read_request(body.encode(), None, "m")
