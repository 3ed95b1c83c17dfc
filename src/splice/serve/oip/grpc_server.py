"""The gRPC server of a process: it listens, and it stops without dropping what runs."""

from __future__ import annotations

import grpc
import grpc.aio
import msgspec

from splice.core.errors import SettingsError
from splice.serve.oip.calls import ReadyDesk
from splice.serve.oip.grpc_service import GrpcService
from splice.serve.oip.inference import RowLimits


class GrpcTls(msgspec.Struct, frozen=True):
    """The server's certificate, and whose client certificates count."""

    cert: bytes
    key: bytes
    client_ca: bytes | None = None
    required: bool = False

    def __repr__(self) -> str:
        return "GrpcTls(…)"


class GrpcLimits(msgspec.Struct, frozen=True):
    """Where it listens, and what it takes.

    `shared` where several processes listen on the one port.
    """

    host: str
    port: int
    rows: RowLimits
    body_bytes: int
    shared: bool = False
    tls: GrpcTls | None = None


class GrpcServer:
    """A server that listens.

    Args:
        server: gRPC's own.
        address: Where it listens, as `host:port`.
    """

    def __init__(self, server: grpc.aio.Server, address: str) -> None:
        self._server = server
        self.address = address

    async def stop(self, seconds: float) -> None:
        """Take no new requests; those that run have so many seconds to end."""
        await self._server.stop(seconds)


async def start_grpc(desk: ReadyDesk, limits: GrpcLimits) -> GrpcServer:
    """A server that listens.

    Raises:
        SettingsError: The port is taken.
    """
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", limits.body_bytes),
            ("grpc.max_send_message_length", -1),
            # Without it, a second server on the port would quietly take half of its callers.
            ("grpc.so_reuseport", int(limits.shared)),
        ),
        maximum_concurrent_rpcs=limits.rows.calls,
    )
    server.add_generic_rpc_handlers((GrpcService(desk, limits.rows).handler(),))
    host = f"[{limits.host}]" if ":" in limits.host else limits.host
    try:
        port = _listen(server, f"{host}:{limits.port}", limits.tls)
    except RuntimeError:
        raise SettingsError(
            f"oip.grpc_port {host}:{limits.port}",
            got="an address that cannot be listened on",
            promised="one that is free",
            mend="stop what listens there, or take another",
        ) from None
    await server.start()
    return GrpcServer(server, f"{host}:{port}")


def _listen(server: grpc.aio.Server, at: str, tls: GrpcTls | None) -> int:
    if tls is None:
        return server.add_insecure_port(at)
    # gRPC in Python asks for a client certificate only where it requires one.
    credentials = grpc.ssl_server_credentials(
        [(tls.key, tls.cert)], tls.client_ca if tls.required else None, tls.required
    )
    return server.add_secure_port(at, credentials)
