"""Models behind the Open Inference Protocol over HTTP: KServe, Triton, MLServer, Splice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

import msgspec
import numpy as np

from splice.adapters.net.http import Http, HttpFault, HttpReply, origin_of, sendable
from splice.adapters.remotes.faults import Faults
from splice.adapters.remotes.model import RemoteModel, readable
from splice.adapters.remotes.options import (
    ANSWER_LIMIT,
    CONNECT_S,
    Options,
    options_of,
    place_of,
    secret_of,
)
from splice.adapters.tensors.rows import NUMPY
from splice.core.call import Trace
from splice.core.errors import (
    BadAnswer,
    DeclarationError,
    ModelMismatch,
    ModelUnavailable,
    SettingsError,
    SpliceError,
)
from splice.core.release import Column, Signature
from splice.core.versions import Endpoint
from splice.oip.bodies import BINARY, InferRequest, WantedOutput, read_response, wire_of, write
from splice.oip.tensors import Tensor

_INSPECT_S = 10.0
_LENGTH = "inference-header-content-length"


class OipOptions(Options, frozen=True, forbid_unknown_fields=True):
    """Of the Open Inference Protocol, over HTTP and gRPC."""

    outputs: tuple[str, ...] = ()
    """Outputs to ask for; the model's own choice if left out."""

    parameters: dict[str, Any] = {}  # noqa: RUF012 - a Struct copies it
    """Parameters of every request, as they are."""

    key_header: str = "authorization"
    """Where the secret goes: `authorization` as a bearer token, any other as it is."""

    binary: bool = False
    """Send and receive tensors as raw bytes: the binary data extension, for large ones (HTTP)."""


class OipRuntime:
    """A RemoteRuntime. Endpoints of one address and one secret share their connections.

    Args:
        secrets: Environment variable to secret, of those that endpoints may name.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._https: dict[tuple[str, ...], Http] = {}

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
        except SpliceError as error:
            if isinstance(error, DeclarationError):
                raise
            raise ModelUnavailable(error.where, got=error.got, mend=error.mend) from None

    async def close(self) -> None:
        """Hang up every connection."""
        for http in self._https.values():
            await http.close()

    def _wire(self, endpoint: Endpoint) -> _HttpWire:
        options = options_of(endpoint, OipOptions)
        headers, secrets = headers_of(endpoint, options, self._secrets)
        if options.host:
            headers["host"] = options.host
        if options.binary:  # KServe would read it as JSON by the usual type
            headers["content-type"] = BINARY
        key = (endpoint.url, options.ca_file, *(f"{n}:{v}" for n, v in sorted(headers.items())))
        http = self._https.get(key)
        if http is None:
            http = self._https[key] = http_of(endpoint, headers, options)
        return _HttpWire(endpoint, http, options, secrets)


def headers_of(
    endpoint: Endpoint, options: OipOptions, known: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Headers for every request, with the secret, and what of them must never be repeated.

    Raises:
        DeclarationError: One cannot be sent.
        ModelUnavailable: The secret that the endpoint names is not there.
    """
    secret = secret_of(endpoint, known)
    headers = {name.lower(): value for name, value in options.headers.items()}
    if secret:
        name = options.key_header.lower()
        headers[name] = f"Bearer {secret}" if name == "authorization" else secret
    check_headers(endpoint, headers)
    return headers, [secret] if secret else []


def check_headers(endpoint: Endpoint, headers: Mapping[str, str]) -> None:
    """Nothing, where every header can be sent.

    Raises:
        DeclarationError: One cannot.
    """
    for name, value in headers.items():
        if not sendable(name, value):
            raise DeclarationError(
                f"{place_of(endpoint)}.options.headers.{name!r}"[:120],
                got="a name or a value that no header can carry",
                promised="printable ASCII without spaces around it",
            )


def http_of(endpoint: Endpoint, headers: Mapping[str, str], options: Options) -> Http:
    """A client of the endpoint's URL.

    Raises:
        DeclarationError: It is no such URL, or the certificates cannot be read.
    """
    url = endpoint.url.rstrip("/").removesuffix("/v2")
    try:
        origin = origin_of(url, place_of(endpoint))
    except SettingsError:
        raise DeclarationError(
            f"{place_of(endpoint)}.url",
            got="something else",
            promised="a URL such as http://host:8080, without user, password and query",
            mend="name the variable of a secret by --key-env",
        ) from None
    ca_file = options.ca_file or None
    try:
        return Http(origin, headers, body_limit=ANSWER_LIMIT, connect_s=CONNECT_S, ca_file=ca_file)
    except OSError as error:
        raise DeclarationError(
            f"{place_of(endpoint)}.options.ca_file", got=str(error), promised="certificates as PEM"
        ) from None


class _HttpWire:
    """A Wire to one model."""

    def __init__(
        self, endpoint: Endpoint, http: Http, options: OipOptions, secrets: Sequence[str]
    ) -> None:
        self.options = options
        place = f"the variable {endpoint.key_env}" if endpoint.key_env else ""
        self.faults = Faults(place_of(endpoint), secrets, place)
        self._http = http
        self._path = f"/v2/models/{quote(endpoint.model, safe='')}"
        if endpoint.version:
            self._path += f"/versions/{quote(endpoint.version, safe='')}"

    async def ask(
        self, feed: Mapping[str, Any], rows: int, timeout_s: float, trace: Trace | None
    ) -> list[Any]:
        """The outputs of one request."""
        body, length = body_of(feed, self.options, self.faults.where)
        headers = {_LENGTH: length} if length else {}
        try:
            reply = await self._http.post(
                f"{self._path}/infer", body, traceparent(trace), headers, timeout_s
            )
        except HttpFault as fault:
            raise self.faults.below(fault, timeout_s) from None
        if reply.status != 200:
            raise self.faults.status(reply.status, reply.headers, reply.body)
        return outputs_of(reply.body, reply.headers.get(_LENGTH, ""), self.options, self.faults)

    async def inspect(self, timeout_s: float) -> Signature:
        """Inputs and outputs of the model's metadata; it must be ready too."""
        said = await self._get(self._path, timeout_s)
        signature = signature_of(said.body, self.faults.where)
        ready = await self._get(f"{self._path}/ready", timeout_s)
        # Servers say it by the status; some by the body too.
        if b'"ready":false' in ready.body.replace(b" ", b""):
            raise ModelUnavailable(self.faults.where, got="a model that is not ready")
        return signature

    async def _get(self, path: str, timeout_s: float) -> HttpReply:
        try:
            reply = await self._http.get(path, timeout_s)
        except HttpFault as fault:
            raise self.faults.below(fault, timeout_s) from None
        if reply.status != 200:
            raise self.faults.status(reply.status, reply.headers, reply.body)
        return reply


def body_of(feed: Mapping[str, Any], options: OipOptions, where: str) -> tuple[bytes, str]:
    """A request, and the length of its JSON; an empty text where nothing else follows.

    Raises:
        ModelMismatch: A value has no form in it.
    """
    binary = options.binary
    try:
        wires = [wire_of(one, binary=binary) for one in tensors_of(feed)]
        request = InferRequest([wire for wire, _ in wires])
        wanted = {"binary_data": True} if binary else msgspec.UNSET
        if options.outputs:
            request.outputs = [WantedOutput(one, wanted) for one in options.outputs]
        parameters = dict(options.parameters)
        if binary and not options.outputs:
            parameters["binary_data_output"] = True
        if parameters:
            request.parameters = parameters
        body, length = write(request, [raw for _, raw in wires if raw is not None])
    except SpliceError as error:
        raise ModelMismatch(where, got=error.detail) from None
    return body, "" if length is None else str(length)


def outputs_of(body: bytes, json_length: str, options: OipOptions, faults: Faults) -> list[Any]:
    """The outputs in a response, as arrays.

    Raises:
        BadAnswer: It is none, or lacks one that was asked for.
    """
    try:
        _, tensors = read_response(body, json_length.encode() or None, faults.where)
    except SpliceError as error:
        promised = error.promised or "an answer of the Open Inference Protocol"
        got = faults.clean(f"{error.where}: {error.got}")
        raise BadAnswer(faults.where, got=got, promised=promised) from None
    return arrays_of(tensors, options.outputs, faults.where)


def traceparent(trace: Trace | None) -> str:
    """The W3C header; empty without a trace."""
    return f"00-{trace.trace_id}-{trace.span_id}-{trace.flags & 0xFF:02x}" if trace else ""


def tensors_of(feed: Mapping[str, Any]) -> list[Tensor]:
    """Numpy arrays by name as tensors of the protocol."""
    return [
        Tensor(name, datatype_of(array), array.shape, _plain(array)) for name, array in feed.items()
    ]


def datatype_of(array: Any) -> str:
    """The protocol's name of an array's type."""
    return "BYTES" if array.dtype == object else _NAMES[array.dtype]


def _plain(array: Any) -> list[Any]:
    values = cast("list[Any]", array.reshape(-1).tolist())
    return [one.encode() for one in values] if array.dtype == object else values


_NAMES = {np.dtype(kind): name for name, kind in NUMPY.items() if name != "BYTES"}


def arrays_of(tensors: Sequence[Tensor], wanted: Sequence[str], where: str) -> list[Any]:
    """The outputs as arrays, those that were asked for in the order in which they were.

    Raises:
        BadAnswer: One that was asked for is missing, or one is empty.
    """
    if wanted:
        by_name = {one.name: one for one in tensors}
        missing = [name for name in wanted if name not in by_name]
        if missing:
            has = ", ".join(by_name) or "none"
            raise BadAnswer(where, got=f"outputs {has}"[:300], promised=f"the output {missing[0]}")
        tensors = [by_name[name] for name in wanted]
    empty = [one.name for one in tensors if not one.values]
    if empty:
        raise BadAnswer(where, got=f"output {empty[0][:80]} without a value")
    with np.errstate(over="ignore"):  # it becomes an infinity, which is refused
        return [
            np.array(one.values, dtype=NUMPY.get(one.datatype, np.float32)).reshape(one.shape)
            for one in tensors
        ]


class _Described(msgspec.Struct):
    """One input or output, as metadata has it."""

    name: str
    datatype: str
    shape: list[int] | None = None


class _Metadata(msgspec.Struct):
    """What a model says of itself."""

    inputs: list[_Described] | None = None
    outputs: list[_Described] | None = None


def signature_of(body: bytes, where: str) -> Signature:
    """The signature in the metadata of a model.

    Raises:
        ModelUnavailable: It is not metadata of a model.
    """
    try:
        said = msgspec.json.decode(body, type=_Metadata)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelUnavailable(
            where,
            got=str(error),
            promised="metadata of the Open Inference Protocol",
            mend="check that the URL leads to such a server",
        ) from None

    def columns(described: list[_Described] | None) -> tuple[Column, ...]:
        return tuple(Column(d.name, d.datatype, tuple(d.shape or ())) for d in described or ())

    return Signature(inputs=columns(said.inputs), outputs=columns(said.outputs))
