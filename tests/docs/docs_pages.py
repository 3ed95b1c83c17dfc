"""The pages of the documentation, taken apart into fenced blocks, and run as a reader would.

A comment right above a block says what is to be done with it:

    <!-- file: NAME -->    write it there (a `diff` changes a file that is there)
    <!-- expect: TEXT -->  what a Python block prints contains this
    <!-- exit: N -->       the last command of a console block ends so, instead of with 0
    <!-- soon: WHY -->     what its commands show may take some seconds to become true
    <!-- not run: WHY -->  it cannot run here

In what a command is shown to print, `…` stands for anything on its line, and a line of only `…` for
any lines. `CALL_ID` in a command is the call id that was printed last; port 8000 is a free one;
`$EXAMPLES` is the folder of the examples.
"""

from __future__ import annotations

import ast
import asyncio
import configparser
import contextlib
import inspect
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml

from splice.app.settings import load

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {
    "bash", "console", "csv", "diff", "ini", "json", "markdown", "python", "text", "toml", "yaml",
}  # fmt: skip

_FENCE = re.compile(r"^(\s*)```(\S*)\s*$")
_NOTE = re.compile(r"^\s*<!-- (file|expect|exit|soon|not run): (.+?) -->\s*$")
_CALL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_SERVERS = {"splice serve": "ready on http://", "uvicorn ": "Uvicorn running on"}


class Block(NamedTuple):
    """One fenced block: where it stands, its language, its text, and the comments above it."""

    page: Path
    line: int
    language: str
    text: str
    notes: dict[str, str]

    @property
    def place(self) -> str:
        """As a compiler says it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


class Command(NamedTuple):
    """A command of a console block, and the lines that it is shown to print."""

    text: str
    shown: list[str]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, from top to bottom."""
    notes: dict[str, str] = {}
    lines = enumerate(page.read_text("utf-8").splitlines(), 1)
    for number, line in lines:
        if fence := _FENCE.match(line):
            inside: list[str] = []
            for _, part in lines:
                if part.strip() == "```":
                    break
                inside.append(part)
            text = textwrap.dedent("\n".join(inside)) + "\n"
            yield Block(page, number, fence[2], text, notes)
            notes = {}
        elif note := _NOTE.match(line):
            notes[note[1]] = note[2]
        elif line.strip():
            notes = {}


def commands(text: str) -> Iterator[Command]:
    """The commands of a console block; a backslash at its end carries a command on."""
    command, shown = "", list[str]()
    for line in text.splitlines():
        if command.endswith("\\"):
            command = f"{command}\n{line}"
        elif line.startswith("$ "):
            if command:
                yield Command(command, shown)
            command, shown = line[2:], []
        else:
            shown.append(line)
    if command:
        yield Command(command, shown)


def matches(shown: list[str], got: str) -> bool:
    """Whether a text is as shown, with `…` for what is different each time."""
    parts: list[str] = []
    for line in shown:
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*")
        else:
            words = (re.escape(part) for part in line.rstrip().split("…"))
            parts.append(".*".join(words) + r"[ \t]*\n")
    return re.fullmatch("".join(parts), got.rstrip() + "\n") is not None


class Reader:
    """Does what a page says, in a folder of its own. Its Python blocks share one namespace.

    Args:
        folder: An empty folder.
        splice: A program for `splice` that starts fast, and need not hear signals.
    """

    def __init__(self, folder: Path, splice: Path) -> None:
        self.folder = folder
        self._root = folder
        self._port = _free_port()
        self._names: dict[str, Any] = {"__name__": "page"}
        self._runner = asyncio.Runner()
        self._server: subprocess.Popen[bytes] | None = None
        self._call_id = ""
        binaries = Path(sys.executable).parent
        keys = (
            "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "OTEL_EXPORTER_OTLP_ENDPOINT",
        )  # fmt: skip
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in keys},
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "EXAMPLES": str(ROOT / "examples"),
            "PYTHONUNBUFFERED": "1",
            "SPLICE_SERVER_PORT": str(self._port),
            "USER": "you",
        }
        self._fast = {"PATH": f"{splice.parent}:{self._environment['PATH']}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._runner.close()
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None) or ""
            if file.startswith(str(self._root)):
                del sys.modules[name]

    def read(self, block: Block) -> None:
        """Do what one block says; AssertionError where the page promises too much."""
        if "not run" in block.notes:
            return
        assert block.language in LANGUAGES, f"{block.place}: a block of {block.language!r}"
        if "file" in block.notes:
            self._write(block, self.folder / block.notes["file"])
            return
        do = getattr(self, f"_{block.language}", None)
        assert do is not None, f"{block.place}: a {block.language} block of no use to anybody"
        do(block)

    def _write(self, block: Block, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        if block.language != "diff":
            file.write_text(block.text, "utf-8")
            if file.name == "pyproject.toml":
                self._install(tomllib.loads(block.text)["project"])
            return
        lines = block.text.splitlines()
        old = "\n".join(line[1:] for line in lines if line[:1] != "+")
        new = "\n".join(line[1:] for line in lines if line[:1] != "-")
        text = file.read_text("utf-8")
        assert text.count(old) == 1, f"{block.place}: {file.name} does not hold this once:\n{old}"
        file.write_text(text.replace(old, new), "utf-8")

    def _install(self, project: dict[str, Any]) -> None:
        """What `pip install` leaves of a project for entry points to be found."""
        folder = self._root / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        groups = project.get("entry-points", {}).items()
        text = "\n".join(
            f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in points.items())
            for group, points in groups
        )
        (folder / "entry_points.txt").write_text(text + "\n")

    def _python(self, block: Block) -> None:
        code = compile(
            "\n" * block.line + block.text.replace(":8000", f":{self._port}"),
            str(block.page),
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )
        said = io.StringIO()
        here = (contextlib.chdir(self.folder), _import_from(self.folder))
        with here[0], here[1], contextlib.redirect_stdout(said):
            if code.co_flags & inspect.CO_COROUTINE:
                self._runner.run(eval(code, self._names))
            else:
                exec(code, self._names)
        wanted = block.notes.get("expect")
        assert wanted is None or wanted in said.getvalue(), (
            f"{block.place}: expected {wanted!r}, it printed:\n{said.getvalue()}"
        )
        self._note_call(said.getvalue())

    def _console(self, block: Block) -> None:
        found = list(commands(block.text))
        wanted = [0] * (len(found) - 1) + [int(block.notes.get("exit", 0))]
        for command, code in zip(found, wanted, strict=True):
            got = self._run(command.text, code, block.place)
            until = time.monotonic() + (30 if "soon" in block.notes else 0)
            while not matches(command.shown, got) and time.monotonic() < until:
                time.sleep(0.2)
                got = self._run(command.text, code, block.place)
            assert not command.shown or matches(command.shown, got), (
                f"{block.place}: $ {command.text}\n--- shown\n"
                + "\n".join(command.shown)
                + f"\n--- got\n{got}"
            )

    def _bash(self, block: Block) -> None:
        self._run(block.text, 0, block.place)

    def _toml(self, block: Block) -> None:
        place = self._root / "settings" / str(block.line)
        place.mkdir(parents=True)
        (place / "splice.toml").write_text(block.text)
        load(place, {})

    def _json(self, block: Block) -> None:
        json.loads(block.text)

    def _yaml(self, block: Block) -> None:
        assert list(yaml.safe_load_all(block.text))

    def _ini(self, block: Block) -> None:
        configparser.ConfigParser(strict=False, interpolation=None).read_string(block.text)

    def _text(self, block: Block) -> None:
        """For people only."""

    def _run(self, command: str, code: int, place: str) -> str:
        command = command.replace("CALL_ID", self._call_id).replace("8000", str(self._port))
        if command.startswith("cd "):
            self.folder = self.folder / command.removeprefix("cd ").strip()
            self._environment["PYTHONPATH"] = f"{self._root}:{self.folder}"
            return ""
        for start, ready in _SERVERS.items():
            if command.startswith(start):
                return self._serve(command, ready)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=self.folder,
            env=self._environment | self._fast, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )  # fmt: skip
        got = done.stdout.replace(str(self._port), "8000")
        assert done.returncode == code, f"{place}: $ {command}\nexit {done.returncode}\n{got}"
        self._note_call(got)
        return got

    def _note_call(self, text: str) -> None:
        if found := _CALL_ID.findall(text):
            self._call_id = found[-1]

    def _serve(self, command: str, ready: str) -> str:
        self._stop()
        log = self._root / "server.log"
        with log.open("wb") as sink:
            self._server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True,
            )  # fmt: skip
        give_up = time.monotonic() + 30
        while ready not in log.read_text():
            assert self._server.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.02)
        return log.read_text().replace(str(self._port), "8000")

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(15)


@contextlib.contextmanager
def _import_from(folder: Path) -> Iterator[None]:
    kept = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = kept


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
