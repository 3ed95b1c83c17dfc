"""The subject `splice`: one integration with the ONNX model as its route, recording on."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

from serve.subject import Bench, Command, features_body, numbered, uvicorn_argv

NEEDS = None
PACKAGES = ("splice-ai", "uvicorn", "uvloop", "httptools", "msgspec", "onnxruntime", "numpy")
VARIANTS = {
    "recorded": "splice serve, one worker, every call recorded in SQLite, written in groups",
    "durable": "splice serve, risk HIGH: every call recorded in SQLite before its reply",
    "mounted": "app.asgi() under uvicorn as the peers run it, recorded in groups",
}

SETTINGS = """\
[project]
modules = ["scoring"]
"""
DECLARATION = '''\
"""What the benchmark of serving serves."""

from typing import Annotated

import msgspec
import splice


class Row(splice.Request):
    """One row."""

    features: Annotated[list[float], msgspec.Meta(min_length=30, max_length=30)]


class Score(splice.Reply):
    """What the model said of it."""

    probability: float
'''
INTEGRATION = '''

class Scoring{number}(splice.Integration):
    """Score one row of thirty features."""

    name = "{name}"
    risk = splice.Risk.{risk}
    routes = [splice.Model("{name}")]

    def decide(self, row: Row, prediction: splice.Prediction) -> Score:
        """The score as it is."""
        return Score(prediction.score)
'''
MOUNTED = """\
import splice

app = splice.App(project=".").asgi()
"""


def prepare(bench: Bench) -> Command:
    """A project of one integration in the subject's directory, and the server of the variant."""
    place = bench.place("splice")
    risk = "HIGH" if bench.variant == "durable" else "LIMITED"
    (place / "splice.toml").write_text(SETTINGS)
    names = numbered("scoring", bench.models)
    (place / "models").mkdir()
    declared = DECLARATION
    for number, name in enumerate(names, 1):
        declared += INTEGRATION.format(number=number, name=name, risk=risk)
        shutil.copyfile(bench.model, place / "models" / f"{name}.onnx")
    (place / "scoring.py").write_text(declared)
    argv = [str(bench.python.parent / "splice"), "serve"]
    if bench.variant == "mounted":
        (place / "mounted.py").write_text(MOUNTED)
        argv = uvicorn_argv(bench.python, "mounted:app", bench.port)
    return Command(
        argv=argv,
        cwd=place,
        env={"SPLICE_SERVER_PORT": str(bench.port)},
        paths=[f"/v1/integrations/{name}/calls" for name in names],
        make_body=features_body,
        read_probability=_probability,
        check_after=lambda answered: _check_recorded(place / ".splice" / "ledger.db", answered),
    )


def _probability(body: bytes) -> float:
    """The number in the reply."""
    return float(json.loads(body)["reply"]["probability"])


def _check_recorded(ledger: Path, answered: int) -> None:
    """The ledger must hold a call for every answer.

    Raises:
        RuntimeError: It holds fewer: the server was fast because it did not do its work.
    """
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        recorded: int = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
    finally:
        connection.close()
    if recorded < answered:
        raise RuntimeError(f"{answered} answers but {recorded} recorded calls")
