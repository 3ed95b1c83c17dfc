"""An RSGI function that hands a request to the provider and its answer back, and does no more."""

from __future__ import annotations

import os
from typing import Any

from pyreqwest.client import Client, ClientBuilder

PROVIDER = os.environ["PROVIDER"]


class PassThrough:
    """The application. It opens its client at the first request, in the loop that serves it."""

    def __init__(self) -> None:
        self._client: Client | None = None

    # Any: what RSGI passes.
    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request as the provider does; a stream piece by piece."""
        if self._client is None:
            self._client = ClientBuilder().runtime_multithreaded(False).build()
        request = (
            self._client.post(PROVIDER + scope.path.removeprefix("/v1"))
            .header("content-type", "application/json")
            .header("authorization", scope.headers.get("authorization"))
            .body_bytes(await protocol())
        )
        async with request.build_streamed() as response:
            kind = response.get_header("content-type") or ""
            headers = [("content-type", kind)]
            if not kind.startswith("text/event-stream"):
                protocol.response_bytes(
                    response.status, headers, bytes(await response.body_reader.bytes())
                )
                return
            stream = protocol.response_stream(response.status, headers)
            while (piece := await response.body_reader.read_chunk()) is not None:
                await stream.send_bytes(bytes(piece))


app = PassThrough()
