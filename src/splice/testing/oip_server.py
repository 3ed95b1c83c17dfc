"""A server of the Open Inference Protocol over real sockets that behaves, until told otherwise.

Its model `adder` reads one matrix `x`, FP32[-1, 2], and gives `sum`, FP32[-1, 1]. It speaks HTTP by
hand, so that it can also speak it badly: set `fault`. Runs in a thread of its own, on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from splice.core.errors import SpliceError
from splice.oip.bodies import InferResponse, read_request, wire_of, write
from splice.oip.tensors import Tensor
from splice.testing.scripted import Scripted

FAULTS = (
    "hangs", "half an answer", "resets", "no http", "endless", "NaN", "null", "an infinity",
    "one row too few", "one row too many", "other names", "other types", "no outputs",
    "empty outputs", "a lie of a shape", "not an object", "duplicate keys", "not ready",
    "binary that is too short",
)  # fmt: skip
"""What it can do instead of behaving."""

_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(ready|infer))?")
_LENGTH = "inference-header-content-length"
_NO_HEADERS: Mapping[str, str] = {}


class Asked(NamedTuple):
    """A request as it came; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Said(NamedTuple):
    """What is answered."""

    status: int
    body: bytes
    headers: Mapping[str, str] = _NO_HEADERS


class ScriptedServer(Scripted):
    """HTTP by hand; use it as a context manager.

    Attributes:
        fault: One of `FAULTS`, or empty while it behaves.
        status: A status that every POST gets, or 0.
        body: Body that goes with `status`.
        headers: Headers that go with `status`.
        delay_s: How long it holds every answer back.
        asked: What came.
        left: How many clients hung up while they were owed an answer.
        most_at_once: The most requests that were being answered at one time.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.fault = ""
        self.status = 0
        self.body = b'{"error":"scripted"}'
        self.headers: dict[str, str] = {}
        self.delay_s = 0.0
        self.asked: list[Asked] = []
        self.left = 0
        self.most_at_once = 0
        self._at_once = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, asked: Asked) -> Said:
        """What it says to a request."""
        raise NotImplementedError

    async def _serve(self, stop: asyncio.Event) -> None:
        writers: set[asyncio.StreamWriter] = set()

        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._one(reader, writer):
                    pass
            writers.discard(writer)
            writer.close()

        server = await asyncio.start_server(met, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await stop.wait()
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; whether another may follow on its connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {
            name.lower(): value.strip()
            for name, colon, value in (line.partition(":") for line in lines)
            if colon
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        asked = Asked(method, path, headers, body)
        self.asked.append(asked)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.delay_s and await self._gone(reader, self.delay_s):
                return False
        finally:
            self._at_once -= 1
        if method == "POST" and await self._misbehaves(reader, writer):
            return False
        said = self.answer(asked)
        if self.status and method == "POST":
            said = Said(self.status, self.body, self.headers)
        writer.write(_http(said))
        await writer.drain()
        return True

    async def _misbehaves(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Does what breaks the connection, if that is the fault."""
        if self.fault == "hangs":
            await self._gone(reader, None)
        elif self.fault == "half an answer":
            writer.write(_http(Said(200, b'{"outputs":[' + b" " * 100))[:-60])
            await writer.drain()
        elif self.fault == "resets":
            raw = writer.get_extra_info("socket")
            # With no time to linger, closing sends a reset and not an end.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif self.fault == "no http":
            writer.write(b"\x15\x03\x03\x00\x02\x02\x46 something else\n\n")
            await writer.drain()
        elif self.fault == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[")
            while True:  # the other side hangs up, which raises
                writer.write(b"1," * 65536)
                await writer.drain()
        else:
            return False
        return True

    async def _gone(self, reader: asyncio.StreamReader, wait_s: float | None) -> bool:
        """Whether the client hung up within the time."""
        try:
            async with asyncio.timeout(wait_s):
                await reader.read(1)
        except TimeoutError:
            return False
        except OSError:
            pass
        self.left += 1
        return True


def _http(said: Said) -> bytes:
    headers = {"content-type": "application/json", **said.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    start = f"HTTP/1.1 {said.status} Scripted\r\ncontent-length: {len(said.body)}\r\n{lines}\r\n"
    return start.encode("latin-1") + said.body


class OipServer(ScriptedServer):
    """The server of the model `adder`, in the versions 1 and 2."""

    def answer(self, asked: Asked) -> Said:
        """Metadata, readiness, or sums."""
        found = _MODEL.fullmatch(asked.path)
        if found is None or found[1] != "adder" or found[2] not in (None, "1", "2"):
            return Said(404, b'{"error":"no such model"}')
        if found[3] == "ready":
            status = 503 if self.fault == "not ready" else 200
            return Said(status, b'{"name":"adder","ready":true}')
        if found[3] is None:
            return Said(200, _json({
                "name": "adder", "versions": ["1", "2"], "platform": "scripted",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                "outputs": [{"name": "sum", "datatype": "FP32", "shape": [-1, 1]}],
            }))  # fmt: skip
        return self._infer(asked)

    def _infer(self, asked: Asked) -> Said:
        length = asked.headers.get(_LENGTH)
        try:
            request, tensors = read_request(
                asked.body, None if length is None else length.encode(), "request"
            )
        except SpliceError as error:
            return Said(400, _json({"error": str(error)}))
        (tensor,) = tensors
        if tensor.name != "x" or tensor.datatype != "FP32" or tensor.shape[1:] != (2,):
            return Said(400, _json({"error": f"{tensor.name} is not x"}))
        values = tensor.values
        if 666.0 in values:
            return Said(500, b'{"error":"the model crashed on 666"}')
        sums = [float(values[at]) + float(values[at + 1]) for at in range(0, len(values), 2)]
        wants_binary = bool((request.parameters or {}).get("binary_data_output"))
        return _sums(sums, self.fault, binary=wants_binary)


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _sums(sums: list[float], fault: str, *, binary: bool) -> Said:
    """The answer with the sums, or with what the fault makes of it."""
    count = len(sums)
    if fault == "one row too few":
        sums = sums[:-1]
    elif fault == "one row too many":
        sums = [*sums, 0.0]
    tensor = Tensor("sum", "FP32", (len(sums), 1), sums)
    wire, raw = wire_of(tensor, binary=binary)
    if fault == "binary that is too short" and raw is not None:
        raw = raw[:-1]
    response = InferResponse([wire], "adder", "1")
    text, length = write(response, [] if raw is None else [raw])
    if length is not None:
        return Said(200, text, {_LENGTH: str(length)})
    data = b",".join(msgspec.json.encode(one) for one in sums)
    changes = {
        "NaN": (data, data.replace(b"13.0", b"NaN")),
        "null": (data, data.replace(b"13.0", b"null")),
        "an infinity": (data, data.replace(b"13.0", b"1e999")),
        "other names": (b'"sum"', b'"product"'),
        "other types": (data, b",".join([b'"one"'] * count)),
        "no outputs": (text, b'{"model_name":"adder","outputs":[]}'),
        "empty outputs": (
            text,
            b'{"outputs":[{"name":"sum","datatype":"FP32","shape":[%d,0],"data":[]}]}' % count,
        ),
        "a lie of a shape": (b"[%d,1]" % count, b"[%d,1000000000000]" % count),
        "not an object": (text, b"[" * 5000),
        "duplicate keys": (b'"name"', b'"name":"x","name"'),
    }
    old, new = changes.get(fault, (b"", b""))
    return Said(200, text.replace(old, new) if old else text)
