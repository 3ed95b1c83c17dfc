"""The desk of a pool: processes that rest, and runs that wait for one. For any thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from splice.adapters.pools.process import State, WorkerProcess
from splice.core.errors import ModelUnavailable, RouteError

_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[WorkerProcess]"]


class Desk:
    """Brings runs and processes together; whoever came first is served first.

    Args:
        label: Names the pool in errors.
        lost: Told of a process that is not to be used, and that no run has any more.
    """

    def __init__(self, label: str, lost: Callable[[WorkerProcess], None]) -> None:
        self._label = label
        self._lost = lost
        self._lock = threading.Lock()
        self._idle: list[WorkerProcess] = []  # the one that rested shortest is last, and used first
        self._waiting: deque[_Waiter] = deque()
        self._trouble: RouteError | None = None  # why there is no process, as the last one told
        self._can_start = True
        self._closed: RouteError | None = None
        self.ready = 0
        self.not_before = 0.0  # when the next process may be started

    def has(self, more: int) -> None:
        """So many more processes have loaded the model, or fewer."""
        with self._lock:
            self.ready += more
            if more > 0:
                self._can_start = True

    def take(
        self, loop: asyncio.AbstractEventLoop
    ) -> WorkerProcess | asyncio.Future[WorkerProcess]:
        """A process that rests, or a future of the next.

        Raises:
            ModelUnavailable: None will be there soon: the next route may answer in the meantime.
        """
        with self._lock:
            if self._closed is not None:
                raise self._closed
            if self._idle:
                process = self._idle.pop()
                process.state = State.BUSY
                return process
            if not self.ready and not (self._can_start and time.monotonic() >= self.not_before):
                raise self._away()
            future: asyncio.Future[WorkerProcess] = loop.create_future()
            self._waiting.append((loop, future))
            return future

    def rests(self, process: WorkerProcess) -> bool:
        """Its run has ended: the next one that waits gets it. False where it is not to be used."""
        with self._lock:
            if process.why or process.state in (State.ENDED, State.LEAVING):
                return False
            process.state = State.IDLE
            process.until = 0.0
            process.rested_since = time.monotonic()
            self._idle.append(process)
        self._hand_out()
        return True

    def drop(self, process: WorkerProcess) -> None:
        """It is not to be used any more."""
        with self._lock:
            if process in self._idle:
                self._idle.remove(process)

    def spare(self, before: float) -> WorkerProcess | None:
        """The process that has rested longest, if it has rested since before a time."""
        with self._lock:
            if self._idle and self._idle[0].rested_since < before:
                return self._idle.pop(0)
        return None

    def somebody_waits(self) -> bool:
        """Whether a run waits for a process."""
        with self._lock:
            self._forget_gone()
            return bool(self._waiting)

    def failed(self, trouble: RouteError, *, could_start: bool) -> None:
        """A process ended. Where none will be there soon, those who wait go to their next route."""
        with self._lock:
            self._trouble = trouble
            self._can_start = self._can_start and could_start
            soon = self._can_start and time.monotonic() >= self.not_before
        if not self.ready and not soon:
            self._turn_away(self._away())

    def close(self, closed: RouteError) -> None:
        """No run gets a process any more."""
        with self._lock:
            self._closed = closed
        self._turn_away(closed)

    def _away(self) -> ModelUnavailable:
        left = max(0.0, self.not_before - time.monotonic())
        why = self._trouble.detail if self._trouble is not None else ""
        return ModelUnavailable(
            self._label,
            got=f"no worker process: {why}",
            mend=f"the next is started in {left:.1f} s" if left else "the next is starting",
        )

    def _turn_away(self, error: RouteError) -> None:
        with self._lock:
            waiting, self._waiting = list(self._waiting), deque()
        for loop, future in waiting:
            with contextlib.suppress(RuntimeError):  # its loop was closed: nobody waits in it
                loop.call_soon_threadsafe(_refuse, future, error)

    def _hand_out(self) -> None:
        here = asyncio._get_running_loop()  # pyright: ignore[reportPrivateUsage]
        while True:
            with self._lock:
                self._forget_gone()
                if not (self._waiting and self._idle):
                    return
                loop, future = self._waiting.popleft()
                process = self._idle.pop()
                process.state = State.BUSY
            if loop is here:
                self._deliver(future, process)
                continue
            try:
                loop.call_soon_threadsafe(self._deliver, future, process)
            except RuntimeError:  # as above; the process is for another
                with self._lock:
                    process.state = State.IDLE
                    self._idle.append(process)

    def _deliver(self, future: asyncio.Future[WorkerProcess], process: WorkerProcess) -> None:
        if not future.done():
            future.set_result(process)
        elif not self.rests(process):  # given up meanwhile
            self._lost(process)

    def _forget_gone(self) -> None:
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()


def _refuse(future: asyncio.Future[WorkerProcess], error: RouteError) -> None:
    if not future.done():
        future.set_exception(error)
