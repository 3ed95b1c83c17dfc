from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "adapters" / "meters"))  # its Redis that a test may kill

from redis_server import OwnServer  # noqa: E402

_SERVICES = TESTS.parent / "scripts" / "services"


@pytest.fixture(scope="module")
def own_redis() -> Iterator[OwnServer]:
    """A Redis server that the tests of a file start, kill and start again."""
    url = os.environ.get("SPLICE_TEST_REDIS") or _running()
    with redis.Redis.from_url(url) as asking:
        binary = str(asking.info("server")["executable"])
    # A socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="splice-redis-") as folder:
        server = OwnServer(binary, Path(folder))
        yield server
        server.kill()


def _running() -> str:
    up = subprocess.run([_SERVICES, "status", "redis"], capture_output=True, check=False)
    if up.returncode:
        pytest.skip("no Redis server: scripts/services start redis")
    said = subprocess.run([_SERVICES, "env", "redis"], capture_output=True, check=True, text=True)
    return said.stdout.strip().partition("=")[2]
