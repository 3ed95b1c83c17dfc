"""A pool of worker processes: a model that runs isolated from the server, and scales by itself."""

from __future__ import annotations

import asyncio
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any

import msgspec

from splice.adapters.pools.crew import Crew
from splice.adapters.pools.process import WorkerProcess
from splice.adapters.pools.wire import Load, Sent, answers_of, run_of
from splice.core.call import Prediction, Trace
from splice.core.errors import RouteCrashed, RouteError, RouteTimeout
from splice.core.release import PinnedRoute, Signature
from splice.ports.hosts import PoolPlan

_START_PATIENCE = 10.0
"""How long a release waits for the first process.

A model that takes longer to load takes calls when it is ready, and they go to the next route until
then: a rollback must not wait for a minute.
"""

_DEATH_SECONDS = 2.0  # from the end of its line until how it ended is known; milliseconds as a rule
_TRIES = 3  # of a run that has met processes which were gone before it was sent


def open_pool(file: Path, pinned: PinnedRoute, plan: PoolPlan) -> Pool:
    """A pool of a model: see `splice.ports.hosts.OpenPool`."""
    load = Load(
        parent=0,  # known when it is started
        file=str(file.resolve()),
        sha256=pinned.sha256,
        form=pinned.format or "onnx",
        label=pinned.label,
        features=pinned.features,
        threads=plan.threads,
        path=tuple(folder for folder in sys.path if folder and Path(folder).is_dir()),
        memory_mb=plan.memory_mb,
    )
    crew = Crew(load, plan)
    try:
        # A little longer than it may take, so that the verdict of the crew is heard.
        crew.first.result(min(plan.start_seconds + 1.0, _START_PATIENCE))
    except NotYet:
        pass  # it may be ready later
    except RouteError:
        crew.end_soon()
        raise
    return Pool(crew, load)


class Pool:
    """A HostedModel over worker processes of its own. They end when nothing refers to it."""

    def __init__(self, crew: Crew, load: Load) -> None:
        self._crew = crew
        self._label = load.label
        self._features = load.features
        self._names: tuple[str, ...] | None = None
        # The crew's thread holds the crew, and the crew does not hold the pool.
        weakref.finalize(self, crew.end_soon)

    @property
    def signature(self) -> Signature | None:
        """What its model reads and gives, as its first process said; None until then."""
        loaded = self._crew.loaded
        return None if loaded is None else loaded.signature

    @property
    def confined(self) -> tuple[str, ...]:
        """Which of the kernel's bounds are in force; empty until the first process is ready."""
        loaded = self._crew.loaded
        return () if loaded is None else loaded.confined

    @property
    def lanes(self) -> int:
        """Runs that it takes at once."""
        return self._crew.lanes

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return self._crew.pids

    async def infer(
        self, rows: Sequence[Mapping[str, Any]], timeout_s: float, trace: Trace | None = None
    ) -> list[Prediction | RouteError]:
        """See `splice.ports.hosts.HostedModel`. A process knows no trace."""
        if not rows:
            return []
        loop = asyncio.get_running_loop()
        sent = run_of(rows, self._reads(), self._label)
        if not sent.count:
            return sent.whole(())
        process: WorkerProcess | None = None
        try:
            async with asyncio.timeout(timeout_s):
                for _ in range(_TRIES):
                    found = self._crew.take(loop)
                    taken = isinstance(found, WorkerProcess)
                    process = found if taken else await self._taken(found)
                    answers = await self._run(process, sent)
                    if answers is not None:
                        return sent.whole(answers)
        except TimeoutError:
            got = f"no answer within {timeout_s:.3g} s"
            if process is None:
                got = f"no worker process for it within {timeout_s:.3g} s"
            raise RouteTimeout(self._label, got=got) from None
        raise RouteCrashed(self._label, got=f"{_TRIES} processes that had ended")

    async def _taken(self, found: asyncio.Future[WorkerProcess]) -> WorkerProcess:
        try:
            return await found
        except BaseException:
            if found.done() and not found.cancelled() and found.exception() is None:
                self._crew.give_back(found.result())  # it came as we were given up
            raise

    async def _run(
        self, process: WorkerProcess, sent: Sent
    ) -> list[Prediction | RouteError] | None:
        """The answers of a process; None where it had ended before the run was sent."""
        crew = self._crew
        try:
            body = await process.run(sent.frame)
            answers = answers_of(body, sent.count, self._label)
        except EOFError:
            crew.lost(process)
            if not process.sent:
                return None
            how = await _how_it_ended(process)
            raise RouteCrashed(self._label, got=f"its process ended: {how}") from None
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            crew.lost(process, "it sent what is no answer")
            got = f"what is no answer from its process: {error}"
            raise RouteCrashed(self._label, got=got) from None
        except BaseException:  # given up: the time is over, or nobody waits any more
            crew.abandon(process)
            raise
        process.runs += 1
        crew.give_back(process)
        return answers

    def _reads(self) -> tuple[str, ...] | None:
        """The names that the model reads: nothing else of a row is sent to its process."""
        if self._names is None:
            signature = self.signature
            if signature is None:
                return None
            names = [*self._features, *signature.features, *(c.name for c in signature.inputs)]
            self._names = tuple(dict.fromkeys(names))
        return self._names

    async def close(self) -> None:
        """End its processes; runs on their way fail."""
        self._crew.end_soon()
        await asyncio.to_thread(self._crew.over.wait)


async def _how_it_ended(process: WorkerProcess) -> str:
    give_up = time.monotonic() + _DEATH_SECONDS
    while not process.how and time.monotonic() < give_up:
        await asyncio.sleep(0.002)
    return process.how or "it closed its line"
