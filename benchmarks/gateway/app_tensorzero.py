"""`python app_tensorzero.py CONFIG ADDRESS_FILE [nodelay]`: TensorZero's gateway over HTTP.

`nodelay` sets TCP_NODELAY on its listening socket, from which Linux hands it down to every
connection: the gateway does not set it, and has no setting for it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import tensorzero


def set_nodelay(port: int) -> None:
    """Switch Nagle's algorithm off for all who will connect to `port` of this process."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue  # no socket, or the folder's own, closed by now
        with found:
            if found.family == socket.AF_INET and found.getsockname()[1] == port:
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return
    raise SystemExit(f"this process has no socket on port {port}")


gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1],
    clickhouse_url=None,
    postgres_url=None,
    valkey_url=None,
    async_setup=False,
)
if "nodelay" in sys.argv[3:]:
    set_nodelay(urlsplit(gateway.base_url).port or 0)
unfinished = Path(sys.argv[2]).with_suffix(".part")
unfinished.write_text(gateway.base_url)
unfinished.rename(sys.argv[2])  # whoever sees the file sees all of it
signal.sigwait({signal.SIGTERM, signal.SIGINT})
gateway.close()
