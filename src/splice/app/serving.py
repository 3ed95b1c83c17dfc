"""Serving: an App that is a server process of its own, with the gRPC port beside HTTP."""

from __future__ import annotations

import importlib.util
import os
import socket
import time
from typing import TYPE_CHECKING

from splice.app.application import App
from splice.app.process import say
from splice.app.settings import Settings
from splice.core.errors import SettingsError
from splice.serve.oip.inference import RowLimits

if TYPE_CHECKING:
    from splice.serve.oip.grpc_server import GrpcServer


class Serving(App):
    """Like `App`; listens for gRPC too, where the settings say a port."""

    _grpc: GrpcServer | None = None

    @property
    def grpc_address(self) -> str:
        """Where gRPC is listened for; empty where it is not."""
        return "" if self._grpc is None else self._grpc.address

    async def start(self) -> None:
        """Open the ledger, load what is live, listen for gRPC."""
        if self.started:
            return
        await super().start()
        if self.settings.oip.grpc_port is not None and self._grpc is None:
            self._grpc = await self._start_grpc(self.settings.oip.grpc_port)
        if self._shared:
            say(f"worker {os.getpid()} answers")

    async def _start_grpc(self, port: int) -> GrpcServer:
        # Here, for gRPC is an optional extra and takes a tenth of a second to import.
        from splice.serve.oip.grpc_server import GrpcLimits, GrpcTls, start_grpc

        server, tls, path = self.settings.server, self.settings.tls, self.settings.path
        secured = None
        if tls.cert:
            secured = GrpcTls(
                path(tls.cert).read_bytes(),
                path(tls.key or tls.cert).read_bytes(),
                path(tls.client_ca).read_bytes() if tls.client_ca else None,
                tls.clients == "required",
            )

        limits = GrpcLimits(
            server.host,
            port,
            RowLimits(self.settings.oip.max_rows, server.max_in_flight),
            server.max_body_bytes,
            shared=server.workers > 1,
            tls=secured,
        )
        return await start_grpc(self, limits)

    async def stop(self) -> None:
        """Let running calls end, those over gRPC too; then close everything."""
        grpc, self._grpc = self._grpc, None
        if grpc is not None and self.started:
            self.drain()
            until = self._drain.begin(self.engine)
            await grpc.stop(max(until - time.monotonic(), 0.5))
        await super().stop()


def check_grpc(settings: Settings) -> None:
    """Passes settings whose gRPC port can be listened on; several workers share one.

    Raises:
        SettingsError: gRPC is not installed, the port is taken, or each worker would take another.
    """
    port, host = settings.oip.grpc_port, settings.server.host
    if port is None:
        return
    if importlib.util.find_spec("grpc") is None or importlib.util.find_spec("google") is None:
        raise SettingsError(
            "oip.grpc_port",
            got="a port, and no gRPC",
            promised="the extra grpc",
            mend="pip install 'splice-ai[grpc]', or leave the port out",
        )
    if port == 0 and settings.server.workers > 1:
        raise SettingsError(
            "oip.grpc_port",
            got=f"0 with {settings.server.workers} workers, of whom each would take another port",
            promised="the one port that they share",
            mend="name it",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"oip.grpc_port {host}:{port}",
                got=os.strerror(error.errno) if error.errno else str(error),
                promised="an address that is free",
                mend="stop what listens there, or take another",
            ) from None
