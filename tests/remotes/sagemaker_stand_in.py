"""A stand-in for SageMaker's runtime: it lets in only what botocore would have signed so.

Its endpoint `adder` sums the two numbers of a row; `adder-csv`, `adder-objects` and the like answer
as other containers do. It is no SageMaker: what it refuses and how is written after AWS's
documentation of InvokeEndpoint.
"""

from __future__ import annotations

import calendar
import http.client
import json
import re
import time
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from splice.testing.oip_server import Asked, OipServer, Said, ScriptedServer

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDSTANDIN",
    "AWS_SECRET_ACCESS_KEY": "stand/in+secret",
    "AWS_SESSION_TOKEN": "temporary+token==",
}
REGION = "eu-central-1"

_PATH = re.compile(r"(?:/gateway)?/endpoints/([^/]+)/invocations")
_PROOF = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/sagemaker/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)


def _error(status: int, kind: str, message: str, **more: Any) -> Said:
    body = json.dumps({"message": message, **more}).encode()
    return Said(status, body, {"x-amzn-errortype": f"{kind}:http://internal"})


def unsigned_why(asked: Asked, token: str) -> str:
    """Why the signature of a request is none; empty where it is the one that botocore makes."""
    proof = _PROOF.fullmatch(asked.headers.get("authorization", ""))
    if proof is None:
        return "no signature"
    if proof[1] != KEYS["AWS_ACCESS_KEY_ID"] or proof[3] != REGION:
        return "another key or region"
    if asked.headers.get("x-amz-security-token", "") != token:
        return "The security token included in the request is invalid"
    stamp = asked.headers["x-amz-date"]
    at = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    if abs(at - time.time()) > 300:
        return f"Signature expired: {stamp} is not within 5 min of the current time"
    if not {"host", "content-type", "x-amz-date"} <= set(proof[4].split(";")):
        return "headers that must be signed are not"
    added = ("x-amz-date", "x-amz-security-token")  # by the signer itself
    headers = {name: asked.headers[name] for name in proof[4].split(";") if name not in added}
    url = f"http://{asked.headers['host']}{asked.path}"
    request = AWSRequest(asked.method, url, headers=headers, data=asked.body)
    secret = Credentials(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], token or None)
    moment = datetime.fromtimestamp(at, tz=UTC)
    with patch.object(botocore.auth, "get_current_datetime", lambda: moment):
        botocore.auth.SigV4Auth(secret, "sagemaker", REGION).add_auth(request)
    wanted = request.headers["Authorization"]
    return "" if wanted == asked.headers["authorization"] else f"wanted {wanted}"


class SageMakerStandIn(ScriptedServer):
    """The runtime of one region.

    Attributes:
        reply: Body and content type that replace the model's own answer, or None.
        token: The session token that requests must have.
        container: URL of a container that answers instead, by its `/invocations`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reply: tuple[bytes, str] | None = None
        self.token = KEYS["AWS_SESSION_TOKEN"]
        self.container = ""

    def answer(self, asked: Asked) -> Said:
        """Sums, for who signs."""
        why = unsigned_why(asked, self.token)
        if why:
            return _error(403, "InvalidSignatureException", why)
        found = _PATH.fullmatch(asked.path)
        if found is None or not found[1].startswith("adder"):
            name = found[1] if found else ""
            return _error(400, "ValidationError", f"Endpoint {name} of account 1 not found.")
        if self.container:
            return self._invoked(asked)
        if self.reply is not None:
            body, kind = self.reply
            return Said(200, body, {"content-type": kind})
        if asked.headers["content-type"] == "text/csv":
            return self._csv(asked)
        if b'"inputs"' in asked.body:
            return OipServer().answer(asked._replace(path="/v2/models/adder/infer"))
        return self._json(asked)

    def _invoked(self, asked: Asked) -> Said:
        """What the container says, as SageMaker passes it on."""
        host = self.container.removeprefix("http://")
        kept = {name: asked.headers[name] for name in ("content-type", "accept")}
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("POST", "/invocations", asked.body, kept)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            words = body.decode()
            more = {"OriginalStatusCode": answer.status, "OriginalMessage": words}
            return _error(424, "ModelError", f"Received client error: {words}", **more)
        return Said(200, body, {"content-type": answer.headers["content-type"]})

    def _csv(self, asked: Asked) -> Said:
        rows = [line.split(",") for line in asked.body.decode().splitlines()]
        sums = ",".join(str(sum(map(float, row))) for row in rows)
        return Said(200, sums.encode(), {"content-type": "text/csv; charset=utf-8"})

    def _json(self, asked: Asked) -> Said:
        sent = json.loads(asked.body)
        rows = sent["instances"] if isinstance(sent, dict) else sent
        if isinstance(rows[0], dict):
            rows = [list(row.values()) for row in rows]
        if any(666.0 in row for row in rows):
            words = "could not convert"
            return _error(424, "ModelError", words, OriginalStatusCode=400, OriginalMessage=words)
        return Said(200, json.dumps({"predictions": [float(sum(row)) for row in rows]}).encode())
