#!/usr/bin/env python3
"""A real Schema Registry on loopback: Apicurio, by the API of Confluent's that it speaks too.

It keeps schemas in memory, and needs Java 17 or newer, and Maven the first time, which fetches
109 MB: `peers.d/registry.txt` pins the file by its SHA-256. 3.0.9 runs on Java 17, 3.3.3 does not.
Confluent's own registry is not on Maven Central.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
import tarfile
import time

from broker import FETCH_S, FETCH_TRIES, PAUSE_S, NoKafka, java_command
from peers import PINS, Server

COORDINATES = "io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all"
API = "/apis/ccompat/v7"


class NoRegistry(Exception):
    """Why no registry can be had on this machine."""


class Registry(Server):
    """The service: it forgets everything at each start."""

    script = __file__
    ports_wanted = 2
    health = API + "/subjects"

    @property
    def env(self) -> dict[str, str]:
        """What tests read."""
        return {"SPLICE_TEST_REGISTRY": self.url + API}

    def command(self) -> tuple[list[str], dict[str, str]]:
        """One process."""
        (jar,) = (self.home / "app").glob("*-runner.jar")
        http, management = self.ports()
        java = java_command()
        return [
            java,
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-jar",
            str(jar),
        ], {
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(http),
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": str(management),
        }

    def _built(self) -> bool:
        built = self.home / "built"
        return built.exists() and built.read_text() == self._pinned()

    def _build(self) -> None:
        (self.home / "built").unlink(missing_ok=True)
        digest, name = (PINS / "registry.txt").read_text().split()
        fetched = self.home / "fetched"
        maven = shutil.which("mvn")
        if maven is None:
            raise NoRegistry("no mvn found: Maven fetches Apicurio. Install maven")
        command = [
            maven, "--batch-mode", "--no-transfer-progress", "--strict-checksums",
            "--update-snapshots",  # also what a try before this one did not find
            "dependency:copy", f"-Dartifact={COORDINATES}", f"-DoutputDirectory={fetched}",
        ]  # fmt: skip
        for attempt in range(1, FETCH_TRIES + 1):
            shutil.rmtree(fetched, ignore_errors=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                if subprocess.run(command, timeout=FETCH_S, stdout=2, check=False).returncode == 0:
                    break
            time.sleep(PAUSE_S * attempt)
        else:
            raise NoRegistry(f"Maven could not fetch Apicurio in {FETCH_TRIES} tries")
        with (fetched / name).open("rb") as archive:
            if hashlib.file_digest(archive, "sha256").hexdigest() != digest:
                raise NoRegistry(f"{name} is not the file that is pinned")
        app = self.home / "app"
        shutil.rmtree(app, ignore_errors=True)
        with tarfile.open(fetched / name) as archive:
            archive.extractall(app, filter="data")
        shutil.rmtree(fetched)
        (self.home / "built").write_text(self._pinned())


REGISTRY = Registry("registry")

if __name__ == "__main__":
    try:
        REGISTRY.run()
    except (NoKafka, NoRegistry) as wrong:
        sys.exit(f"registry: {wrong}")
