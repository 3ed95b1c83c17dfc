"""Runs the benchmark of several models at once: 1, 2 and 4 of them behind each server.

The subjects, the pinning and the checks are those of the job `serve`. Every model is the same file
under a name of its own, with a session and a path of its own; the load goes round over all of
them, so that each model gets its share of the connections. A load is named `2x32`: two models, 32
connections in all. BentoML and MLServer are measured with their own batching and without it: where
it is worse for them, their best is compared as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from models.threads import thread_rows
from serve import job as serve
from serve.job import Plan, Running, disturbance, rows_of

SUBJECTS = (
    "splice",
    "fastapi",
    "bentoml:batched",
    "bentoml:typed",
    "mlserver:batched-1ms",
    "mlserver:in-process",
)
OURS = "splice"
LOADS = serve.LOADS
MODELS = (1, 2, 4)
SECONDS, ROUNDS = 2.0, 2
"""With these a run takes less than eight minutes."""
WARM_UP_SECONDS = 1.0


def planned(
    names: Sequence[str], loads: str, seconds: float, rounds: int, *, every_variant: bool
) -> Plan:
    """The plan that a command line describes; `loads` are connections, comma-separated."""
    plan = serve.planned(names, loads, seconds, rounds, every_variant=every_variant)
    return replace(plan, warm_up=WARM_UP_SECONDS)


def run(plan: Plan, cache: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    """The rows of the plan, and beside them what the run was made with.

    Raises:
        WrongAnswerError: A server answered something else than the model.
        LoadError: A load met anything but success.
    """
    running = Running(plan, cache)
    for turn in range(plan.rounds):
        for models in MODELS:
            for subject, variant in plan.subjects:
                running.subject(turn, subject, variant, models, f"{models}x{{}}")
    rows = rows_of(running.figures)
    if any(subject.name == OURS for subject, _ in plan.subjects):
        rows += thread_rows(plan, cache)
    load = "every model is asked in turn"
    return rows, running.meta() | {"models": load} | disturbance(running.figures)
