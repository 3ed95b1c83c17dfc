"""The Open Inference Protocol over HTTP: JSON, and binary data both ways."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splice.core.access import Principal
from splice.core.errors import InputMismatch, SpliceError, UnsupportedMediaType
from splice.engine.faults import faults
from splice.engine.line import Line
from splice.oip.bodies import (
    BINARY,
    LENGTH_HEADER,
    InferRequest,
    InferResponse,
    WireTensor,
    read_json,
    tensors_in,
    wire_of,
    write,
)
from splice.serve.http.trace import trace_of
from splice.serve.oip.calls import Asker, Failure, ReadyDesk
from splice.serve.oip.faults import nowhere, refusal
from splice.serve.oip.forms import Form
from splice.serve.oip.inference import (
    EXTENSIONS,
    PLATFORM,
    Inference,
    Inferred,
    RowLimits,
    trouble_of,
    version_of_product,
)
from splice.serve.oip.rows import bodies_of, details_of, json_outputs, outputs_of, plain_bodies
from splice.serve.tokens import token_of
from splice.serve.wire import WireAnswer, WireCall

SURFACE = "oip"
_MODELS = "/v2/models"
_INDEX = "/v2/repository/index"
_LIVE, _READY = "/v2/health/live", "/v2/health/ready"
_MEDIA = frozenset((b"", b"application/json", b"application/octet-stream"))
_encode = msgspec.json.Encoder().encode


class OipSurface:
    """Answers requests for `/v2`.

    Args:
        desk: The process behind it.
        limits: Bounds on a request.
    """

    def __init__(self, desk: ReadyDesk, limits: RowLimits) -> None:
        self._desk = desk
        self.inference = Inference(desk, limits)

    def refuse(self, error: SpliceError, call: WireCall) -> WireAnswer:
        """An error in the protocol's shape. Whoever asks whether the process lives is told."""
        return _live() if call.path == _LIVE else refusal(Failure(error))

    async def answer(self, call: WireCall) -> WireAnswer:
        """The answer to one request; whatever goes wrong is an answer too."""
        try:
            return await self._answered(call)
        except SpliceError as error:
            return refusal(Failure(error))
        except Exception as error:  # noqa: BLE001 - the request ends here, and its caller is told
            faults.told(f"a request for {call.path[:200]}", error)
            unforeseen = SpliceError("server", got="an error that nobody foresaw")
            return refusal(Failure(unforeseen))

    async def _answered(self, call: WireCall) -> WireAnswer:
        path = call.path
        if path in (_LIVE, _READY):
            if call.method != "GET":
                return nowhere(call.method, path, "GET")
            return _live() if path == _LIVE else self._ready()
        principal = await self._desk.engine.keyring.asker(token_of(call.headers), call.address)
        if meant := _meant(path):
            return await self._model(meant, call, principal)
        if path == _INDEX:
            if call.method != "POST":
                return nowhere(call.method, path, "POST")
            return self._index(call, principal)
        if path not in ("/v2", "/v2/", _MODELS):
            return nowhere(call.method, path)
        if call.method != "GET":
            return nowhere(call.method, path, "GET")
        if path == _MODELS:
            names = [line.name for line in self.inference.lines(principal)]
            return WireAnswer(200, _encode({"models": names}))
        server = {"name": PLATFORM, "version": version_of_product(), "extensions": EXTENSIONS}
        return WireAnswer(200, _encode(server))

    async def _model(self, meant: _Meant, call: WireCall, principal: Principal) -> WireAnswer:
        name, version, verb = meant.name, meant.version, meant.verb
        method = "POST" if verb == "infer" else "GET"
        if call.method != method:
            return nowhere(call.method, call.path, method)
        line = self.inference.line(principal, name, version)
        if verb == "infer":
            return await self._infer(line, call, principal)
        if verb == "ready":
            trouble = trouble_of(line)
            told: dict[str, Any] = {"name": name, "ready": not trouble}
            if trouble:
                return WireAnswer(503, _encode({**told, "error": trouble}))
            return WireAnswer(200, _encode(told))
        return WireAnswer(200, _encode(self._metadata(line)))

    def _metadata(self, line: Line) -> dict[str, Any]:
        form = self.inference.form(line)
        return {
            "name": line.name,
            "versions": [str(line.release.number)],
            "platform": PLATFORM,
            "inputs": [_told(one.name, one.datatype, one.shape) for one in form.inputs.values()],
            "outputs": [_told(one.name, one.datatype, one.shape) for one in form.outputs.values()],
        }

    def _ready(self) -> WireAnswer:
        wrong = self._desk.not_ready()
        if wrong:
            return WireAnswer(503, _encode({"ready": False, "error": "; ".join(wrong)}))
        return WireAnswer(200, b'{"ready":true}')

    def _index(self, call: WireCall, principal: Principal) -> WireAnswer:
        try:
            asked = msgspec.json.decode(call.body or b"{}", type=_Index)
        except msgspec.DecodeError as error:
            raise InputMismatch("repository.index", got=str(error)) from None
        found = [
            {
                "name": line.name,
                "version": str(line.release.number),
                "state": "UNAVAILABLE" if (why := trouble_of(line)) else "READY",
                "reason": why,
            }
            for line in self.inference.lines(principal)
            if not (asked.ready and trouble_of(line))
        ]
        return WireAnswer(200, _encode(found))

    async def _infer(self, line: Line, call: WireCall, principal: Principal) -> WireAnswer:
        headers, name = call.headers, line.name
        try:
            _check_media(name, headers)
            request, binary = read_json(call.body, headers.get(LENGTH_HEADER), name)
            _refuse_unsupported(request, name)
        except SpliceError as error:
            self._desk.engine.refused(name, error)
            raise

        def bodies(form: Form) -> list[bytes]:
            most = self.inference.max_rows
            plain = None if binary else plain_bodies(form, request.inputs, most)
            if plain is not None:
                return plain
            tensors = tensors_in(request.inputs, binary, f"{name}.inputs")
            return bodies_of(form, tensors, name, most)

        key = headers.get(b"idempotency-key")
        asker = Asker(principal, SURFACE, None if key is None else key.decode("latin-1"))
        if b"traceparent" in headers:
            asker.trace = lambda: trace_of(headers)
        wanted = [one.name for one in request.outputs] if request.outputs else []
        inferred = await self.inference.infer(line, bodies, wanted, asker)
        if isinstance(inferred, Failure):
            return refusal(inferred)
        return _response(line, request, inferred)


class _Meant(msgspec.Struct, frozen=True, gc=False):
    """What a path asks for: `verb` is `ready`, `infer`, or empty for the metadata."""

    name: str
    version: str
    verb: str


@functools.lru_cache(maxsize=512)
def _meant(path: str) -> _Meant | None:
    """`/v2/models/NAME` or `/v2/models/NAME/versions/V`, and `ready` or `infer` of either."""
    if not path.startswith(f"{_MODELS}/"):
        return None
    name, *rest = path[len(_MODELS) + 1 :].split("/")
    version = ""
    if len(rest) >= 2 and rest[0] == "versions":
        version, rest = rest[1], rest[2:]
    verb = rest[0] if rest else ""
    if len(rest) > 1 or verb not in ("", "ready", "infer"):
        return None
    return _Meant(name, version, verb)


class _Index(msgspec.Struct):
    """What Triton's index may be asked for."""

    ready: bool = False


def _told(name: str, datatype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


def _live() -> WireAnswer:
    return WireAnswer(200, b'{"live":true}')


def _check_media(name: str, headers: Mapping[bytes, bytes]) -> None:
    media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if media not in _MEDIA or encoding != b"identity":
        got = media if media not in _MEDIA else b"content encoded as " + encoding
        raise UnsupportedMediaType(
            f"{name}.inputs",
            got=got.decode("latin-1")[:100],
            promised=f"application/json, or {BINARY} with Inference-Header-Content-Length",
            mend="send it as it is, uncompressed",
        )


def _refuse_unsupported(request: InferRequest, name: str) -> None:
    """Raises for what would be answered wrongly if nobody read it."""
    named = [(one.name, one.parameters) for one in request.inputs]
    named += [(one.name, one.parameters) for one in request.outputs or ()]
    for one, parameters in named:
        for parameter in ("shared_memory_region", "classification"):
            if parameters and parameters.get(parameter):
                raise InputMismatch(
                    f"{name}.{one[:80]}.parameters.{parameter}",
                    got="an extension that this server has not",
                    promised="tensors in the body",
                )


def _response(line: Line, request: InferRequest, inferred: Inferred) -> WireAnswer:
    form, names, records = inferred.form, inferred.names, inferred.records
    raws: list[bytes] = []
    outputs: list[WireTensor] = []
    binary = _binary_of(request, names)
    if any(binary):
        tensors = outputs_of(form, records, names)
        for tensor, is_binary in zip(tensors, binary, strict=True):
            wire, raw = wire_of(tensor, binary=is_binary)
            outputs.append(wire)
            if raw is not None:
                raws.append(raw)
    else:
        outputs = json_outputs(form, records, names)
    details = details_of(records)
    response = InferResponse(
        outputs, line.name, str(line.release.number), request.id or msgspec.UNSET, details
    )
    body, length = write(response, raws)
    headers: list[tuple[bytes, bytes]] = []
    if len(records) == 1:
        headers.append((b"splice-call-id", records[0].call_id.encode()))
    if length is None:
        return WireAnswer(200, body, headers=headers)
    headers.append((b"inference-header-content-length", b"%d" % length))
    return WireAnswer(200, body, BINARY.encode(), headers)


def _binary_of(request: InferRequest, names: Sequence[str]) -> list[bool]:
    """Which outputs are wanted as binary data, in their order."""
    default = bool(request.parameters and request.parameters.get("binary_data_output"))
    if not request.outputs:
        return [default] * len(names)
    return [bool((one.parameters or {}).get("binary_data", default)) for one in request.outputs]
