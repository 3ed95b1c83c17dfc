"""`python app_relay.py PORT PROVIDER_PORT`: a socket to the provider for each caller's."""

from __future__ import annotations

import asyncio
import sys

import uvloop


class End(asyncio.Protocol):
    """One end of a relay: what comes here goes out at the other."""

    other: asyncio.Transport | None = None

    def data_received(self, data: bytes) -> None:
        """Hand it on."""
        if self.other:
            self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end goes too."""
        if self.other:
            self.other.close()


class Caller(End):
    """The end that faces a caller."""

    def __init__(self, provider_port: int) -> None:
        self.provider_port = provider_port
        self.early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the other end."""
        self.opening = asyncio.ensure_future(self._open(transport))

    def data_received(self, data: bytes) -> None:
        """Hand it on, or keep it until there is where to."""
        if self.other:
            self.other.write(data)
        else:
            self.early += data

    async def _open(self, transport: asyncio.BaseTransport) -> None:
        loop = asyncio.get_running_loop()
        far, end = await loop.create_connection(End, "127.0.0.1", self.provider_port)
        end.other = transport  # type: ignore[assignment]
        far.write(self.early)
        self.other = far


async def main(port: int, provider_port: int) -> None:
    """Relay until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Caller(provider_port), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
