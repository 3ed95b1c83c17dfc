"""Kubeflow: its own SDK reads what we write, and its local runner runs it, step by step."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from retrain_house import GIVEN, GOOD, MIDDLING, WORSE, graph, integration, write_data

from splice.adapters.pipelines.kubeflow import KubeflowCompiler
from splice.core.errors import DeclarationError
from splice.core.pipeline import STEPS
from splice.ports.pipelines import PipelineCompiler, PipelineShape, Target
from splice.testing.contracts.pipelines import PipelineCompilerContract
from splice.testing.project import Project

SHAPE = PipelineShape("tumour-check", STEPS, "Trains: 'tumour' #anew, \"so\" ✗.")
CONTAINER = Target("registry/health:7", "/srv/health")
PYTHON = Target("python:3.11", "/srv/health", "python", ("python", "-m", "splice.cli.main"))

# What the SDK says of a file: its own reading of it, and of the message that a server gets.
READ = """
import json, sys
from google.protobuf import json_format
from kfp import components
from kfp.pipeline_spec import pipeline_spec_pb2
import yaml

made = components.load_component_from_file(sys.argv[1])
spec = json_format.ParseDict(
    yaml.safe_load(open(sys.argv[1])), pipeline_spec_pb2.PipelineSpec()
)
print(json.dumps({
    "name": made.name,
    "inputs": list(made.component_spec.inputs),
    "tasks": {name: list(task.dependent_tasks) for name, task in spec.root.dag.tasks.items()},
    "images": sorted({one["container"]["image"] for one in
                      json_format.MessageToDict(spec.deployment_spec)["executors"].values()}),
}))
"""

RUN = """
import sys
from kfp import components, local

local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2])
made = components.load_component_from_file(sys.argv[1])
made(why="asked for by Kubeflow")
"""


@pytest.fixture(params=[CONTAINER, PYTHON], ids=["container", "python"])
def target(request: pytest.FixtureRequest) -> Target:
    return request.param


@pytest.fixture
def compiler() -> PipelineCompiler:
    return KubeflowCompiler()


class TestContract(PipelineCompilerContract):
    pass


def test_each_step_calls_the_command_line_with_the_run_of_the_one_before() -> None:
    spec = yaml.safe_load(KubeflowCompiler().compile(SHAPE, CONTAINER))

    executors = spec["deploymentSpec"]["executors"]
    assert executors["exec-train"]["container"] == {
        "image": "registry/health:7",
        "command": ["splice"],
        "args": [
            "--project", "/srv/health", "retrain", "run", "tumour-check", "--step", "train",
            "--run", "{{$.inputs.parameters['run']}}",
            "--run-to", "{{$.outputs.parameters['begun'].output_file}}",
        ],
    }  # fmt: skip
    tasks: Any = spec["root"]["dag"]["tasks"]
    assert [tasks[step].get("dependentTasks") for step in STEPS] == [
        None, ["data"], ["train"], ["register"], ["validate"],
    ]  # fmt: skip
    assert spec["pipelineInfo"]["description"] == SHAPE.purpose


def test_without_an_image_nothing_is_compiled() -> None:
    with pytest.raises(DeclarationError):
        KubeflowCompiler().compile(SHAPE, msgspec.structs.replace(CONTAINER, image=""))


@pytest.mark.peers
def test_its_own_sdk_reads_what_we_write(tmp_path: Path, kfp_python: str, target: Target) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(KubeflowCompiler().compile(SHAPE, target), "utf-8")

    ran = subprocess.run(
        [kfp_python, "-c", READ, str(file)], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "name": "tumour-check",
        "inputs": ["why"],
        "tasks": {
            "data": [], "train": ["data"], "register": ["train"], "validate": ["register"],
            "promote": ["validate"],
        },
        "images": [target.image],
    }  # fmt: skip


@pytest.mark.peers
def test_its_local_runner_releases_a_better_version_and_stops_at_a_gate(
    tmp_path: Path, kfp_python: str
) -> None:
    project = Project(tmp_path / "p")
    project.declare(integration())
    project.declare(GIVEN, "training")
    write_data(project.folder)
    given = project.folder / "given.onnx"
    given.write_bytes(graph(MIDDLING))
    project.run("models", "add", "tumour", "given.onnx", "--alias", "champion")
    given.write_bytes(graph(GOOD))
    compiled = project.run(
        "retrain", "compile", "tumour-check", "--to", "pipeline.yaml", "--image", "python:3.11",
        "--runner", "python", "--project", str(project.folder),
        "--splice", f"{sys.executable} -m splice.cli.main",
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr

    def run() -> subprocess.CompletedProcess[str]:
        file = str(project.folder / "pipeline.yaml")
        return subprocess.run(
            [kfp_python, "-c", RUN, file, str(tmp_path / "outputs")],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    better = run()
    given.write_bytes(graph(WORSE))
    worse = run()

    assert better.returncode == 0, better.stdout + better.stderr
    assert worse.returncode != 0
    assert "Inner task failed" in worse.stderr
    listed = json.loads(project.run("retrain", "list", "--json").stdout)
    assert [(one["state"], one["version"], one["why"]) for one in listed] == [
        ("refused", "tumour@3", "asked for by Kubeflow"),
        ("done", "tumour@2", "asked for by Kubeflow"),
    ]
    assert [one["step"] for one in listed[0]["steps"]] == list(STEPS[:4])
    assert "tumour@2" in project.run("models", "show", "tumour@champion").stdout
