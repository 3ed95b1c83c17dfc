"""The project whose releases are switched: two versions of one model, and a rule behind them.

Version 2 says of every row the contrary of version 1, and the rule says the same of all: each
answer shows which of them gave it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import onnx
from onnx import helper

from serve.job import Asked
from serve.subject import Bench, Command, own_python
from serve.subject_splice import DECLARATION, prepare

NAME = "scoring"
FIRST, SECOND, RULE = f"{NAME}@1", f"{NAME}@2", "rule:half"
SAID_BY_RULE = 0.5
INTEGRATION = '''

def half(context):
    """What is said where no model may answer."""
    return {said}


class Scoring(splice.Integration):
    """Score one row of thirty features."""

    routes = [splice.Model("{name}"), splice.Rule(half)]

    def decide(self, row: Row, prediction: splice.Prediction) -> Score:
        """The score as it is."""
        return Score(prediction.score)
'''


def make(bench: Bench, workers: int) -> Command:
    """The project with version 1 live and version 2 its challenger, and its server."""
    command = prepare(bench)
    place = command.cwd
    declared = DECLARATION + INTEGRATION.format(name=NAME, said=SAID_BY_RULE)
    (place / "scoring.py").write_text(declared)
    (place / "models" / f"{NAME}.onnx").unlink()
    second = contrary(bench.model, place / "second.onnx")
    run(place, "models", "add", NAME, str(bench.model))
    run(place, "release", "apply", "--yes")
    run(place, "models", "add", NAME, str(second), "--alias", "challenger")
    return Command(
        argv=[*command.argv, "--workers", str(workers)],
        cwd=place,
        paths=command.paths,
        make_body=command.make_body,
        read_probability=command.read_probability,
        env=command.env,
        check_after=command.check_after,
    )


def contrary(model: Path, path: Path) -> Path:
    """A model with the same inputs that swaps the probabilities of the two classes; its path."""
    made = onnx.load(str(model))
    graph = made.graph
    for node in graph.node:
        node.output[:] = ["straight" if name == "probabilities" else name for name in node.output]
    swapped = helper.make_tensor("swapped", onnx.TensorProto.INT64, [2], [1, 0])
    graph.initializer.append(swapped)
    last = helper.make_node("Gather", ["straight", "swapped"], ["probabilities"], axis=1)
    graph.node.append(last)
    onnx.save(made, str(path))
    return path


def expected(asked: Asked) -> dict[str, list[float]]:
    """What each version says of each row."""
    first = list(asked.probabilities)
    return {
        FIRST: first,
        SECOND: [1 - one for one in first],
        RULE: [SAID_BY_RULE] * len(first),
    }


def argv(*command: str) -> list[str]:
    """The command line of Splice, behind everything else on this machine."""
    return ["nice", "-n", "19", str(own_python().parent / "splice"), *command]


def run(place: Path, *command: str) -> str:
    """What a command of Splice in the project said.

    Raises:
        RuntimeError: It did not work.
    """
    done = subprocess.run(argv(*command), cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"splice {' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def version_of(body: bytes) -> tuple[str, float]:
    """Which version gave an answer (a rule by its route), and the probability that it said."""
    answer = json.loads(body)
    version = answer["version"] if answer["version"] in (FIRST, SECOND) else answer["route"]
    return str(version), float(answer["reply"]["probability"])
