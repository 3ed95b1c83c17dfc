"""A fork of the warm process is what `python -m splice.cli.main` is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from warm_splice import Fork, WarmSplice

SHOWN = """
import os, sys
print(os.getcwd(), os.environ.get("ONLY"), sys.path[0], file=sys.stderr)
print(os.getpid() == os.getsid(0), len(os.listdir("/proc/self/fd")), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmSplice]:
    made = WarmSplice()
    yield made
    made.end()


class Started:
    """A command whose output goes into a file."""

    def __init__(self, warm: WarmSplice, folder: Path, *arguments: str, **env: str) -> None:
        self._file = folder / "said.txt"
        with self._file.open("wb") as said:
            self.process: Fork = warm.start(
                arguments, cwd=folder, env={**os.environ, **env}, stdout=said, stderr=said
            )

    def end(self) -> tuple[int, str]:
        return self.process.wait(60), self._file.read_text()


@pytest.mark.parametrize("arguments", [["check"], ["no-such-command"]])
def test_it_says_and_ends_with_what_a_new_python_does(
    warm: WarmSplice, tmp_path: Path, arguments: list[str]
) -> None:
    theirs = subprocess.run(
        [sys.executable, "-m", "splice.cli.main", *arguments], cwd=tmp_path, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip

    assert Started(warm, tmp_path, *arguments).end() == (theirs.returncode, theirs.stdout)


def test_folder_environment_path_and_session_are_its_own(warm: WarmSplice, tmp_path: Path) -> None:
    (tmp_path / "splice.toml").write_text('[project]\nmodules = ["shown"]\n')
    (tmp_path / "shown.py").write_text(SHOWN)

    said = [Started(warm, tmp_path, "check", ONLY=only).end()[1] for only in ("1", "2")]

    for only, text in zip("12", said, strict=True):
        first, second, *_ = text.splitlines()
        assert first == f"{tmp_path} {only} {tmp_path}"
        assert second.startswith("True ")
    assert said[0].splitlines()[1] == said[1].splitlines()[1]  # nothing is left open for the next
    assert "ONLY" not in os.environ


def test_a_signal_reaches_it_and_is_told(warm: WarmSplice, tmp_path: Path) -> None:
    (tmp_path / "splice.toml").write_text('[project]\nmodules = ["waits"]\n')
    (tmp_path / "waits.py").write_text("import time\nopen('here', 'w').close()\ntime.sleep(600)\n")
    started = Started(warm, tmp_path, "check")
    while not (tmp_path / "here").exists():
        assert started.process.poll() is None

    with pytest.raises(subprocess.TimeoutExpired):
        started.process.wait(0.01)
    started.process.send_signal(signal.SIGTERM)

    assert started.end()[0] == -signal.SIGTERM
    started.process.kill()  # again is harmless


def test_what_changes_python_itself_is_obeyed(warm: WarmSplice, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('customized', flush=True)")

    customized = Started(warm, tmp_path, "--version", PYTHONPATH=str(tmp_path)).end()
    timed = Started(warm, tmp_path, "--version", PYTHONPROFILEIMPORTTIME="1").end()

    assert customized[1].startswith("customized\nsplice ")
    assert "import time:" in timed[1]


def test_a_shell_runs_its_program(warm: WarmSplice, tmp_path: Path) -> None:
    program = warm.program("splice")
    script = "splice --version | tr a-z A-Z; splice check || echo $?"

    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True,
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip

    first, last = done.stdout.splitlines()
    assert first.startswith("SPLICE ")
    assert last == "2"
