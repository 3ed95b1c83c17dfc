"""The load generator: wrk over keep-alive connections, with exact percentiles.

wrk measures a closed loop (each connection sends its next request when the last was answered) and
adds the requests a slow answer kept from being sent ("coordinated omission"), so its p99 is strict;
it is equally strict for every subject.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).parent / "load.lua"
PACKAGES = ("wrk", "libluajit-5.1-2")


class LoadError(RuntimeError):
    """The load could not be made, or an answer was not a success: there is no figure to give."""


@dataclass(frozen=True)
class Measured:
    """What one timed run gave."""

    requests: int
    rps: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Wrk:
    """A wrk that runs on this machine: how to start it, and its version."""

    argv: tuple[str, ...]
    version: str

    def run(self, target: Target, connections: int, seconds: float) -> Measured:
        """One run against `target`.

        Raises:
            LoadError: wrk failed, or any answer was not 2xx, late, broken off or lacked what was
                expected in it.
        """
        argv = [
            *self.argv,
            "--threads=1",
            f"--connections={connections}",
            f"--duration={seconds:g}s",
            "--timeout=20s",
            f"--script={SCRIPT}",
            target.url,
            "--",
            str(target.bodies),
            str(target.expected or "-"),
            *(f"{name}: {value}" for name, value in target.headers.items()),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            raise LoadError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
        return _measured(json.loads(lines[-1]), target.url)


@dataclass(frozen=True)
class Target:
    """Where the load goes: the URL, a file with one body a line, and the request's headers.

    `expected` is a file of what every answer must have in it, one a line and in that order.
    """

    url: str
    bodies: Path
    headers: Mapping[str, str]
    expected: Path | None = None


def _measured(summary: Mapping[str, float], url: str) -> Measured:
    """The figures of one run, once it is certain that every request was answered well."""
    failures = {
        name: summary[name]
        for name in ("wrong", "status", "connect", "read", "write", "timeout")
        if summary[name]
    }
    if failures or not summary["requests"]:
        raise LoadError(f"{url}: {summary['requests']} answers, failures {failures}")
    return Measured(
        requests=int(summary["requests"]),
        rps=summary["requests"] / (summary["duration_us"] / 1e6),
        p50_ms=summary["p50_us"] / 1e3,
        p99_ms=summary["p99_us"] / 1e3,
    )


def write_lines(path: Path, lines: Sequence[bytes]) -> None:
    """Put bodies, or what is expected, where the load script reads them, one a line.

    Raises:
        LoadError: One of them has a line break in it.
    """
    if any(b"\n" in line for line in lines):
        raise LoadError("a body has a line break; the load script reads one body a line")
    path.write_bytes(b"\n".join(lines) + b"\n")


def find_wrk(cache: Path) -> Wrk:
    """The wrk on the PATH, else the Debian package unpacked below `cache` (needs no root).

    Raises:
        LoadError: There is none, and it cannot be fetched here.
    """
    on_path = shutil.which("wrk")
    argv: tuple[str, ...]
    if on_path:
        argv = (on_path,)
    else:
        root = cache / "wrk"
        binary = root / "usr" / "bin" / "wrk"
        if not binary.exists():
            _unpack(root)
        libraries = ":".join(str(path) for path in sorted(root.glob("usr/lib/*")))
        argv = ("env", f"LD_LIBRARY_PATH={libraries}", str(binary))
    told = subprocess.run([*argv, "--version"], capture_output=True, text=True, check=False)
    words = (told.stdout + told.stderr).split()
    if not words or words[0] != "wrk":
        raise LoadError(f"wrk does not start: {told.stdout}{told.stderr}")
    return Wrk(argv=argv, version=words[1])


def _unpack(root: Path) -> None:
    """Fetch the packages wrk needs and unpack them below `root`."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise LoadError("wrk is not on the PATH; install it, then run this again")
    root.mkdir(parents=True, exist_ok=True)
    argv = ["apt-get", "download", *PACKAGES]
    fetched = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)
    if fetched.returncode:
        raise LoadError(f"wrk is not on the PATH and cannot be fetched: {fetched.stderr}")
    for package in sorted(root.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)
