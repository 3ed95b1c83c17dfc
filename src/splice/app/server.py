"""The server process: uvicorn around the HTTP surface, one worker or several on one port."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import uvicorn

from splice.app import wiring
from splice.app.application import App
from splice.app.identity import check_identity
from splice.app.process import leave_with_parent, log_to_stderr, say, settle_memory
from splice.app.serving import Serving, check_grpc
from splice.app.settings import Settings, hand_to_workers, load, project_variable
from splice.app.tls import check_tls, tls_options
from splice.app.workers import clear_run_folder
from splice.core.errors import SettingsError
from splice.core.units import plural
from splice.serve.http.lane import HttpSurface
from splice.serve.http.quick import QuickProtocol, fits


def application() -> HttpSurface:
    """The surface of one worker of several; it reads the project that its parent named."""
    log_to_stderr()
    settle_memory()
    leave_with_parent()
    return Serving(settings=load(Path(project_variable())), shared=True).asgi()


def run(root: Path, overrides: Mapping[str, str]) -> None:
    """Serve a project until SIGTERM or SIGINT; running calls are let end.

    Args:
        root: Folder of splice.toml.
        overrides: `SPLICE_SECTION_FIELD` to value, stronger than the file.

    Raises:
        SettingsError: The port is taken, or there is no such ledger.
        StoreError: The ledger cannot be opened.
    """
    hand_to_workers(root, overrides)
    settings = load(root)
    log_to_stderr()
    check_tls(settings)
    check_identity(settings)
    wiring.Stores(settings).close()  # what is wrong with the ledger is told before a port is taken
    listener = _listen(settings)  # and nothing is applied where the port is not free
    check_grpc(settings)
    # Once for all workers: a mistake is told as splice check tells it.
    starter = App(settings=settings)
    starter.apply_at_start()
    for text in starter.applied:
        say(f"applied {text}")
    clear_run_folder(settings)
    scheme = "https" if settings.tls.cert else "http"
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    workers = settings.server.workers
    if workers > 1:
        hand_to_workers(root, {"SPLICE_PROJECT_APPLY": "never"})
        config = _config(settings, "splice.app.server:application", factory=True, workers=workers)
        if settings.oip.grpc_port is not None:
            say(f"gRPC on {shown}:{settings.oip.grpc_port}")
        say(f"listening on {scheme}://{shown}:{port} with {workers} workers")
        from uvicorn.supervisors import Multiprocess  # only a server of several workers needs it

        Multiprocess(config, sockets=[listener]).run()
        return
    app = Serving(settings=settings, apply="never", shared=True)  # with workers that consume
    server = _Server(_config(settings, app.asgi()), app, f"{scheme}://{shown}:{port}")
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)


class _Server(uvicorn.Server):
    """Says when it is ready, and what it serves."""

    def __init__(self, config: uvicorn.Config, app: Serving, url: str) -> None:
        super().__init__(config)
        self._app = app
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            for line in sorted(self._app.engine.lines.values(), key=lambda one: one.name):
                routes = " -> ".join(step.route.label for step in line.steps)
                say(f"{line.name}  release {line.release.number}  {routes}")
            for text in self._app.degraded():
                say(f"degraded: {text}")
            settle_memory()
            if self._app.grpc_address:
                say(f"gRPC on {self._app.grpc_address}")
            say(f"ready on {self._url}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # First no new calls, then the connections, then (in the lifespan) the ledger.
        self._app.drain()
        calls = self._app.engine.in_flight if self._app.started else 0
        say(f"stopping: {plural(calls, 'call')} in flight")
        await asyncio.sleep(0)
        await super().shutdown(sockets)
        # uvicorn raises the signal again once it is done; a drained server has ended well: 0.
        self._captured_signals.clear()
        say("stopped")


def _config(
    settings: Settings, app: HttpSurface | str, *, factory: bool = False, workers: int = 1
) -> uvicorn.Config:
    fast = sys.platform != "win32"
    return uvicorn.Config(
        app,
        factory=factory,
        workers=workers,
        loop="uvloop" if fast else "asyncio",
        http=QuickProtocol if fast and fits() else "auto",
        proxy_headers=False,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=settings.server.keep_alive_seconds,
        timeout_graceful_shutdown=int(settings.server.drain_seconds) + 1,
        backlog=2048,
        **tls_options(settings),
    )


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"server.port {host}:{port}",
            got=os.strerror(error.errno) if error.errno else str(error),
            promised="an address that is free",
            mend="stop what listens there, or take another with --port",
        ) from None
    listener.set_inheritable(True)
    return listener
