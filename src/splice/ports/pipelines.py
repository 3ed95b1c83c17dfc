"""Where runs of pipelines are kept, and what describes a pipeline to another system."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec

from splice.core.pipeline import PipelineRun, RunState, Step


class PipelineStore(Protocol):
    """Runs, and the newest moment of each schedule that was taken. Blocks."""

    def add_run(self, run: PipelineRun, *, action: str) -> PipelineRun:
        """Store a new run with its audit event, and give it.

        Where one of the same integration is in state `asked` already, that one is given instead:
        it was not begun, so it will do what is wanted.
        """
        ...

    def take_slot(self, run: PipelineRun, *, action: str) -> PipelineRun | None:
        """Like `add_run`, for `run.slot_us` of `run.schedule`; None where that was taken before."""
        ...

    def save_run(self, run: PipelineRun, *, action: str = "", now_us: int = 0) -> PipelineRun:
        """Store what changed, with an audit event where `action` names one; gives it renumbered.

        Raises:
            Overtaken: The store has another revision of it than `run.revision`.
        """
        ...

    def run(self, run_id: str) -> PipelineRun | None:
        """One run."""
        ...

    def runs(
        self,
        integration: str | None = None,
        states: Collection[RunState] = (),
        limit: int = 100,
    ) -> list[PipelineRun]:
        """Runs of one integration or of all, in these states or in any, newest first."""
        ...

    def slot(self, integration: str, schedule: str) -> int | None:
        """The newest moment of a schedule that was taken; None where it is not known yet."""
        ...

    def set_slot(self, integration: str, schedule: str, slot_us: int) -> None:
        """Let a schedule count from there on, whatever it was before."""
        ...


class PipelineShape(msgspec.Struct, frozen=True):
    """What a compiler is told of a pipeline: its name and its steps, one after the other."""

    integration: str
    steps: tuple[Step, ...]
    purpose: str = ""


class Target(msgspec.Struct, frozen=True):
    """Where a compiled pipeline runs.

    `image` holds the project and Splice. `project` is the folder of splice.toml in it. `runner` is
    `container` (each step is a container of the image) or `python` (each step is a function that
    calls the command line). `splice` is the command line.
    """

    image: str = ""
    project: str = "."
    runner: str = "container"
    splice: tuple[str, ...] = ("splice",)


class PipelineCompiler(Protocol):
    """Describes a pipeline in the language of another system. Made without arguments."""

    def compile(self, shape: PipelineShape, target: Target) -> str:
        """The text of the file that the other system takes.

        Raises:
            DeclarationError: It cannot be said in that language.
        """
        ...
