"""Models behind the Open Inference Protocol over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from grpc import aio

from splice.adapters.remotes.faults import Faults
from splice.adapters.remotes.model import RemoteModel, readable
from splice.adapters.remotes.oip import (
    OipOptions,
    arrays_of,
    datatype_of,
    headers_of,
    tensors_of,
    traceparent,
)
from splice.adapters.remotes.options import ANSWER_LIMIT, options_of, place_of
from splice.core.call import Trace
from splice.core.errors import (
    BadAnswer,
    DeclarationError,
    ModelMismatch,
    ModelUnavailable,
    ProviderFailed,
    ProviderLimited,
    RouteCrashed,
    RouteError,
    SpliceError,
)
from splice.core.release import Column, Signature
from splice.core.versions import Endpoint
from splice.oip.messages import SERVICE, message_class, put_parameters
from splice.oip.messages import tensors_of as read_tensors

_INSPECT_S = 10.0
_SCHEMES = {"grpc": False, "http": False, "grpcs": True, "https": True}

# grpcio has no types that hold under strict checking.
_grpc: Any = grpc
_aio: Any = aio
_Infer: Any = message_class("ModelInferRequest")
_METHODS = ("ModelInfer", "ModelMetadata", "ModelReady")


class OipGrpcRuntime:
    """A RemoteRuntime. Endpoints of one address share a channel; secrets go with each request.

    Args:
        secrets: Environment variable to secret, of those that endpoints may name.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._channels: dict[tuple[str, ...], _Channel] = {}

    def connect(
        self, endpoint: Endpoint, features: Sequence[str] = (), signature: Signature | None = None
    ) -> RemoteModel:
        """The model, without asking the network.

        Raises:
            DeclarationError: The URL or an option is not what it should be.
            ModelUnavailable: The secret that it names is not there.
        """
        wire = self._wire(endpoint)
        return RemoteModel(wire, wire.faults, wire.options, features, signature)

    async def inspect(self, endpoint: Endpoint) -> Signature:
        """What it reads and gives, as it says itself."""
        try:
            told = await self._wire(endpoint).inspect(_INSPECT_S)
            return readable(told, place_of(endpoint))
        except ModelUnavailable:
            raise
        except RouteError as error:
            raise ModelUnavailable(error.where, got=error.got, mend=error.mend) from None

    async def close(self) -> None:
        """Hang up every connection."""
        for channel in self._channels.values():
            await channel.close()

    def _wire(self, endpoint: Endpoint) -> _GrpcWire:
        options = options_of(endpoint, OipOptions)
        headers, secrets = headers_of(endpoint, options, self._secrets)
        key = (endpoint.url, options.ca_file, options.host)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _channel(endpoint, options)
        return _GrpcWire(endpoint, channel, options, headers, secrets)


def _channel(endpoint: Endpoint, options: OipOptions) -> _Channel:
    try:
        parts = urlsplit(endpoint.url)
        port, host = parts.port, parts.hostname
    except ValueError:
        parts, port, host = urlsplit(""), None, None
    plain = not (parts.username or parts.password or parts.query or parts.path.strip("/"))
    tls = _SCHEMES.get(parts.scheme)
    if tls is None or not host or not plain:
        raise DeclarationError(
            f"{place_of(endpoint)}.url",
            got="something else",
            promised="a URL such as grpc://host:8081, without user, password, path and query",
            mend="name the variable of a secret by --key-env; grpcs:// is the one with TLS",
        )
    try:
        roots = Path(options.ca_file).read_bytes() if options.ca_file else None
    except OSError as error:
        raise DeclarationError(
            f"{place_of(endpoint)}.options.ca_file", got=str(error), promised="certificates as PEM"
        ) from None
    target = f"[{host}]" if ":" in host else host
    return _Channel(f"{target}:{port or (443 if tls else 80)}", options.host, tls, roots)


class _Channel:
    """Connections to one address, made when they are first used: gRPC binds them to a loop."""

    def __init__(self, target: str, host: str, tls: bool, roots: bytes | None) -> None:
        self._target = target
        self._tls = tls
        self._roots = roots
        self._options = [
            ("grpc.max_receive_message_length", ANSWER_LIMIT),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
            # A server that comes back is found again within a second, not within two minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            # So long an attempt may take: several times there and back, and a busy server.
            ("grpc.min_reconnect_backoff_ms", 5000),
            ("grpc.max_reconnect_backoff_ms", 1000),
            *([("grpc.default_authority", host)] if host else []),
        ]
        self._open: Any = None
        self._calls: dict[str, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def call(self, method: str) -> Callable[..., Any]:
        """The method of the service, to be called in the running loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._open = self._make()
            self._loop = loop
            self._calls = {
                name: self._open.unary_unary(
                    f"/{SERVICE}/{name}",
                    request_serializer=message_class(f"{name}Request").SerializeToString,
                    response_deserializer=message_class(f"{name}Response").FromString,
                )
                for name in _METHODS
            }
        return self._calls[method]

    def _make(self) -> Any:
        if not self._tls:
            return _aio.insecure_channel(self._target, options=self._options)
        trust = _grpc.ssl_channel_credentials(root_certificates=self._roots)
        return _aio.secure_channel(self._target, trust, options=self._options)

    async def close(self) -> None:
        """Hang up."""
        if self._open is not None and self._loop is asyncio.get_running_loop():
            await self._open.close()
        self._open = self._loop = None


class _GrpcWire:
    """A Wire to one model."""

    def __init__(
        self,
        endpoint: Endpoint,
        channel: _Channel,
        options: OipOptions,
        headers: Mapping[str, str],
        secrets: Sequence[str],
    ) -> None:
        self.options = options
        place = f"the variable {endpoint.key_env}" if endpoint.key_env else ""
        self.faults = Faults(place_of(endpoint), secrets, place)
        self._endpoint = endpoint
        self._channel = channel
        self._headers = tuple(headers.items())

    async def ask(
        self, feed: Mapping[str, Any], rows: int, timeout_s: float, trace: Trace | None
    ) -> list[Any]:
        """The outputs of one request."""
        reply = await self._send("ModelInfer", self._request(feed), timeout_s, trace)
        where = self.faults.where
        try:
            tensors = read_tensors(reply.outputs, reply.raw_output_contents, where)
        except SpliceError as error:
            got = self.faults.clean(f"{error.where}: {error.got}")
            raise BadAnswer(where, got=got, promised=error.promised) from None
        return arrays_of(tensors, self.options.outputs, where)

    async def inspect(self, timeout_s: float) -> Signature:
        """Inputs and outputs of the model's metadata; it must be ready too."""
        named = {"name": self._endpoint.model, "version": self._endpoint.version}
        said = await self._send(
            "ModelMetadata", message_class("ModelMetadataRequest")(**named), timeout_s
        )
        ready = await self._send(
            "ModelReady", message_class("ModelReadyRequest")(**named), timeout_s
        )
        if not ready.ready:
            raise ModelUnavailable(self.faults.where, got="a model that is not ready")

        def columns(described: Any) -> tuple[Column, ...]:
            return tuple(Column(d.name, d.datatype, tuple(d.shape)) for d in described)

        return Signature(inputs=columns(said.inputs), outputs=columns(said.outputs))

    def _request(self, feed: Mapping[str, Any]) -> Any:
        request = _Infer(model_name=self._endpoint.model, model_version=self._endpoint.version)
        put_parameters(request.parameters, self.options.parameters)
        for name in self.options.outputs:
            request.outputs.add(name=name)
        try:
            for name, array in feed.items():
                request.inputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
                texts = array.dtype == object
                raw = tensors_of({name: array})[0].raw() if texts else array.tobytes()
                request.raw_input_contents.append(raw)
        except (SpliceError, UnicodeEncodeError) as error:
            raise ModelMismatch(self.faults.where, got=f"{error}") from None
        return request

    async def _send(
        self, method: str, request: Any, timeout_s: float, trace: Trace | None = None
    ) -> Any:
        if timeout_s <= 0:  # gRPC takes no time for all the time
            raise self.faults.late(0.0)
        metadata = self._headers
        if trace is not None:
            metadata = (*metadata, ("traceparent", traceparent(trace)))
        try:
            return await self._channel.call(method)(request, timeout=timeout_s, metadata=metadata)
        except _aio.AioRpcError as error:
            raise self._failed(error, timeout_s) from None

    def _failed(self, error: Any, timeout_s: float) -> RouteError:
        code, faults = error.code().name, self.faults
        got = faults.clean(f"{code}: {error.details() or 'nothing more'}")
        if code == "DEADLINE_EXCEEDED":
            return faults.late(timeout_s)
        if code in ("NOT_FOUND", "UNIMPLEMENTED"):
            return faults.unknown(got)
        if code in ("INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION"):
            return ModelMismatch(faults.where, got=got, promised="a request that the model reads")
        if code == "RESOURCE_EXHAUSTED" and "message larger than max" in got:
            return BadAnswer(faults.where, got=got, promised=f"at most {ANSWER_LIMIT} bytes")
        if code == "RESOURCE_EXHAUSTED":
            return ProviderLimited(faults.where, got=got)
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            return faults.barred(got)
        if code in ("INTERNAL", "UNKNOWN"):
            return RouteCrashed(faults.where, got=got)
        return ProviderFailed(faults.where, got=got, mend="check that the server runs there")
