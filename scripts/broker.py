#!/usr/bin/env python3
"""A real Apache Kafka on loopback: the service `kafka`, and brokers that a test kills and restarts.

    broker = Broker(folder)          # any empty folder, or one where a broker was killed
    broker.start()                   # returns when broker.servers answers
    broker.kill()                    # SIGKILL; broker.start() goes on with the same topics
    broker.stop()                    # SIGTERM, and SIGKILL if that does not end it

It needs Java 17 or newer, and Maven the first time: `peers.d/kafka.xml` says what Maven fetches,
`peers.d/kafka.txt` pins every file by its SHA-256. Maven keeps them in its own folder of the user,
so that a fresh clone copies them. Without Java or Maven: `NoKafka`, which says what is missing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from peers import HOME, MARK, PINS, Server, free_ports, marks

OWN = f"{HOME / 'kafka' / 'of'}-"  # the mark of a Broker, with the process that started it
FETCH_TRIES = 3
PAUSE_S = 2  # after a fetch that failed; twice that after the second
FETCH_S = 300  # for one of them; 44 MB, and 22 MB of Maven's own, took 10 s
START_S = 120  # seconds are usual; with all cores busy some tens were seen
END_S = 10

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "BROKER",
    "controller.listener.names": "CONTROLLER",
    # One node cannot keep three copies.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    # Each partition is files to make when the first group or transaction comes.
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.num.partitions": "5",
    # Off, as in most companies: a test with a wrong name sees an error, and no empty topic.
    "auto.create.topics.enable": "false",
    # Events of 20 MB, with their headers and their batch.
    "message.max.bytes": str(32 * 1024 * 1024),
    # Nothing grows old by itself: retention goes by the time in a record, and tests write records
    # of last year. Topics are deleted by who made them, and everything at a start of the service.
    "log.retention.ms": "-1",
    "log.segment.delete.delay.ms": "1000",
    # Tests of a member that died should not wait as long as operators do: 6, 10 and 9 seconds.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # The controller lets a broker come back only when the session of the killed one has ended.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Of the heap, for compaction: 128 MB would be a third.
    "log.cleaner.dedupe.buffer.size": str(2 * 1024 * 1024),
    "metric.reporters": "",  # no JMX
}


class NoKafka(Exception):
    """Why no broker can be had on this machine."""


class Broker:
    """One node, broker and controller, on two ports of 127.0.0.1.

    Args:
        folder: What it keeps, and its log; a start goes on where a kill or a stop left it.
        ports: Of the broker and of the controller; without them, free ones, kept while it lives.
        settings: What differs from SETTINGS, by Kafka's names.
        java: Options of Java's. By default it compiles once and quickly, as suits a broker that
            lives for seconds or minutes: a start takes 40 % less of the processor.
    """

    def __init__(
        self,
        folder: Path,
        ports: list[int] | None = None,
        settings: Mapping[str, str] | None = None,
        java: Sequence[str] = ("-XX:TieredStopAtLevel=1",),
    ) -> None:
        self.folder = folder
        self._java = tuple(java)
        self.port, self._controller_port = ports or free_ports(folder, 2)
        self._settings = dict(settings or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        """The bootstrap servers that a client is given."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What it said, of every start."""
        return self.folder / "log"

    def start(self) -> None:
        """Run it, and wait until clients can use it."""
        if self.process is not None and self.process.poll() is None:
            return
        command = self.command()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                cwd=self.folder, env=os.environ | {MARK: f"{OWN}{os.getpid()}"},
                start_new_session=True,
            )  # fmt: skip
        give_up = time.monotonic() + START_S
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > give_up:
                self.kill()
                raise RuntimeError(f"the broker did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def ready(self) -> bool:
        """Whether clients can use it."""
        return answers(self.servers)

    def kill(self) -> None:
        """End it as a power cut does, but for what the operating system still writes."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        self._end(signal.SIGTERM)

    def _end(self, by: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(by)
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def command(self) -> list[str]:
        """What runs it, after its folder was prepared, if it was not."""
        properties = self.folder / "server.properties"
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        properties.write_text("".join(f"{k}={v}\n" for k, v in self._all_settings().items()))
        java = [
            java_command(), "-Xmx384m", "-XX:+UseSerialGC", "-XX:-UsePerfData", *self._java,
            # Compressions unpack their libraries there, and a killed broker leaves them.
            f"-Djava.io.tmpdir={self.folder / 'tmp'}", "-Djava.net.preferIPv4Stack=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-cp", f"{KAFKA.jars()}/*",
        ]  # fmt: skip
        if not (self.folder / "data" / "meta.properties").exists():  # the last file of a format
            shutil.rmtree(self.folder / "data", ignore_errors=True)
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            done = subprocess.run(
                [*java, "kafka.tools.StorageTool", "format", "--standalone",
                 f"--cluster-id={cluster}", "--config", str(properties)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{self.folder} cannot be formatted: {done.stdout}{done.stderr}")
        return [*java, "kafka.Kafka", str(properties)]

    def _all_settings(self) -> dict[str, str]:
        controller = f"127.0.0.1:{self._controller_port}"
        addresses = {
            "listeners": f"BROKER://{self.servers},CONTROLLER://{controller}",
            "advertised.listeners": f"BROKER://{self.servers}",
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": str(self.folder / "data"),
        }
        return SETTINGS | addresses | self._settings


class Kafka(Server):
    """The service: one broker in the background, which forgets everything at each start.

    With SPLICE_TEST_KAFKA in the environment it is the broker there, and none is started.
    """

    script = __file__
    ports_wanted = 2

    @property
    def env(self) -> dict[str, str]:
        """What tests read."""
        return {"SPLICE_TEST_KAFKA": self._given() or self._own()}

    def _own(self) -> str:
        return f"127.0.0.1:{self.ports()[0]}"

    def _given(self) -> str:
        """Somebody else's broker; empty when the environment only repeats ours."""
        given = os.environ.get("SPLICE_TEST_KAFKA", "")
        return "" if given == self._own() else given

    def start(self) -> None:
        """Start it in the background, if it does not run as pinned and no other is given."""
        if not self._given():
            super().start()

    def stop(self) -> None:
        """End it, and each Broker whose own starter was killed."""
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        give_up = time.monotonic() + END_S
        while self._processes() and time.monotonic() < give_up:
            time.sleep(0.05)
        super().stop()
        for process in orphans():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def ready(self) -> bool:
        """Whether clients can use it, and it is ours, or given."""
        if given := self._given():
            return answers(given)
        return bool(self._processes()) and answers(self._own())

    def wait(self) -> str:
        """What is wrong with it, once it is clear; empty when it can be used."""
        if not (given := self._given()):
            return super().wait()
        return "" if answers(given) else f"SPLICE_TEST_KAFKA is {given}, and no broker answers"

    def command(self) -> tuple[list[str], dict[str, str]]:
        """One process."""
        kept = self.home / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        return Broker(kept, self.ports()).command(), {}

    def jars(self) -> Path:
        """The folder of what a broker runs on; fetched, if it is not there as pinned."""
        with self._alone("building"):
            if not self._built():
                self._fetch()
        return self.home / "jars"

    def _built(self) -> bool:
        built = self.home / "built"
        return built.exists() and built.read_text() == self._pinned()

    def _build(self) -> None:
        self.jars()

    def _fetch(self) -> None:
        maven = shutil.which("mvn")
        if maven is None:
            raise NoKafka("no mvn found: Maven fetches Kafka. Install maven, of your distribution")
        new = self.home / "jars.new"
        command = [
            maven, "--batch-mode", "--no-transfer-progress", "--strict-checksums",
            "--update-snapshots",  # also what a try before this one did not find
            "--file", str(PINS / "kafka.xml"), "dependency:copy-dependencies",
            f"-DoutputDirectory={new}",
        ]  # fmt: skip
        for attempt in range(1, FETCH_TRIES + 1):
            shutil.rmtree(new, ignore_errors=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                if subprocess.run(command, timeout=FETCH_S, stdout=2).returncode == 0:
                    break
            print(f"try {attempt} of {FETCH_TRIES} did not fetch Kafka", file=sys.stderr)
            time.sleep(PAUSE_S * attempt)
        else:
            raise NoKafka(f"Maven could not fetch Kafka in {FETCH_TRIES} tries")
        self._check(new)
        shutil.rmtree(self.home / "jars", ignore_errors=True)
        new.rename(self.home / "jars")
        (self.home / "built").write_text(self._pinned())

    def _check(self, jars: Path) -> None:
        found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars.iterdir()}
        lines = (PINS / "kafka.txt").read_text().splitlines()
        pinned = {name: digest for digest, name in map(str.split, lines)}
        if other := sorted(dict(found.items() ^ pinned.items())):
            raise NoKafka(f"other files than pinned: {', '.join(other)}")


KAFKA = Kafka("kafka")


def java_command() -> str:
    """A Java that is new enough."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        raise NoKafka("no java found: Kafka runs on Java 17 or newer. Install a JRE")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < 17:
        raise NoKafka(f"{java} is {said.strip() or 'silent'}: Kafka runs on Java 17 or newer")
    return java


def orphans() -> list[int]:
    """The processes of each Broker whose starter is dead: somebody else is its parent now."""
    found: list[int] = []
    for process, mark in marks().items():
        with contextlib.suppress(OSError):
            if mark.startswith(OWN):
                said = Path(f"/proc/{process}/status").read_text()
                if said.partition("PPid:")[2].split()[0] != mark[len(OWN) :]:
                    found.append(process)
    return found


def answers(servers: str) -> bool:
    """Whether the first of them knows a live broker: it takes connections before that."""
    host, _, port = servers.partition(",")[0].rpartition(":")
    # Metadata, version 1, of no topic: key, version, number of the request, no client's id.
    asked = struct.pack(">hhihi", 3, 1, 1, -1, 0)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as asking:
            asking.sendall(struct.pack(">i", len(asked)) + asked)
            with asking.makefile("rb") as said:
                _, _, brokers = struct.unpack(">iii", said.read(12))
    except (OSError, ValueError, struct.error):
        return False
    return brokers > 0


if __name__ == "__main__":
    try:
        KAFKA.run()
    except (NoKafka, RuntimeError) as wrong:
        sys.exit(f"kafka: {wrong}")
