"""Pipelines of a project: read from its declarations, asked for, run, and watched."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from types import FrameType

import msgspec

from splice.app import wiring
from splice.app.clock import Ids, now_us
from splice.app.pipeline_process import StepProcesses
from splice.app.settings import Settings, user_name
from splice.control.pipelines import Pipelines, Plan, Who
from splice.core.errors import DeclarationError, SpliceError
from splice.core.pipeline import PipelineRun, StepRun
from splice.declare.discover import Found, find
from splice.declare.retrain_reading import has_pipeline, read_pipeline

log = logging.getLogger("splice.pipelines")

LOOK_SECONDS = 2.0
_PROC = Path("/proc")


def plans(settings: Settings) -> tuple[dict[str, Plan], list[DeclarationError]]:
    """The pipelines that the declarations on the disk have now, and what is wrong with them."""
    found, mistakes = find(*wiring.modules_of(settings))
    made: dict[str, Plan] = {}
    for one in found:
        try:
            pipeline = read_pipeline(one.declaration)
        except DeclarationError as error:
            mistakes.append(error)
            continue
        if pipeline is not None:
            made[pipeline.integration] = Plan(pipeline, one.bundle.sha256)
    return made, mistakes


def mistakes_of(found: list[Found]) -> list[DeclarationError]:
    """What is wrong with the pipelines of these integrations."""
    wrong: list[DeclarationError] = []
    for one in found:
        try:
            read_pipeline(one.declaration)
        except DeclarationError as error:
            wrong.append(error)
    return wrong


def plan_of(settings: Settings, integration: str) -> Plan:
    """The pipeline of one integration.

    Raises:
        DeclarationError: It has none, or its declaration has a mistake.
    """
    made, mistakes = plans(settings)
    if integration in made:
        return made[integration]
    raise mistakes[0] if mistakes else _none_of(integration, made)


def ask(
    settings: Settings, stores: wiring.Stores, integration: str, *, by: str, why: str
) -> PipelineRun:
    """A run that `splice retrain watch` takes up; where one waits already, that one.

    Raises:
        DeclarationError: No integration of that name says how it is retrained.
    """
    found, mistakes = find(*wiring.modules_of(settings))
    names = [one.declaration.name for one in found if has_pipeline(one.declaration.cls)]
    if integration not in names:
        raise mistakes[0] if mistakes else _none_of(integration, names)
    return pipelines_of(settings, stores).ask(integration, by=by, why=why)


def ask_live(services: wiring.Services, integration: str, why: str) -> str:
    """Asks for a run of a live integration, as a program or a monitor does; gives its id.

    Raises:
        UnknownIntegration: It is not live here.
        DeclarationError: It does not say how it is retrained.
    """
    line = services.engine.line(integration)
    if not has_pipeline(line.declaration.cls):
        lines = services.engine.lines
        raise _none_of(integration, [n for n in lines if has_pipeline(lines[n].declaration.cls)])
    runs = pipelines_of(services.settings, services.stores)
    return runs.ask(integration, by=user_name(), why=why).id


def _none_of(integration: str, names: Iterable[str]) -> DeclarationError:
    return DeclarationError(
        integration[:80], got="no integration of that name with a retrain()",
        promised=f"one of {', '.join(sorted(names)) or 'none is declared'}",
        mend="declare def retrain(self): return splice.Pipeline(…)",
    )  # fmt: skip


def pipelines_of(settings: Settings, stores: wiring.Stores) -> Pipelines:
    """What runs the pipelines of a project."""

    def changed(run: PipelineRun) -> str:
        plan = plans(settings)[0].get(run.integration)
        if plan is not None and plan.bundle == run.bundle:
            return ""
        return "its sources were changed while it ran, so its steps do not fit together"

    return Pipelines(
        stores.pipelines,
        stores.leases,
        StepProcesses(settings, changed),
        Who(holder(), is_gone),
        now_us,
        Ids().new,
    )


def holder() -> str:
    """A name of this process that tells others on the same machine whether it still runs."""
    pid = os.getpid()
    return f"{_machine()} {pid} {_started(pid)} {uuid.uuid4().hex[:12]}"


def is_gone(name: str) -> bool:
    """Whether a holder was a process of this machine that has ended; False where it is another's.

    A number may belong to another process by now: so the time of its start counts too.
    """
    machine, *rest = name.split(" ")
    if machine != _machine() or len(rest) != 3 or not rest[0].isdigit():
        return False
    return _started(int(rest[0])) != rest[1]


def _machine() -> str:
    """This start of this machine, and this space of process numbers in it."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        space = os.readlink(_PROC / "self/ns/pid")
    except OSError:  # no Linux: nobody is ever said to be gone, and leases run out
        return f"unknown.{uuid.uuid4().hex}"
    return f"{boot}/{space}"


def _started(pid: int) -> str:
    try:
        # The name of a program may hold spaces and brackets: what comes after the last is counted.
        return (_PROC / str(pid) / "stat").read_text("utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


class Watch:
    """The scheduler: runs what is due and what is asked for, one after the other.

    Args:
        settings: Of the project.
        stores: Its ledger, open.
    """

    def __init__(self, settings: Settings, stores: wiring.Stores) -> None:
        self._settings = settings
        self._pipelines = pipelines_of(settings, stores)
        self._told = ""

    def look(self, told: Callable[[PipelineRun, StepRun], None]) -> int:
        """Do all that is to be done now; gives how many runs that were."""
        made, mistakes = plans(self._settings)
        wrong = "; ".join(str(one) for one in mistakes)
        if wrong != self._told:
            self._told = wrong
            if wrong:
                log.error("pipelines are not watched: %s", wrong)
        return self._pipelines.look(made, told)

    def run(self, told: Callable[[PipelineRun, StepRun], None]) -> None:
        """Look every other second, until the process is asked to end."""
        with ending():
            while True:
                try:
                    self.look(told)
                except SpliceError as error:  # the ledger is away, or the project's folder
                    log.warning("nothing is run for now: %s", error)
                time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def ending() -> Generator[None]:
    """Ends the process in good order on SIGTERM and SIGINT: what runs is left for another."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(0)

    before = {one: signal.signal(one, end) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def shown(run: PipelineRun) -> dict[str, object]:
    """A run as JSON values, with the hash, training and version that it names."""
    plain: dict[str, object] = msgspec.to_builtins(run)
    return {
        **plain,
        "data_sha256": run.data_sha256,
        "training": run.tracked,
        "version": run.version,
    }
