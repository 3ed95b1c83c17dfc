"""The protobuf messages of `inference.GRPCInferenceService`, built when this is imported.

Imported only where gRPC is used: it needs the extra `grpc`. The messages have a pool of their own,
so that they never clash with those that a client library brings along.

Source: the public `grpc_predict_v2.proto` of the Open Inference Protocol; `RepositoryIndex` is
Triton's extension of it. Names and field numbers are facts of the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from splice.core.errors import InputMismatch
from splice.oip.datatypes import datatype_of
from splice.oip.tensors import Tensor, tensor_of_raw, tensor_of_values

PACKAGE = "inference"
SERVICE = "inference.GRPCInferenceService"

METHODS = (
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer",
    "RepositoryIndex",
)  # fmt: skip
"""Each takes `METHODRequest` and answers `METHODResponse`."""

_TENSOR = "name=string datatype=string shape=*int64"
_MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live=bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready=bool",
    "ModelReadyRequest": "name=string version=string",
    "ModelReadyResponse": "ready=bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name=string version=string extensions=*string",
    "ModelMetadataRequest": "name=string version=string",
    "ModelMetadataResponse": "name=string versions=*string platform=string "
    "inputs=*ModelMetadataResponse.TensorMetadata outputs=*ModelMetadataResponse.TensorMetadata",
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "InferParameter": "bool_param=|bool int64_param=|int64 string_param=|string "
    "double_param=|double uint64_param=|uint64",
    "InferTensorContents": "bool_contents=*bool int_contents=*int32 int64_contents=*int64 "
    "uint_contents=*uint32 uint64_contents=*uint64 fp32_contents=*float fp64_contents=*double "
    "bytes_contents=*bytes",
    "ModelInferRequest": "model_name=string model_version=string id=string parameters={} "
    "inputs=*ModelInferRequest.InferInputTensor "
    "outputs=*ModelInferRequest.InferRequestedOutputTensor raw_input_contents=*bytes",
    "ModelInferRequest.InferInputTensor": f"{_TENSOR} parameters={{}} contents=InferTensorContents",
    "ModelInferRequest.InferRequestedOutputTensor": "name=string parameters={}",
    "ModelInferResponse": "model_name=string model_version=string id=string parameters={} "
    "outputs=*ModelInferResponse.InferOutputTensor raw_output_contents=*bytes",
    "ModelInferResponse.InferOutputTensor": f"{_TENSOR} parameters={{}} "
    "contents=InferTensorContents",
    "RepositoryIndexRequest": "repository_name=string ready=bool",
    "RepositoryIndexResponse": "models=*RepositoryIndexResponse.ModelIndex",
    "RepositoryIndexResponse.ModelIndex": "name=string version=string state=string reason=string",
}
"""Message to its fields, numbered from 1: `*` repeats, `|` is one of several, `{}` is the map of
names to `InferParameter`, and what is no scalar is another message."""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: dict[str, Any] = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in ("string", "bool", "int32", "int64", "uint32", "uint64", "float", "double", "bytes")
}


def _field(message: Any, owner: str, number: int, name: str, kind: str) -> None:
    field: Any = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if kind.startswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if kind.startswith("*") or kind == "{}":
        field.label = _Field.LABEL_REPEATED
    kind = kind.lstrip("*|")
    if kind == "{}":
        entry: Any = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _field(entry, "", 1, "key", "string")
        _field(entry, "", 2, "value", "InferParameter")
        kind = f"{owner}.ParametersEntry"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


def _pool() -> Any:
    file: Any = descriptor_pb2.FileDescriptorProto(
        name="splice/oip.proto", package=PACKAGE, syntax="proto3"
    )
    made: dict[str, Any] = {}
    for path in sorted(_MESSAGES):  # an outer one stands before its inner ones
        outer, _, name = path.rpartition(".")
        made[path] = message = (
            made[outer].nested_type.add(name=name) if outer else file.message_type.add(name=name)
        )
        for number, one in enumerate(_MESSAGES[path].split(), 1):
            field, _, kind = one.partition("=")
            _field(message, path, number, field, kind)
    pool: Any = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _pool()


def message_class(name: str) -> Any:
    """The class of a message: `ModelInferRequest`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


ModelInferRequest = message_class("ModelInferRequest")
ModelInferResponse = message_class("ModelInferResponse")


def parameters_of(parameters: Any) -> dict[str, Any]:
    """The values of a map of parameters."""
    found: dict[str, Any] = {}
    for name, one in parameters.items():
        which = one.WhichOneof("parameter_choice")
        if which is not None:
            found[name] = getattr(one, which)
    return found


def put_parameters(parameters: Any, values: Mapping[str, Any]) -> None:
    """Puts bools, whole numbers, numbers and texts into a map of parameters; leaves out others."""
    for name, value in values.items():
        if isinstance(value, bool):
            parameters[name].bool_param = value
        elif isinstance(value, int):
            parameters[name].int64_param = value
        elif isinstance(value, float):
            parameters[name].double_param = value
        elif isinstance(value, str):
            parameters[name].string_param = value


def tensors_of(wires: Any, raw: Sequence[bytes], where: str) -> list[Tensor]:
    """The tensors of a message: values from the raw contents where there are any, else typed.

    Raises:
        InputMismatch: A tensor is not what it says, or not every one has its raw contents.
    """
    if raw and len(raw) != len(wires):
        raise InputMismatch(
            where,
            got=f"{len(wires)} tensors and {len(raw)} raw contents",
            promised="one for each tensor, or none",
        )
    found: list[Tensor] = []
    for at, wire in enumerate(wires):
        place = f"{where}.{wire.name[:80]}"
        if raw:
            if wire.HasField("contents") and wire.contents.ByteSize():
                raise InputMismatch(
                    place, got="both contents and raw contents", promised="one of them"
                )
            found.append(tensor_of_raw(wire.name, wire.datatype, wire.shape, raw[at], place))
            continue
        field = datatype_of(wire.datatype, place).contents
        if not field:
            raise InputMismatch(
                place, got=f"typed contents of {wire.datatype}", promised="raw contents"
            )
        values = list(getattr(wire.contents, field))
        found.append(tensor_of_values(wire.name, wire.datatype, wire.shape, values, place))
    return found


def put_tensor(wires: Any, raw: Any, tensor: Tensor) -> None:
    """Adds a tensor to a message, its values to the raw contents.

    Raises:
        InputMismatch: A value is not one of the datatype.
    """
    wire = wires.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    put_parameters(wire.parameters, tensor.parameters)
    raw.append(tensor.raw())
