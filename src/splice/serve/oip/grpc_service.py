"""The Open Inference Protocol over gRPC: `inference.GRPCInferenceService`.

Imported only where a gRPC port is set: it needs the extra `grpc`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast
from urllib.parse import unquote

import grpc
import grpc.aio

from splice.core.access import Peer, Principal
from splice.core.errors import InputMismatch, MalformedBody, SpliceError
from splice.engine.faults import faults
from splice.engine.line import Line
from splice.oip.messages import (
    METHODS,
    SERVICE,
    message_class,
    parameters_of,
    put_parameters,
    put_tensor,
    tensors_of,
)
from splice.serve.http.trace import trace_of
from splice.serve.oip.calls import Asker, Failure, ReadyDesk
from splice.serve.oip.forms import Field, Form
from splice.serve.oip.grpc_status import status_of, told_of, trailers_of
from splice.serve.oip.inference import (
    EXTENSIONS,
    PLATFORM,
    Inference,
    RowLimits,
    trouble_of,
    version_of_product,
)
from splice.serve.oip.rows import bodies_of, details_of, outputs_of
from splice.serve.tokens import token_of

SURFACE = "oip-grpc"
_OPEN = frozenset(("ServerLive", "ServerReady"))
"""Whoever runs the process asks these without a key, as he asks /healthz."""

_Headers: TypeAlias = dict[bytes, bytes]
# Messages are built at run time: their fields are known to nobody before.
_Message: TypeAlias = Any
_Method: TypeAlias = Callable[[_Message, _Headers, Principal], Awaitable[_Message]]


class GrpcService:
    """Answers the methods of the service.

    Args:
        desk: The process behind it.
        limits: Bounds on a request.
    """

    def __init__(self, desk: ReadyDesk, limits: RowLimits) -> None:
        self._desk = desk
        self._inference = Inference(desk, limits)
        self._replies = {method: message_class(f"{method}Response") for method in METHODS}
        self._methods: dict[str, _Method] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
            "RepositoryIndex": self._repository_index,
        }

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server is given."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            method: grpc.unary_unary_rpc_method_handler(self._answering(method))
            for method in METHODS
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _answering(self, method: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """One method from bytes to bytes: what cannot be read is the caller's mistake."""
        request_class, run = message_class(f"{method}Request"), self._methods[method]

        async def answer(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            try:
                headers = _headers(context)
                principal = await self._principal(method, headers, context)
                ended = await run(_read(request_class, raw, method), headers, principal)
                if not isinstance(ended, Failure):
                    return cast("bytes", ended.SerializeToString())
                failure = ended
            except SpliceError as error:
                failure = Failure(error)
            except Exception as error:  # noqa: BLE001 - the request ends here; its caller is told
                faults.told(f"a {method} over gRPC", error)
                failure = Failure(SpliceError("server", got="an error that nobody foresaw"))
            return await context.abort(status_of(failure), told_of(failure), trailers_of(failure))

        return answer

    async def _principal(
        self, method: str, headers: _Headers, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Principal:
        if method in _OPEN:
            return Principal()
        address = _address(context.peer())
        if names := _names(context):
            address = Peer(address, names)
        return await self._desk.engine.keyring.asker(token_of(headers), address)

    async def _server_live(self, _: _Message, __: _Headers, ___: Principal) -> _Message:
        return self._replies["ServerLive"](live=True)

    async def _server_ready(self, _: _Message, __: _Headers, ___: Principal) -> _Message:
        return self._replies["ServerReady"](ready=not self._desk.not_ready())

    async def _server_metadata(self, _: _Message, __: _Headers, ___: Principal) -> _Message:
        reply = self._replies["ServerMetadata"](name=PLATFORM, version=version_of_product())
        reply.extensions.extend(EXTENSIONS)
        return reply

    async def _model_ready(self, request: _Message, _: _Headers, principal: Principal) -> _Message:
        line = self._inference.line(principal, request.name, request.version)
        return self._replies["ModelReady"](ready=not trouble_of(line))

    async def _model_metadata(
        self, request: _Message, _: _Headers, principal: Principal
    ) -> _Message:
        line = self._inference.line(principal, request.name, request.version)
        form = self._inference.form(line)
        reply = self._replies["ModelMetadata"](name=line.name, platform=PLATFORM)
        reply.versions.append(str(line.release.number))
        for fields, told in ((form.inputs, reply.inputs), (form.outputs, reply.outputs)):
            for field in fields.values():
                _tell(field, told)
        return reply

    async def _repository_index(
        self, request: _Message, _: _Headers, principal: Principal
    ) -> _Message:
        reply = self._replies["RepositoryIndex"]()
        for line in self._inference.lines(principal):
            trouble = trouble_of(line)
            if trouble and request.ready:
                continue
            state = "UNAVAILABLE" if trouble else "READY"
            version = str(line.release.number)
            reply.models.add(name=line.name, version=version, state=state, reason=trouble)
        return reply

    async def _model_infer(
        self, request: _Message, headers: _Headers, principal: Principal
    ) -> _Message:
        line = self._inference.line(principal, request.model_name, request.model_version)

        def bodies(form: Form) -> list[bytes]:
            where = f"{line.name}.inputs"
            tensors = tensors_of(request.inputs, request.raw_input_contents, where)
            _refuse_unsupported(request, line)
            return bodies_of(form, tensors, line.name, self._inference.max_rows)

        key = headers.get(b"idempotency-key")
        asker = Asker(principal, SURFACE, None if key is None else key.decode("latin-1"))
        if b"traceparent" in headers:
            asker.trace = lambda: trace_of(headers)
        wanted = [one.name for one in request.outputs]
        inferred = await self._inference.infer(line, bodies, wanted, asker)
        if isinstance(inferred, Failure):
            return inferred
        reply = self._replies["ModelInfer"](
            model_name=line.name, model_version=str(line.release.number), id=request.id
        )
        put_parameters(reply.parameters, details_of(inferred.records))
        for tensor in outputs_of(inferred.form, inferred.records, inferred.names):
            put_tensor(reply.outputs, reply.raw_output_contents, tensor)
        return reply


def _read(kind: Any, raw: bytes, method: str) -> _Message:
    try:
        return kind.FromString(raw)
    except Exception:  # noqa: BLE001 - protobuf's parser in Python raises whatever its parts do
        raise MalformedBody(
            method, got=f"bytes that are no {method}Request", promised="protobuf"
        ) from None


def _tell(field: Field, told: _Message) -> None:
    told.add(name=field.name, datatype=field.datatype, shape=field.shape)


def _refuse_unsupported(request: _Message, line: Line) -> None:
    """Raises for what would be answered wrongly if nobody read it."""
    for one in (*request.inputs, *request.outputs):
        found = parameters_of(one.parameters)
        for parameter in ("shared_memory_region", "classification"):
            if found.get(parameter):
                raise InputMismatch(
                    f"{line.name}.{one.name[:80]}.parameters.{parameter}",
                    got="an extension that this server has not",
                    promised="tensors in the message",
                )


def _headers(context: grpc.aio.ServicerContext[Any, Any]) -> _Headers:
    """The metadata as HTTP's headers are: lower-case names, bytes."""
    found: _Headers = {}
    for name, value in cast("tuple[tuple[str, str | bytes], ...]", context.invocation_metadata()):
        raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        found[name.encode()] = raw
    return found


_NAMES = {
    "x509_common_name": "cn", "peer_dns": "dns", "peer_uri": "uri", "peer_email": "email",
    "peer_ip": "ip",
}  # fmt: skip


def _names(context: grpc.aio.ServicerContext[Any, Any]) -> tuple[str, ...]:
    """The names in the certificate of the client; none where it showed none."""
    shown = context.auth_context()
    return tuple(
        f"{kind}:{name.decode('utf-8', 'replace')}"
        for which, kind in _NAMES.items()
        for name in shown.get(which, ())
    )


def _address(peer: str) -> str:
    """The IP address in `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`; empty where there is none.

    A key that is bound to addresses is refused where this cannot tell.
    """
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return rest.rpartition(":")[0].strip("[]").partition("%")[0]
