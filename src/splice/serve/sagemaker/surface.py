"""SageMaker's container contract over HTTP: whether it is up, and what it is asked."""

from __future__ import annotations

import re

import msgspec

from splice.core.access import Principal
from splice.core.call import Record
from splice.core.errors import SpliceError, UnknownIntegration
from splice.engine.faults import faults
from splice.engine.keyring import may_call
from splice.engine.line import Line
from splice.serve.http.trace import trace_of
from splice.serve.oip.calls import Asker, Failure, ReadyDesk, RowCalls
from splice.serve.oip.faults import nowhere, refusal
from splice.serve.oip.forms import Forms
from splice.serve.oip.inference import RowLimits
from splice.serve.sagemaker.formats import accepted, format_of, read, write
from splice.serve.tokens import token_of
from splice.serve.wire import WireAnswer, WireCall

SURFACE = "sagemaker"
PATHS = ("/ping", "/invocations")
_NAMED = re.compile(r"(?:^|[,;\s])integration=([^,;\s]+)")
_encode = msgspec.json.Encoder().encode


class SageMakerSurface:
    """Answers `/ping` and `/invocations`.

    Args:
        desk: The process behind it.
        integration: The one that is asked; empty for the only one that is live.
        limits: Bounds on a request.
    """

    def __init__(self, desk: ReadyDesk, integration: str, limits: RowLimits) -> None:
        self._desk = desk
        self._integration = integration
        self._max_rows = limits.rows
        self._calls = RowCalls(desk, limits.calls)
        self._forms = Forms()

    def refuse(self, error: SpliceError, call: WireCall) -> WireAnswer:
        """An error as JSON."""
        return refusal(Failure(error))

    async def answer(self, call: WireCall) -> WireAnswer:
        """The answer to one request; whatever goes wrong is an answer too."""
        try:
            if call.path == "/ping":
                return self._ping(call)
            if call.method != "POST":
                return nowhere(call.method, call.path, "POST")
            return await self._invoked(call)
        except SpliceError as error:
            return refusal(Failure(error))
        except Exception as error:  # noqa: BLE001 - the request ends here, and its caller is told
            faults.told(f"a request for {call.path[:200]}", error)
            return refusal(Failure(SpliceError("server", got="an error that nobody foresaw")))

    def _ping(self, call: WireCall) -> WireAnswer:
        if call.method not in ("GET", "HEAD"):
            return nowhere(call.method, call.path, "GET")
        wrong = self._desk.not_ready()
        if wrong:
            return WireAnswer(503, _encode({"error": "; ".join(wrong)}))
        return WireAnswer(200, b"{}")

    async def _invoked(self, call: WireCall) -> WireAnswer:
        headers, engine = call.headers, self._desk.engine
        principal = await engine.keyring.asker(token_of(headers), call.address)
        attributes = headers.get(b"x-amzn-sagemaker-custom-attributes", b"").decode("latin-1")
        line = self._line(attributes, principal)
        key = headers.get(b"idempotency-key")
        asker = Asker(principal, SURFACE, None if key is None else key.decode("latin-1"))
        if b"traceparent" in headers:
            asker.trace = lambda: trace_of(headers)
        try:
            said = headers.get(b"content-type", b"").decode("latin-1")
            asked = format_of(said, line.where)
            answer_format = accepted(headers.get(b"accept", b"").decode("latin-1"), asked)
            rows = read(call.body, asked, line, self._forms.of(line), self._max_rows)
            answered = await self._calls.answered(line, rows.bodies, asker)
        except SpliceError as error:
            engine.refused(line.name, error)
            raise
        if isinstance(answered, Failure):
            return refusal(answered)
        replies = [record.reply or b"null" for record in answered]
        body = write(replies, rows, answer_format)
        return WireAnswer(200, body, answer_format.encode(), _told(line, answered))

    def _line(self, attributes: str, principal: Principal) -> Line:
        """The integration that is meant: the one named, the one set, or the only one.

        Raises:
            UnknownIntegration: It is not live, or there are several and none is named.
            NotAllowed: The key does not reach it.
        """
        named = _NAMED.search(attributes)
        name = named[1] if named else self._integration
        lines = self._desk.engine.lines
        if not name:
            if len(lines) != 1:
                raise UnknownIntegration(
                    "invocations",
                    got=f"{len(lines)} live integrations, and none named",
                    promised="one that is meant",
                    mend="set sagemaker.integration, or name one in "
                    "X-Amzn-SageMaker-Custom-Attributes: integration=NAME",
                )
            (name,) = lines
        line = self._desk.engine.line(name)
        may_call(principal, name)
        return line


def _told(line: Line, records: list[Record]) -> list[tuple[bytes, bytes]]:
    """What SageMaker hands on to the caller: one header of its own, at most 1,024 characters."""
    first = records[0]
    told = f"integration={line.name};release={first.release}"
    headers: list[tuple[bytes, bytes]] = []
    if len(records) == 1:
        told += f";call_id={first.call_id}"
        headers.append((b"splice-call-id", first.call_id.encode()))
    headers.append((b"x-amzn-sagemaker-custom-attributes", told[:1024].encode()))
    return headers
