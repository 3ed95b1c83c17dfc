"""The main job, end to end: real models, real data, a real server, and a table to read.

`python examples/demo.py` trains both example models, writes a project to `.demo/`, serves it as
you would, and asks it over HTTP. With `--keep` the server goes on when the table is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from threading import local
from typing import Any

from rich.console import Console

import demo_documents
import demo_watching
from demo_lifecycle import gate, shadow, train_thin
from demo_report import Part, print_desk, print_explained, print_table

HERE = Path(__file__).resolve().parent
TICKETS = 40
"""Tickets that the language model sorts: at a third of a second each, a minute is enough."""

console = Console(highlight=False)
Json = dict[str, Any]

_PROBE = {"ticket": "probe", "text": "Is anybody there?"}
"""Asks which release answers; it has no outcome, and so no part in the figures."""

_TOML = """\
[project]
modules = [
    "credit.integration", "tickets.integration", "desk.integration", "document_intake.integration",
]

[server]
port = 8000

[cost]
currency = "EUR"
machine_hour = 0.05   # an hour of one core of a rented machine; put in your own

[providers.assistant]
{provider}
"""
_EMBEDDED = """\
kind = "llama"        # SmolLM2-135M-Instruct in a process of its own
aliases = { small = "smollm2-135m-instruct" }
"""
_REMOTE = """\
kind = "openai"
base_url = "{url}"
api_key_env = "OPENAI_API_KEY"
aliases = {{ small = "{model}" }}
"""


def train(build: Path) -> None:
    """All models, trained and exported on this machine."""
    for name in ("credit", "tickets"):
        console.print(f"Training {name} …", style="dim")
        subprocess.run(
            [sys.executable, str(HERE / name / "train.py"), "--out", str(build / name)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    console.print("Training documents …", style="dim")
    demo_documents.train(build / "documents")


def write_project(place: Path, build: Path) -> None:
    """A project as a user would have it: splice.toml, the declarations, the models."""
    url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")  # noqa: TID251
    model = os.environ.get("OPENAI_MODEL", "gpt-5-mini")  # noqa: TID251
    remote = "OPENAI_API_KEY" in os.environ or "OPENAI_BASE_URL" in os.environ  # noqa: TID251
    provider = _REMOTE.format(url=url, model=model) if remote else _EMBEDDED
    (place / "models").mkdir(parents=True)
    (place / "splice.toml").write_text(_TOML.replace("{provider}", provider) + demo_documents.TOML)
    (place / "desk").mkdir()
    shutil.copy(HERE / "desk" / "integration.py", place / "desk")
    for name in ("credit", "tickets"):
        (place / name).mkdir()
        for file in ("integration.py", "rule.py", "policy.py"):
            if (HERE / name / file).exists():
                shutil.copy(HERE / name / file, place / name / file)
        shutil.copy(build / name / f"{name}.onnx", place / "models")
    shutil.copytree(HERE / "tickets" / "prompts", place / "tickets" / "prompts")
    demo_documents.write(place, build / "documents")


def splice(place: Path, *arguments: str) -> str:
    """Run a command of Splice in the project; what it printed."""
    command = [sys.executable, "-m", "splice.cli.main", "--project", str(place), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        console.print(done.stdout + done.stderr, markup=False)
        raise SystemExit(f"splice {' '.join(arguments)} failed")
    return done.stdout


@contextmanager
def server(place: Path) -> Iterator[tuple[str, int]]:
    """`splice serve` on a free port, until the block ends."""
    command = [sys.executable, "-m", "splice.cli.main", "--project", str(place), "serve"]
    log = (place / "server.log").open("w")
    process = subprocess.Popen([*command, "--port", "0"], stderr=log, stdout=log)
    try:
        yield _ready(process, place / "server.log")
    finally:
        process.terminate()
        code = process.wait(60)
        log.close()
        if code:
            console.print((place / "server.log").read_text()[-2000:], markup=False)
            raise SystemExit(f"the server ended with {code}")


def _ready(process: subprocess.Popen[bytes], log: Path) -> tuple[str, int]:
    for _ in range(600):
        if "ready on http://" in (text := log.read_text()):
            host, _, port = text.partition("ready on http://")[2].split()[0].rpartition(":")
            return host, int(port)
        if process.poll() is not None:
            break
        time.sleep(0.05)
    console.print(log.read_text(), markup=False)
    raise SystemExit("the server did not start")


class Client:
    """Asks over HTTP as a program would, on one connection a thread."""

    def __init__(self, address: tuple[str, int], key: str = "") -> None:
        self._address = address
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._local = local()

    def post(self, path: str, body: Any) -> Json:
        """The answer to a POST of JSON, or the problem."""
        return json.loads(self.text(path, body))

    def text(self, path: str, body: Any) -> bytes:
        """What came back, of a stream to its end."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = HTTPConnection(*self._address, timeout=120)
        connection.request("POST", path, json.dumps(body), self._headers)
        return connection.getresponse().read()

    def calls(self, integration: str, requests: list[Json], at_once: int) -> list[Json]:
        """The answers to many requests, in order."""
        path = f"/v1/integrations/{integration}/calls"
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(lambda one: self.post(path, one), requests))


def lines(file: Path) -> list[Json]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def await_live(client: Client, probe: Json, path: str, good: Any) -> float:
    """Ask until an answer is as wanted; the seconds that it took."""
    started = time.monotonic()
    while not good(client.post(path, probe)):
        if time.monotonic() - started > 10:
            raise SystemExit("the server did not follow")
        time.sleep(0.02)
    return time.monotonic() - started


def credit(place: Path, build: Path, client: Client) -> None:
    """Held-out applicants; the model is withdrawn after two thirds of them; then the truth."""
    asked = lines(build / "credit" / "heldout.jsonl")
    path = "/v1/integrations/credit-decision/calls"
    cut = len(asked) * 2 // 3
    client.calls("credit-decision", asked[:cut], 8)
    splice(place, "models", "withdraw", "credit@1", "--why", "taken away by the demo")
    probe = {**asked[cut], "applicant": "probe"}  # it has no outcome, and so no part in the figures
    await_live(client, probe, path, lambda a: a.get("reason") == "fallback")
    console.print(
        f"Withdrew credit@1 after {cut} applications: the scorecard answers.", style="dim"
    )
    client.calls("credit-decision", asked[cut:], 8)
    truth = {one["applicant"]: one["defaulted"] for one in lines(build / "credit/outcomes.jsonl")}
    _tell(
        client,
        [
            {"integration": "credit-decision", "name": "defaulted", "entity": k, "value": v}
            for k, v in truth.items()
        ],
    )


def tickets(place: Path, build: Path, client: Client) -> None:
    """The same tickets through two releases: the language model first, then the classifier."""
    asked = lines(build / "tickets" / "heldout.jsonl")[:TICKETS]
    file = place / "tickets" / "integration.py"
    declared = file.read_text()
    classifier = '        splice.Model("tickets@champion"),\n'
    pilot = declared.replace(classifier, "").replace(
        "        splice.Rule(by_words),\n", f"{classifier}        splice.Rule(by_words),\n"
    )
    path = "/v1/integrations/ticket-triage/calls"
    for text, number in ((pilot, 2), (declared, 3)):
        file.write_text(text)
        splice(place, "release", "apply", "ticket-triage", "--yes", "--why", "demo")
        await_live(client, _PROBE, path, lambda a, n=number: a.get("release") == n)
        client.calls("ticket-triage", asked, 1)
    queue = {one["ticket"]: one["queue"] for one in lines(build / "tickets/outcomes.jsonl")}
    _tell(
        client,
        [
            {"integration": "ticket-triage", "name": "queue", "entity": one["ticket"],
             "value": queue[one["ticket"]]}
            for one in asked
        ],
    )  # fmt: skip


def desk(place: Path, address: tuple[str, int]) -> None:
    """The gateway, as an OpenAI client speaks to it: whole, the same again, and as a stream."""
    key = splice(place, "keys", "create", "web-shop", "--integrations", "desk-*",
                 "--budget", "EUR 5/month").strip()  # fmt: skip
    client = Client(address, key)
    stranger, path = Client(address), "/v1/chat/completions"
    question = "I am anna@example.com. Where is my parcel? Answer in one short sentence."
    asked: Json = {"model": "desk-fast", "messages": [{"role": "user", "content": question}]}
    until = time.monotonic() + 10
    while "error" not in stranger.post("/v1/chat/completions", {**asked, "max_tokens": 1}):
        if time.monotonic() > until:  # every call needs a key from now on
            raise SystemExit("the server did not ask for a key")
    for body in (asked, asked, {**asked, "stream": True, "seed": 1}):
        said = client.text(path, body)
        if b'"choices"' not in said:
            raise SystemExit(f"the gateway did not answer: {said.decode()}")


def _tell(client: Client, outcomes: list[Json]) -> None:
    taken = client.post("/v1/outcomes", outcomes)
    if taken.get("received") != len(outcomes):
        raise SystemExit(f"outcomes were refused: {taken}")


def main() -> None:
    """Train, serve, ask, tell the outcomes, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", type=Path, default=Path(".demo"))
    parser.add_argument("--keep", action="store_true", help="Go on serving on port 8000.")
    options = parser.parse_args()
    started = time.monotonic()
    place: Path = options.place.resolve()
    shutil.rmtree(place, ignore_errors=True)
    build, project = place / "build", place / "project"
    train(build)
    train_thin(build / "thin")
    write_project(project, build)
    run = partial(splice, project)
    splice(project, "check")
    splice(project, "release", "apply", "--yes", "--why", "first")
    console.print(f"Serving {project}", style="dim")
    with server(project) as address:
        client = Client(address)
        shadow(run, build / "thin")
        probe = {**lines(build / "credit" / "heldout.jsonl")[0], "applicant": "probe"}
        path = "/v1/integrations/credit-decision/calls"
        await_live(client, probe, path, lambda answer: answer.get("release") == 2)
        credit(project, build, client)
        tickets(project, build, client)
        splice(project, "models", "restore", "credit@1")
        desk(project, address)
    parts = [Part("credit-decision", "defaulted"), Part("ticket-triage", "queue")]
    explained = print_table(project, parts, console)
    gate(project, build / "credit", run, console)
    demo_watching.run(project, console)
    print_desk(project, console)
    demo_documents.run(project, run, console)
    print_explained(splice(project, "calls", "explain", explained), console)
    took_s = time.monotonic() - started
    console.print(f"\nAll of it in {took_s:.0f} s. The project is in {project}.", soft_wrap=True)
    if options.keep:
        key = splice(project, "keys", "create", "visitor", "--role", "admin").strip()
        console.print("\nSign in at http://127.0.0.1:8000/console with this key:")
        console.print(key, style="bold", soft_wrap=True)
        sys.stdout.flush()
        command = [sys.executable, "-m", "splice.cli.main", "--project", str(project), "serve"]
        os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
