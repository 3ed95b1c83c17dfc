"""A run of a pipeline: what it was given, what each of its steps did, and what came out."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Step = Literal["data", "train", "register", "validate", "promote"]
STEPS: tuple[Step, ...] = ("data", "train", "register", "validate", "promote")
RunState = Literal["asked", "running", "done", "failed", "refused"]
StepState = Literal["running", "done", "failed", "refused"]
OPEN: tuple[RunState, ...] = ("asked", "running")

Promote = Literal["never", "gates", "canary"]


def steps_of(promote: Promote) -> tuple[Step, ...]:
    """The steps of a pipeline: one that never promotes ends when the version is registered."""
    return STEPS[:3] if promote == "never" else STEPS


class StepRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of one run. `inputs` and `outputs` are JSON values; files are told by path and hash.

    `error` says why it failed or was refused.
    """

    step: Step
    state: StepState
    began_us: int
    ended_us: int = 0
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    error: str = ""


class PipelineRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run of the pipeline of an integration.

    `schedule` and `slot_us` say which moment of which schedule it is for. `bundle` is the SHA-256
    of the sources that declare the pipeline. `holder` names the process that runs it, `taken` is
    how often one took it up since a step was done. `stepwise` where something else decides when
    the next step runs, such as Kubeflow. `revision` counts its changes: who changes an older one
    than the store has was overtaken.
    """

    id: str
    integration: str
    state: RunState
    asked_us: int
    by: str
    why: str = ""
    schedule: str = ""
    slot_us: int = 0
    model: str = ""
    promote: str = ""
    bundle: str = ""
    steps: tuple[StepRun, ...] = ()
    ended_us: int = 0
    error: str = ""
    holder: str = ""
    taken: int = 0
    stepwise: bool = False
    revision: int = 0

    def step(self, name: Step) -> StepRun | None:
        """How that step went; None where it has not begun."""
        return next((one for one in self.steps if one.step == name), None)

    def outputs(self, name: Step) -> dict[str, Any]:
        """What that step gave; empty where it is not done."""
        found = self.step(name)
        return found.outputs if found is not None and found.state == "done" else {}

    def with_step(self, step: StepRun) -> PipelineRun:
        """The run with that step in the place of what was known of it."""
        others = [one for one in self.steps if one.step != step.step]
        steps = sorted([*others, step], key=lambda one: STEPS.index(one.step))
        return msgspec.structs.replace(self, steps=tuple(steps))

    def left(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Those of these steps that are not done."""
        done = {one.step for one in self.steps if one.state == "done"}
        return tuple(one for one in steps if one not in done)

    @property
    def data_sha256(self) -> str:
        """The hash of what it was trained on; empty where that is not known yet."""
        return self.outputs("data").get("sha256", "")

    @property
    def tracked(self) -> str:
        """The training run, as the tracker names it: `mlflow:RUN_ID`."""
        return self.outputs("train").get("run", "")

    @property
    def version(self) -> str:
        """The version that came out, as `credit@4`; empty where none did yet."""
        return self.outputs("register").get("version", "")
