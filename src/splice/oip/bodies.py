"""Bodies over HTTP: JSON, and JSON followed by the raw bytes of its tensors (binary data).

Where binary data follows, the header `Inference-Header-Content-Length` says how long the JSON is,
and each tensor that left its values out says in its parameter `binary_data_size` how many bytes are
its own; they follow in the order of the tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec

from splice.core.errors import InputMismatch, MalformedBody
from splice.declare.bodies import malformed, mismatch, refuse_deep, refuse_duplicate_keys
from splice.oip.tensors import Tensor, tensor_of_raw, tensor_of_values

LENGTH_HEADER = b"inference-header-content-length"
BINARY = "application/octet-stream"
"""Content type of a body with binary data."""


Parameters: TypeAlias = dict[str, Any] | msgspec.UnsetType | None
"""Bools, numbers and texts by name; many clients send null for none."""


class WireTensor(msgspec.Struct, gc=False):
    """A tensor as JSON has it; `data` is left out where binary data holds it."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = msgspec.UNSET
    data: Any = msgspec.UNSET


class WantedOutput(msgspec.Struct, gc=False):
    """An output that the caller asks for by name."""

    name: str
    parameters: Parameters = msgspec.UNSET


class InferRequest(msgspec.Struct):
    """What a caller sends."""

    inputs: list[WireTensor]
    id: str | msgspec.UnsetType | None = msgspec.UNSET
    parameters: Parameters = msgspec.UNSET
    outputs: list[WantedOutput] | msgspec.UnsetType | None = msgspec.UNSET


class InferResponse(msgspec.Struct):
    """What a server answers."""

    outputs: list[WireTensor]
    model_name: str = ""
    model_version: str | None = None
    id: str | msgspec.UnsetType | None = msgspec.UNSET
    parameters: Parameters = msgspec.UNSET


_Body = TypeVar("_Body", InferRequest, InferResponse)
_request = msgspec.json.Decoder(InferRequest)
_response = msgspec.json.Decoder(InferResponse)
_encode = msgspec.json.Encoder().encode
_NOTHING = memoryview(b"")


def read_request(
    body: bytes, json_length: bytes | None, where: str
) -> tuple[InferRequest, list[Tensor]]:
    """A request and its input tensors.

    Args:
        body: The whole body.
        json_length: Value of the header `Inference-Header-Content-Length`; None without it.
        where: Begins the place that errors name.

    Raises:
        MalformedBody: It is not JSON, or the lengths lie.
        InputMismatch: It is not such a request, or a tensor is not what it says.
    """
    request, binary = read_json(body, json_length, where)
    return request, tensors_in(request.inputs, binary, f"{where}.inputs")


def read_json(
    body: bytes, json_length: bytes | None, where: str
) -> tuple[InferRequest, memoryview]:
    """A request whose tensors are still as they came, and the binary data of all of them.

    Raises:
        MalformedBody: It is not JSON, has a key twice, or the header lies.
        InputMismatch: It is not such a request.
    """
    text, binary = _split(body, json_length, where)
    request = _decoded(_request, text, where)
    if text.count(b":") != _colons(request):
        refuse_duplicate_keys(text, where)
    return request, binary


def read_response(
    body: bytes, json_length: bytes | None, where: str
) -> tuple[InferResponse, list[Tensor]]:
    """A response and its output tensors; arguments and errors as for a request."""
    text, binary = _split(body, json_length, where)
    response = _decoded(_response, text, where)
    return response, tensors_in(response.outputs, binary, f"{where}.outputs")


def write(body: InferRequest | InferResponse, binary: Sequence[bytes]) -> tuple[bytes, int | None]:
    """The bytes of a body, and the length of its JSON for the header; None without binary data."""
    text = _encode(body)
    if not binary:
        return text, None
    return b"".join([text, *binary]), len(text)


def wire_of(tensor: Tensor, *, binary: bool) -> tuple[WireTensor, bytes | None]:
    """A tensor as JSON has it, and its raw bytes where they are to follow.

    Raises:
        InputMismatch: A value has no form in JSON, or is not of the datatype.
    """
    parameters: Parameters = msgspec.UNSET
    if tensor.parameters:
        parameters = dict(tensor.parameters)
    if not binary:
        wire = WireTensor(
            tensor.name, list(tensor.shape), tensor.datatype, parameters, tensor.data()
        )
        return wire, None
    raw = tensor.raw()
    sized = {**tensor.parameters, "binary_data_size": len(raw)}
    return WireTensor(tensor.name, list(tensor.shape), tensor.datatype, sized), raw


def _split(body: bytes, json_length: bytes | None, where: str) -> tuple[bytes, memoryview]:
    if json_length is None:
        return body, _NOTHING
    given = json_length.strip()
    if not given.isdigit() or len(given) > 12 or int(given) > len(body):
        raise MalformedBody(
            f"{where}.Inference-Header-Content-Length",
            got=given.decode("latin-1")[:40] or "nothing",
            promised=f"the length of the JSON, at most the {len(body)} bytes of the body",
        )
    length = int(given)
    return body[:length], memoryview(body)[length:]


def _decoded(decoder: msgspec.json.Decoder[_Body], text: bytes, where: str) -> _Body:
    try:
        body = decoder.decode(text)
    except msgspec.ValidationError as error:
        raise mismatch(error, where) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, where) from None
    refuse_deep(text, where)
    return body


def _colons(request: InferRequest) -> int:
    """The colons of a request with each of its keys once: then no key is there twice."""
    count = 1 + 4 * len(request.inputs) + _of(request.parameters)
    if request.id:
        count += 1
    for one in request.inputs:
        count += _of(one.parameters) - (one.data is msgspec.UNSET)
    if request.outputs:
        count += 1 + len(request.outputs)
        for one in request.outputs:
            count += _of(one.parameters)
    return count


def _of(parameters: Parameters) -> int:
    return 1 + len(parameters) if parameters else 0


def tensors_in(wires: list[WireTensor], binary: memoryview, where: str) -> list[Tensor]:
    """The tensors that JSON and binary data make together.

    Raises:
        MalformedBody: The sizes of the binary data lie.
        InputMismatch: A tensor is not what it says.
    """
    found: list[Tensor] = []
    at = 0
    for wire in wires:
        place = f"{where}.{wire.name[:80]}"
        size = wire.parameters.get("binary_data_size") if wire.parameters else None
        if size is None:
            tensor = tensor_of_values(wire.name, wire.datatype, wire.shape, wire.data, place)
        else:
            end = _end(size, at, len(binary), place)
            if wire.data is not msgspec.UNSET:
                raise InputMismatch(
                    place, got="both data and binary_data_size", promised="one of them"
                )
            raw = binary[at:end]
            tensor = tensor_of_raw(wire.name, wire.datatype, wire.shape, raw, place)
            at = end
        found.append(tensor)
    if at != len(binary):
        raise MalformedBody(
            where,
            got=f"{len(binary) - at} bytes of binary data that belong to no tensor",
            promised="as many as the tensors' binary_data_size say together",
        )
    return found


def _end(size: Any, at: int, available: int, where: str) -> int:
    if type(size) is not int or size < 0 or size > available - at:
        got = str(size)[:40] if type(size) is int else type(size).__name__
        raise MalformedBody(
            f"{where}.binary_data_size",
            got=got,
            promised=f"a number of bytes, at most the {available - at} that are left",
            mend="say in Inference-Header-Content-Length how long the JSON is",
        )
    return at + size
