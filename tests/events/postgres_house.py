"""A PostgreSQL server of a test's own."""

from __future__ import annotations

import importlib.util
import os
import signal
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType


def _services() -> ModuleType:
    """scripts/services as a module: it is a command, and has no ending."""
    file = str(Path(__file__).parents[2] / "scripts" / "services")
    loader = SourceFileLoader("splice_services", file)
    spec = importlib.util.spec_from_loader("splice_services", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class OwnPostgres:
    """A PostgreSQL server that a test may kill."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)  # the server's own user must reach what is in it
        self._server = _services().Postgres()
        self._server.data, self._server.sockets = folder / "data", folder / "run"

    @property
    def url(self) -> str:
        return self._server.env["SPLICE_TEST_POSTGRES"]

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        """SIGKILL, as the power goes: its children end by themselves."""
        pid = int((self._server.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self._server.stop()
