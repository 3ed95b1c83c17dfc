"""Connections on which nothing is asked cost little, and keep nobody from an answer.

SPLICE_TEST_IDLE says how many; a long run takes as many as the machine allows, up to 50,000. What
was reached and the memory of each is printed (pytest -s).
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
from pathlib import Path

from promise_house import GOOD, HIGH, INTEGRATIONS, TOML

from splice.testing.project import Project

IDLE = int(os.environ.get("SPLICE_TEST_IDLE", "500"))
MOST_BYTES = 40_000
"""Of one connection, in the server; it was 5,300 when this was written."""
_PORTS = 20_000  # of one address that connects
_BIND_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT of Linux, which Python does not name


def most_files(wanted: int) -> int:
    """How many this process, and those that it starts, may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, wanted), hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return limit
    return soft


def test_idle_connections_cost_little_and_keep_nobody_from_an_answer(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", f"{TOML}[server]\nkeep_alive_seconds = 600\n")
    project.declare(INTEGRATIONS)
    wanted = min(IDLE, most_files(IDLE + 500) - 400)
    files = (
        "import os, resource, sys; n = int(sys.argv[1]);"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)); os.execv(sys.argv[2], sys.argv[2:])"
    )
    limit = str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    before = (sys.executable, "-c", files, limit)
    with project.serve(before=before) as server, contextlib.ExitStack() as held:
        assert server.post(HIGH, GOOD).status == 200
        empty = server.memory()
        for number in range(wanted):
            one = held.enter_context(socket.socket())
            one.settimeout(60)
            one.setsockopt(socket.IPPROTO_IP, _BIND_NO_PORT, 1)  # else each takes ever longer
            one.bind((f"127.0.0.{2 + number // _PORTS}", 0))
            one.connect((server.host, server.port))
        answers = [server.post(HIGH, GOOD).status for _ in range(20)]
        each = (server.memory() - empty) / wanted

    print(f"{wanted} idle connections, {each:.0f} bytes each in the server")
    assert answers == [200] * 20
    assert each < MOST_BYTES
