"""The model `adder` over gRPC: a server that behaves, until told otherwise. See `oip_server`."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc import aio

from splice.oip.messages import SERVICE, ModelInferResponse, message_class, tensors_of
from splice.testing.scripted import Scripted

FAULTS = ("hangs", "NaN", "one row too few", "one row too many", "no outputs", "raw too short",
          "not ready")  # fmt: skip
"""What it can do instead of behaving."""

_METHODS = ("ModelInfer", "ModelMetadata", "ModelReady")
_aio: Any = aio
_grpc: Any = grpc


class OipGrpcServer(Scripted):
    """The server; use it as a context manager.

    Args:
        pem: Key and certificate, where it speaks TLS.

    Attributes:
        fault: One of `FAULTS`, or empty while it behaves.
        code: Name of a gRPC status that every inference gets, or empty.
        raw: Whether it answers in raw contents, as Triton does, or in typed ones.
        asked: The metadata of each inference.
        left: How many clients hung up while they were owed an answer.
    """

    def __init__(self, pem: bytes = b"") -> None:
        super().__init__()
        self._pem = pem
        self.fault = ""
        self.code = ""
        self.raw = True
        self.asked: list[dict[str, str]] = []
        self.left = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"grpc{'s' if self._pem else ''}://127.0.0.1:{self.port}"

    async def _serve(self, stop: asyncio.Event) -> None:
        server = _aio.server()
        answers = {"ModelInfer": self._infer, "ModelMetadata": _metadata, "ModelReady": self._is}
        handlers = {
            name: _grpc.unary_unary_rpc_method_handler(
                answers[name],
                request_deserializer=message_class(f"{name}Request").FromString,
                response_serializer=message_class(f"{name}Response").SerializeToString,
            )
            for name in _METHODS
        }
        server.add_generic_rpc_handlers((_grpc.method_handlers_generic_handler(SERVICE, handlers),))
        at = f"127.0.0.1:{self.port}"
        if self._pem:
            proof = _grpc.ssl_server_credentials([(self._pem, self._pem)])
            self.port = server.add_secure_port(at, proof)
        else:
            self.port = server.add_insecure_port(at)
        await server.start()
        self._ready.set()
        await stop.wait()
        await server.stop(None)

    async def _is(self, request: Any, context: Any) -> Any:
        return message_class("ModelReadyResponse")(ready=self.fault != "not ready")

    async def _infer(self, request: Any, context: Any) -> Any:
        self.asked.append(dict(context.invocation_metadata()))
        if self.fault == "hangs":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.left += 1
                raise
        if self.code:
            await context.abort(_grpc.StatusCode[self.code], "scripted")
        if request.model_name != "adder":
            await context.abort(_grpc.StatusCode.NOT_FOUND, "no such model")
        (tensor,) = tensors_of(request.inputs, request.raw_input_contents, "request")
        values = tensor.values
        sums = [float(values[at]) + float(values[at + 1]) for at in range(0, len(values), 2)]
        return self._sums(sums)

    def _sums(self, sums: list[float]) -> Any:
        fault = self.fault
        if fault == "NaN":
            sums = [float("nan") if one == 13.0 else one for one in sums]
        elif fault == "one row too few":
            sums = sums[:-1]
        elif fault == "one row too many":
            sums = [*sums, 0.0]
        reply: Any = ModelInferResponse(model_name="adder", model_version="1")
        if fault == "no outputs":
            return reply
        output = reply.outputs.add(name="sum", datatype="FP32", shape=[len(sums), 1])
        output.contents.fp32_contents.extend(sums)
        if self.raw:
            (tensor,) = tensors_of(reply.outputs, [], "reply")
            output.ClearField("contents")
            cut = 1 if fault == "raw too short" else 0
            raw = tensor.raw()
            reply.raw_output_contents.append(raw[: len(raw) - cut])
        return reply


async def _metadata(request: Any, context: Any) -> Any:
    if request.name != "adder":
        await context.abort(_grpc.StatusCode.NOT_FOUND, "no such model")
    reply = message_class("ModelMetadataResponse")(name="adder", versions=["1"])
    reply.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
    reply.outputs.add(name="sum", datatype="FP32", shape=[-1, 1])
    return reply
