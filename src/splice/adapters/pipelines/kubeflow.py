"""Kubeflow Pipelines: a pipeline as its IR (PipelineSpec 2.1 in YAML), written without its SDK.

One component a step, one after the other; each is handed the id of the run by the one before, and
calls the command line. Between two steps there is nothing but the run: what a step leaves is in the
project's ledger and in `.splice/`, which the containers share.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from splice.core.errors import DeclarationError
from splice.core.pipeline import Step
from splice.ports.pipelines import PipelineShape, Target

_SCHEMA = "2.1.0"
_SDK = "kfp-2.17.3"  # whose IR this is
_RUN = "run"

# What the SDK lets a container run for a component that is a Python function.
_EPHEMERAL = """program_path=$(mktemp -d)

printf "%s" "$0" > "$program_path/ephemeral_component.py"
_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main --component_module_path \
"$program_path/ephemeral_component.py" "$@"
"""

_FUNCTION = '''
import kfp
from kfp import dsl
from kfp.dsl import *
from typing import *

def {name}({argument}: str) -> str:
    """Step {name} of the pipeline of {integration}; gives the id of its run."""
    import os
    import subprocess
    import tempfile

    command = {command}
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "run")
        subprocess.run([*command, {option!r}, {argument}, "--run-to", file], check=True)
        with open(file) as written:
            return written.read()
'''


class KubeflowCompiler:
    """A PipelineCompiler for Kubeflow Pipelines."""

    def compile(self, shape: PipelineShape, target: Target) -> str:
        """The IR, as YAML.

        Raises:
            DeclarationError: No image, or a runner that there is not.
        """
        if target.runner not in ("container", "python"):
            raise DeclarationError(
                "runner", got=repr(target.runner)[:80], promised="container or python"
            )
        if not target.image:
            raise DeclarationError(
                "image", got="none", promised="an image that holds the project and Splice"
            )
        container = _container if target.runner == "container" else _python
        spec: dict[str, Any] = {
            "components": {f"comp-{step}": _component(step, target.runner) for step in shape.steps},
            "deploymentSpec": {
                "executors": {
                    f"exec-{step}": {"container": container(step, shape, target)}
                    for step in shape.steps
                }
            },
            "pipelineInfo": {"description": shape.purpose, "name": shape.integration},
            "root": {
                "dag": {"tasks": dict(_tasks(shape.steps, target.runner))},
                "inputDefinitions": {
                    "parameters": {
                        "why": {
                            "defaultValue": "",
                            "description": "Reason, kept with the run.",
                            "isOptional": True,
                            "parameterType": "STRING",
                        }
                    }
                },
            },
            "schemaVersion": _SCHEMA,
            "sdkVersion": _SDK,
        }
        head = f"# The pipeline of {shape.integration}, by splice retrain compile.\n"
        return head + "\n".join(_lines(spec)) + "\n"


def _argument(step: Step) -> str:
    """What a step is handed: why a run is begun, or which run it goes on with."""
    return "why" if step == "data" else _RUN


def _output(runner: str) -> str:
    """The name of what it hands on: a function's result has one of its own."""
    return "Output" if runner == "python" else "begun"


def _component(step: Step, runner: str) -> dict[str, Any]:
    text = {"parameterType": "STRING"}
    return {
        "executorLabel": f"exec-{step}",
        "inputDefinitions": {"parameters": {_argument(step): text}},
        "outputDefinitions": {"parameters": {_output(runner): text}},
    }


def _tasks(steps: Sequence[Step], runner: str) -> Sequence[tuple[str, dict[str, Any]]]:
    tasks: list[tuple[str, dict[str, Any]]] = []
    before = ""
    for step in steps:
        given: dict[str, Any] = {"componentInputParameter": "why"}
        if before:
            given = {
                "taskOutputParameter": {
                    "outputParameterKey": _output(runner),
                    "producerTask": before,
                }
            }
        task: dict[str, Any] = {
            "cachingOptions": {},  # the same question must be answered anew: data changes
            "componentRef": {"name": f"comp-{step}"},
            "inputs": {"parameters": {_argument(step): given}},
            "taskInfo": {"name": step},
        }
        if before:
            task["dependentTasks"] = [before]
        tasks.append((step, task))
        before = step
    return tasks


def _command(step: Step, shape: PipelineShape, target: Target) -> list[str]:
    project = ["--project", target.project]
    return [*target.splice, *project, "retrain", "run", shape.integration, "--step", step]


def _option(step: Step) -> str:
    return "--why" if step == "data" else "--run"


def _container(step: Step, shape: PipelineShape, target: Target) -> dict[str, Any]:
    command = _command(step, shape, target)
    return {
        "args": [
            *command[len(target.splice) :],
            _option(step),
            f"{{{{$.inputs.parameters['{_argument(step)}']}}}}",
            "--run-to",
            f"{{{{$.outputs.parameters['{_output('container')}'].output_file}}}}",
        ],
        "command": list(target.splice),
        "image": target.image,
    }


def _python(step: Step, shape: PipelineShape, target: Target) -> dict[str, Any]:
    source = _FUNCTION.format(
        name=step, argument=_argument(step), integration=shape.integration,
        command=json.dumps(_command(step, shape, target)), option=_option(step),
    )  # fmt: skip
    return {
        "args": ["--executor_input", "{{$}}", "--function_to_execute", step],
        "command": ["sh", "-ec", _EPHEMERAL, source],
        "image": target.image,
    }


def _lines(value: Mapping[str, Any] | Sequence[Any], depth: int = 0) -> list[str]:
    """Block YAML with every text in JSON's quotes, which YAML reads as they are."""
    indent = "  " * depth
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, (Mapping, list)) and inner:
                lines += [f"{indent}{key}:", *_lines(cast("Mapping[str, Any]", inner), depth + 1)]
            else:
                lines.append(f"{indent}{key}: {json.dumps(inner)}")
        return lines
    return [f"{indent}- {json.dumps(one)}" for one in value]
