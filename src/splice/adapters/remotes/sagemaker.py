"""Models behind Amazon SageMaker's real-time endpoints."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from splice.adapters.net.http import Http, HttpFault, HttpReply, origin_of
from splice.adapters.remotes import oip, sagemaker_bodies
from splice.adapters.remotes.faults import Faults
from splice.adapters.remotes.model import RemoteModel
from splice.adapters.remotes.options import named, options_of, place_of
from splice.adapters.remotes.sagemaker_bodies import TYPES, SageMakerOptions
from splice.adapters.remotes.sigv4 import Credentials, Scope, Unsigned, signed
from splice.core.call import Trace
from splice.core.errors import (
    DeclarationError,
    ModelMismatch,
    ModelUnavailable,
    ProviderFailed,
    ProviderLimited,
    RouteError,
)
from splice.core.release import Column, Signature
from splice.core.versions import Endpoint

_ROWS = Signature(inputs=(Column("instances", "FP64", (-1, -1)),))
"""What an endpoint reads of which nobody said more: one matrix of numbers."""

_LENGTH = "inference-header-content-length"
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{1,2}")


class SageMakerRuntime:
    """A RemoteRuntime.

    An endpoint says nothing of its model: inputs are named when it is registered. `key_env` is the
    prefix of three variables, `AWS` if left out: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, and
    `AWS_SESSION_TOKEN` where the keys are temporary.

    Args:
        secrets: Environment variable to secret, of those that endpoints may name.
        clock: Unix time in seconds, for the signatures.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Callable[[], float] = time.time) -> None:
        self._secrets = secrets
        self._clock = clock
        self._https: dict[tuple[str, ...], Http] = {}

    def connect(
        self, endpoint: Endpoint, features: Sequence[str] = (), signature: Signature | None = None
    ) -> RemoteModel:
        """The model, without asking the network.

        Raises:
            DeclarationError: URL, region or an option is not what it should be.
            ModelUnavailable: The keys that it names are not there.
        """
        options = options_of(endpoint, SageMakerOptions)
        if not _REGION.fullmatch(endpoint.region):
            raise DeclarationError(
                f"{place_of(endpoint)}.region",
                got=endpoint.region[:40] or "nothing",
                promised="a region such as eu-central-1",
                mend="name it by --region",
            )
        prefix = endpoint.key_env or "AWS"
        credentials = Credentials(
            named(f"{prefix}_ACCESS_KEY_ID", endpoint, self._secrets),
            named(f"{prefix}_SECRET_ACCESS_KEY", endpoint, self._secrets),
            self._secrets.get(f"{prefix}_SESSION_TOKEN", ""),
        )
        at = endpoint if endpoint.url else msgspec.structs.replace(endpoint, url=_url(endpoint))
        headers = {"content-type": TYPES[options.content]}
        key = (at.url, options.ca_file, options.content)
        http = self._https.get(key)
        if http is None:
            http = self._https[key] = oip.http_of(at, headers, options)
        wire = _SignedWire(at, http, options, credentials, self._clock)
        known = signature if signature is not None and signature.inputs else _ROWS
        return RemoteModel(wire, wire.faults, options, features, known)

    async def inspect(self, endpoint: Endpoint) -> Signature:
        """Nothing: SageMaker does not tell.

        Raises:
            ModelUnavailable: Always.
        """
        raise ModelUnavailable(
            place_of(endpoint),
            got="an endpoint that says nothing of its model",
            mend="name its inputs by --input NAME:DATATYPE[SHAPE]",
        )

    async def close(self) -> None:
        """Hang up every connection."""
        for http in self._https.values():
            await http.close()


def _url(endpoint: Endpoint) -> str:
    china = ".cn" if endpoint.region.startswith("cn-") else ""
    return f"https://runtime.sagemaker.{endpoint.region}.amazonaws.com{china}"


class _SignedWire:
    """A Wire to one endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        http: Http,
        options: SageMakerOptions,
        credentials: Credentials,
        clock: Callable[[], float],
    ) -> None:
        prefix = endpoint.key_env or "AWS"
        secrets = [credentials.secret_key, credentials.token, credentials.access_key]
        self.faults = Faults(place_of(endpoint), secrets, f"the variables {prefix}_…")
        self._http = http
        self._options = options
        self._credentials = credentials
        self._clock = clock
        self._scope = Scope(endpoint.region, "sagemaker")
        origin = origin_of(endpoint.url, place_of(endpoint))
        self._host = origin.host_header
        self._base = origin.path
        self._path = f"/endpoints/{quote(endpoint.model, safe='')}/invocations"
        kind = TYPES[options.content]
        self._headers = {"accept": options.accept or kind, **options.headers}
        for name, value in (
            ("x-amzn-sagemaker-target-variant", endpoint.version),
            ("x-amzn-sagemaker-target-model", options.target_model),
            ("x-amzn-sagemaker-inference-component", options.component),
        ):
            if value:
                self._headers[name] = value
        oip.check_headers(endpoint, self._headers)
        self._signed_too = {"host": self._host, "content-type": kind}

    async def ask(
        self, feed: Mapping[str, Any], rows: int, timeout_s: float, trace: Trace | None
    ) -> list[Any]:
        """The outputs of one invocation."""
        options, where = self._options, self.faults.where
        length, more = "", self._headers
        if options.content == "oip":
            body, length = oip.body_of(feed, options, where)
            more = {**more, _LENGTH: length} if length else more
        else:
            body = sagemaker_bodies.body_of(feed, options)
        request = Unsigned("POST", self._base + self._path, {**self._signed_too, **more}, body)
        proof = signed(request, self._credentials, self._scope, self._clock())
        try:
            reply = await self._http.post(
                self._path, body, oip.traceparent(trace), {**more, **proof}, timeout_s
            )
        except HttpFault as fault:
            raise self.faults.below(fault, timeout_s) from None
        if reply.status != 200:
            raise self._refused(reply)
        if options.content == "oip":
            return oip.outputs_of(reply.body, reply.headers.get(_LENGTH, ""), options, self.faults)
        kind = reply.content_type.decode("latin-1")
        return sagemaker_bodies.outputs_of(reply.body, kind, rows, options, where)

    async def inspect(self, timeout_s: float) -> Signature:
        """What it reads where nobody said more."""
        return _ROWS

    def _refused(self, reply: HttpReply) -> RouteError:
        """AWS's own errors, by their names, and those of the container."""
        words = self.faults.words(reply.body)
        kind = reply.headers.get("x-amzn-errortype", "").partition(":")[0]
        got = self.faults.clean(f"status {reply.status} {kind}: {words}")
        where = self.faults.where
        if "Throttl" in kind or kind == "ModelNotReadyException":
            return ProviderLimited(where, got=got)
        if kind == "ValidationError" and "not found" in words:
            return self.faults.unknown(got)
        if reply.status == 424 and _original(reply.body) in range(400, 500):
            return ModelMismatch(where, got=got, promised="rows that the model reads")
        if reply.status == 500:  # the model's own would be 424
            return ProviderFailed(where, got=got)
        if reply.status in (400, 403) and re.search(r"[Ss]ignature.*(expired|current)", words):
            failed = self.faults.barred(got)
            failed.mend = "set this machine's clock: AWS allows five minutes"
            return failed
        return self.faults.said(reply.status, f"{kind} {words}".strip(), reply.headers)


class _ModelError(msgspec.Struct):
    """What SageMaker says of an answer of the container that was none."""

    OriginalStatusCode: int = 0


def _original(body: bytes) -> int:
    try:
        return msgspec.json.decode(body, type=_ModelError).OriginalStatusCode
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0
