"""The ledger in a PostgreSQL that is reached over TLS, and shown to be the one that was meant."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from access_house import free_port, until

from splice.adapters.ledgers.sql import open_ledger
from splice.core.errors import StoreError
from splice.testing.certificates import Authority
from splice.testing.contracts.records import simple_record

pytestmark = pytest.mark.peers
NOBODY = 65534


class Tls:
    def __init__(self, folder: Path, authority: Authority, port: int) -> None:
        self.authority, self.port = authority, port
        self._folder = folder

    def url(self, **query: str) -> str:
        words = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://postgres@localhost:{self.port}/postgres?{words}"


@pytest.fixture
def postgres_over_tls(
    postgres_tls_programs: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tls]:
    """A server of its own that takes connections over TLS only."""
    programs = Path(postgres_tls_programs)
    libraries = str(programs.parent / "lib")
    env = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": libraries}
    folder = (
        Path(tempfile.gettempdir()) / tmp_path_factory.mktemp("pgtls").name
    )  # its own user must reach it
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    authority = Authority(folder / "authority")
    pair = authority.issue("server", "dns:localhost")
    port = free_port()

    def run(*command: str) -> None:
        done = subprocess.run(
            [str(programs / command[0]), *command[1:]], cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
            env=env, **as_nobody,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    data = folder / "data"
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(folder)], check=True)
    try:
        run("initdb", "-D", str(data), "--auth=trust", "--username=postgres", "--no-sync",
            "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions")  # fmt: skip
        rules = data / "pg_hba.conf"
        rules.write_text("hostnossl all all all reject\nhostssl all all all trust\n", "utf-8")
        settings = (
            f"listen_addresses = 'localhost'\nport = {port}\nunix_socket_directories = ''\n"
            f"ssl = on\nssl_cert_file = '{pair.cert}'\nssl_key_file = '{pair.key}'\nfsync = off\n"
        )
        with (data / "postgresql.conf").open("a") as file:
            file.write(settings)
        log = open(folder / "log", "wb")  # noqa: SIM115 - as long as the server
        server = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(data)], cwd="/", stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, env=env, **as_nobody,
        )  # fmt: skip
        try:
            said = folder / "log"
            until(lambda: b"ready to accept" in said.read_bytes() or server.poll() is not None)
            assert server.poll() is None, said.read_text("utf-8")
            yield Tls(folder, authority, port)
        finally:
            server.terminate()
            server.wait(60)
            log.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_ledger_is_reached_over_tls_and_only_where_the_server_shows_who_it_is(
    postgres_over_tls: Tls, tmp_path: Path
) -> None:
    postgres = postgres_over_tls
    foreign = Authority(tmp_path / "foreign")
    record = simple_record(random.Random(1))

    ledger = open_ledger(
        postgres.url(sslmode="verify-full", sslrootcert=str(postgres.authority.ca)), tmp_path
    )
    ledger.records.append([record])

    assert ledger.records.get(record.call_id) == record
    ledger.close()
    for query in (
        {"sslmode": "disable"},
        {"sslmode": "verify-full", "sslrootcert": str(foreign.ca)},
    ):
        with pytest.raises(StoreError):
            open_ledger(postgres.url(**query), tmp_path, busy_timeout_s=1.0)
    elsewhere = postgres.url(sslmode="verify-full", sslrootcert=str(postgres.authority.ca))
    with pytest.raises(StoreError):  # the certificate is not one of this name
        open_ledger(elsewhere.replace("localhost", "127.0.0.1"), tmp_path, busy_timeout_s=1.0)
