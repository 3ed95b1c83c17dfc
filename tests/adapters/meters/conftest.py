"""A Redis server, if one is there, and one that a test may kill."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis_server import OwnServer

SERVICES = Path(__file__).parents[3] / "scripts" / "services"


@pytest.fixture(scope="session")
def redis_server() -> str:
    """URL of a server; what a test writes there has a prefix of its own."""
    given = os.environ.get("SPLICE_TEST_REDIS")
    if given:
        return given
    up = subprocess.run([SERVICES, "status", "redis"], capture_output=True, check=False)
    if up.returncode:
        pytest.skip("no Redis server: scripts/services start redis")
    said = subprocess.run([SERVICES, "env", "redis"], capture_output=True, check=True, text=True)
    return said.stdout.strip().partition("=")[2]


@pytest.fixture
def own_server(redis_server: str) -> Iterator[OwnServer]:
    with redis.Redis.from_url(redis_server) as asking:
        binary = str(asking.info("server")["executable"])
    # A socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="splice-redis-") as folder:
        server = OwnServer(binary, Path(folder))
        yield server
        server.kill()
