"""The subject `splice`: one integration with the ONNX model as its route, recording on."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from serve.subject import Bench, Command, features_body, uvicorn_argv

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


class Scoring(splice.Integration):
    """Score one row of thirty features."""

    risk = splice.Risk.{risk}
    routes = [splice.Model("scoring")]

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
    (place / "scoring.py").write_text(DECLARATION.replace("{risk}", risk))
    (place / "models").mkdir()
    (place / "model.onnx").rename(place / "models" / "scoring.onnx")
    argv = [str(bench.python.parent / "splice"), "serve"]
    if bench.variant == "mounted":
        (place / "mounted.py").write_text(MOUNTED)
        argv = uvicorn_argv(bench.python, "mounted:app", bench.port)
    return Command(
        argv=argv,
        cwd=place,
        env={"SPLICE_SERVER_PORT": str(bench.port)},
        path="/v1/integrations/scoring/calls",
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
