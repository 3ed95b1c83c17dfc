"""The demo's document intake: files are uploaded, events published, documents read and decided."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from document_intake import samples

HERE = Path(__file__).resolve().parent
DECLARED = ("integration.py", "fields.py", "reader.py", "rule.py", "store.py", "uploads.py")
TOML = """
[consume.document-intake]
source = "queue:documents"
targets = ["table:documents", "queue:document-decisions"]
max_in_flight = 2   # one is read while the next waits for the reader
max_batch = 2

[relay.uploads]
url_env = "UPLOADS_DATABASE"
targets = ["queue:{aggregatetype}"]
"""

Splice = Callable[..., str]
"""Runs a command of Splice in the project; gives what it printed."""


def train(build: Path) -> None:
    """The classifier of documents, trained and exported on this machine."""
    command = [sys.executable, "-m", "document_intake.train", "--out", str(build)]
    subprocess.run(command, check=True, cwd=HERE, stdout=subprocess.DEVNULL)


def write(project: Path, build: Path) -> None:
    """The declaration, the reader and the upload service into the project."""
    (project / "document_intake").mkdir()
    for file in DECLARED:
        shutil.copy(HERE / "document_intake" / file, project / "document_intake")
    (project / "document_reader").mkdir()
    for source in (HERE / "document_reader").glob("*.py"):
        shutil.copy(source, project / "document_reader")
    shutil.copy(build / "documents.onnx", project / "models")


def run(project: Path, splice: Splice, console: Console) -> None:
    """Upload, publish, consume, and print what was decided."""
    console.print("\nDocument intake: files in, events, decisions out", style="bold")
    given = [*samples.documents()[:12], *samples.oddities()]
    database = f"sqlite:///{project}/uploads.db"
    where = {"DOCUMENT_STORE": str(project / "documents"), "UPLOADS_DATABASE": database}
    os.environ.update(where)  # noqa: TID251 - for the processes that are started here
    with service(project, database, f"sqlite:///{project}/.splice/ledger.db") as address:
        ids = {one.name: upload(address, one) for one in given}
        splice("relay", "--until-empty")
        started = time.monotonic()
        splice("consume", "--until-empty")
        took = time.monotonic() - started
        answers = {name: decision(address, one) for name, one in ids.items() if one}
    if missing := [name for name, answer in answers.items() if answer is None]:
        raise SystemExit(f"nothing was decided on {', '.join(missing)}")
    console.print(_row(("  file", "type", "kind", "chance", "action", "")), style="bold")
    for one in given:
        console.print(_told(one, answers.get(one.name)), markup=False, soft_wrap=True)
    _sum(project, given, answers, took, console)
    _reviewed(splice, given, ids, console)


@contextmanager
def service(project: Path, database: str, results: str) -> Iterator[tuple[str, int]]:
    """The upload service on a free port, until the block ends."""
    command = [
        sys.executable, "-m", "document_intake.uploads", "--port", "0", "--store", "documents",
        "--database", database, "--results", results,
    ]  # fmt: skip
    log = project / "uploads.log"
    with log.open("w") as said:
        process = subprocess.Popen(command, cwd=project, stdout=said, stderr=said)
    try:
        until = time.monotonic() + 30
        while "running on http://" not in (text := log.read_text()):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the upload service did not start: {text}")
            time.sleep(0.05)
        host, _, port = text.partition("running on http://")[2].split()[0].rpartition(":")
        yield host, int(port)
    finally:
        process.terminate()
        process.wait(30)


def upload(address: tuple[str, int], one: samples.Sample) -> str:
    """The document's id; empty where the service refused the file."""
    connection = HTTPConnection(*address, timeout=60)
    connection.request("POST", f"/documents?by=demo&name={quote(one.name)}", one.content)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    if answer.status not in (202, 413):
        raise SystemExit(f"{one.name} was not taken: {said}")
    return said.get("document", "")


def decision(address: tuple[str, int], document: str) -> Any:
    """What was decided on a document; None where nothing was yet."""
    connection = HTTPConnection(*address, timeout=60)
    connection.request("GET", f"/documents/{document}")
    found = json.loads(connection.getresponse().read())["decision"]
    connection.close()
    return found


def _told(one: samples.Sample, answer: Any) -> str:
    if answer is None:
        return _row((f"  {one.name}", "", "", "", "refused", "by the upload service: too large"))
    chance = answer["confidence"]
    found = answer["fields"]
    read = " ".join(filter(None, (found["number"], found["total"] and found["currency"],
                                  found["total"])))  # fmt: skip
    return _row((
        f"  {one.name}", answer["type"], answer["kind"] or "", "" if chance is None else
        f"{chance:.2f}", answer["action"], answer["why"] or read,
    ))  # fmt: skip


def _row(cells: tuple[str, ...]) -> str:
    widths = (23, 7, 15, 8, 8)
    return "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)) + cells[5]


def _sum(
    project: Path, given: list[samples.Sample], answers: dict[str, Any], took: float,
    console: Console,
) -> None:  # fmt: skip
    actions = Counter(answer["action"] for answer in answers.values())
    known = [one for one in given if one.kind and answers[one.name]["action"] == "accept"]
    right = sum(answers[one.name]["kind"] == one.kind for one in known)
    with sqlite3.connect(project / ".splice" / "ledger.db") as ledger:
        (rows,) = ledger.execute("SELECT count(*) FROM documents").fetchone()
    ledger.close()
    told = ", ".join(f"{number} {action}" for action, number in sorted(actions.items()))
    console.print(
        f"{len(answers)} events in {took:.1f} s: {told}; {rows} rows in the table documents. "
        f"{right} of {len(known)} accepted documents are of the kind they were made as. They are "
        "made up.",
    )


def _reviewed(
    splice: Splice, given: list[samples.Sample], ids: dict[str, str], console: Console
) -> None:
    """A person looks at the first document that nobody was sure of, and says what it is."""
    waiting = json.loads(splice("reviews", "list", "document-intake", "--json"))
    unsure = [one for one in waiting if one["origin"] == "reply"]
    shown = json.loads(splice("reviews", "show", unsure[0]["id"], "--json"))
    reply = shown["call"]["reply"]
    name = next(name for name, document in ids.items() if document == reply["document"])
    kind = next(one.kind for one in given if one.name == name) or "other"
    right = {**reply, "kind": kind, "action": "accept", "why": ""}
    splice(
        "reviews", "decide", unsure[0]["id"], "override", "--reply", json.dumps(right),
        "--reason", "misread", "--note", "read by a person", "--yes",
    )  # fmt: skip
    call = json.loads(splice("calls", "show", shown["call"]["call_id"]))
    outcome = next(one for one in call["outcomes"] if one["source"] == "review")
    console.print(
        f"{len(unsure)} wait for a person, who has a day for each. Of {name} "
        f"({reply['why']}) a person says that it is to be accepted: its outcome "
        f"{outcome['name']} is now {outcome['value']}.",
        markup=False,
    )
