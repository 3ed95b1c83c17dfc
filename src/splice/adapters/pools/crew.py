"""The crew of a pool: a thread that starts its processes, watches them, and replaces them.

Whatever event loop asks, processes have one parent thread for as long as they live. Only that
thread starts, ends and buries; the lists that it shares with loops change under one lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import msgspec

from splice.adapters.pools.process import State, WorkerProcess
from splice.adapters.pools.waiting import Desk
from splice.adapters.pools.wire import Load, Loaded, error_of, loaded_of
from splice.core.errors import ModelUnavailable, RouteError
from splice.ports.hosts import PoolPlan, PoolTally

_LOG = logging.getLogger("splice.pools")

OVERRUN_SECONDS = 1.0
"""How long a run may go on that nobody waits for.

To end the process at once would make every call that is a little late cost a start; not to end it
would let a stuck model keep its place for good.
"""

_LOOK_SECONDS = 0.05
_PRESSURE_SECONDS = 0.2  # that runs must have waited, less those that none did, to add a process
# A process that lived so long, or answered so many runs, is no sign that the next will not.
_SETTLED_SECONDS, _SETTLED_RUNS = 10.0, 10
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0


class Crew:
    """All processes of one pool.

    Args:
        load: What each is told first.
        plan: How many there are, and what each may take.
    """

    def __init__(self, load: Load, plan: PoolPlan) -> None:
        self._load = load
        self._plan = plan
        self._tally = plan.tally or PoolTally()
        self._most = max(plan.processes, plan.most_processes)
        self._wanted = plan.processes
        self._all: list[WorkerProcess] = []
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._bell, self._clapper = socket.socketpair()
        self._bell.setblocking(False)
        self._clapper.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._pressed = 0.0
        self._looked = 0.0
        self._ends = 0  # of processes that did not settle, in a row
        self._ending = False
        self.desk = Desk(load.label, self.lost)
        self.loaded: Loaded | None = None
        self.first: Future[Loaded] = Future()  # of the first process: ready, or why not
        self.over = threading.Event()
        threading.Thread(target=self._run, name=f"pool {load.label}", daemon=True).start()

    @property
    def lanes(self) -> int:
        """Runs to send at once: one more than can be taken where that brings another process."""
        ready = self.desk.ready
        return max(1, ready + 1 if ready < self._most else ready)

    @property
    def pids(self) -> list[int]:
        """The numbers of its processes."""
        return [one.pid for one in self._all]

    # From any thread. ----------------------------------------------------------------------------

    def take(
        self, loop: asyncio.AbstractEventLoop
    ) -> WorkerProcess | asyncio.Future[WorkerProcess]:
        """A process for a run, or a future of one. One of the three below ends it.

        Raises:
            ModelUnavailable: None will be there soon.
        """
        found = self.desk.take(loop)
        if self._wanted < self._most and not isinstance(found, WorkerProcess):
            self._ring()  # to look whether it waits for long
        return found

    def give_back(self, process: WorkerProcess) -> None:
        """Its run has ended, and it may have the next."""
        if not self.desk.rests(process):
            self._order(lambda: self._lost(process))

    def abandon(self, process: WorkerProcess) -> None:
        """Nobody waits for its run any more: it is read to its end for a while."""
        self._order(lambda: self._overrun(process))

    def lost(self, process: WorkerProcess, why: str = "") -> None:
        """It has closed its line, or `why` says why it must end; `process.how` will tell."""
        if why:
            process.why = process.why or why
        self._order(lambda: self._lost(process))

    def end_soon(self) -> None:
        """End everything. Blocks never and takes no lock: the garbage collector may call it."""
        self._ending = True
        self._ring()

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.put(order)
        self._ring()
        if self.over.is_set():
            self._obey()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # it rings already, or the crew is gone
            self._clapper.send(b"\0")

    # The thread. ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ending:
                self._tend()
                for key, _ in self._selector.select(self._nap()):
                    if isinstance(key.data, WorkerProcess):
                        self._hear(key.data)
                with contextlib.suppress(BlockingIOError):
                    while self._bell.recv(4096):
                        pass
                self._obey()
        except Exception as error:  # noqa: BLE001 - the thread ends here; callers get the reason
            _LOG.error("pool %s ended: %s", self._load.label, error, exc_info=error)
        self._end_all()

    def _obey(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._orders.get_nowait()()

    def _nap(self) -> float:
        """How long there is surely nothing to do, unless something wakes us."""
        now = time.monotonic()
        timed = any(one.until or one.why for one in self._all)
        grows = self._wanted < self._most and (self._pressed or self.desk.somebody_waits())
        if timed or grows or self._plan.memory_mb is not None or not WorkerProcess.WAKES:
            return _LOOK_SECONDS
        if len(self._all) < self._wanted:
            return min(1.0, max(0.0, self.desk.not_before - now))
        return 1.0

    def _tend(self) -> None:
        """Bury what has ended, end what is overdue or too large, start what is missing."""
        now = time.monotonic()
        for process in list(self._all):
            how = process.ended()
            if how is not None:
                self._bury(process, how)
            elif process.why:
                process.kill()  # it was told already: whatever it forked meanwhile goes too
            elif process.until and now > process.until:
                self._overdue(process)
            elif self._plan.memory_mb is not None:
                took = process.memory() >> 20
                if took > self._plan.memory_mb:
                    why = f"it took {took} MB, allowed {self._plan.memory_mb} MB"
                    self._condemn(process, why, "memory")
        if self._most > self._plan.processes:
            self._resize(now)
        while len(self._all) < self._wanted and now >= self.desk.not_before and not self._ending:
            self._start(now)

    def _overdue(self, process: WorkerProcess) -> None:
        if process.state is State.STARTING:
            seconds = f"{self._plan.start_seconds:g} s"
            self._condemn(process, f"it did not load the model within {seconds}", "start")
        elif process.state is State.OVERRUN:
            why = f"its run went on {OVERRUN_SECONDS:g} s after nobody waited for it any more"
            self._condemn(process, why, "timeout")
        else:
            self._condemn(process, "it closed its line")

    def _resize(self, now: float) -> None:
        starting = any(one.state is State.STARTING for one in self._all)
        pressed = self.desk.somebody_waits() and not starting
        since = min(now - self._looked, 2 * _LOOK_SECONDS)
        self._looked = now
        self._pressed = max(0.0, self._pressed + (since if pressed else -since))
        if self._pressed >= _PRESSURE_SECONDS and self._wanted < self._most:
            self._pressed, self._wanted = 0.0, self._wanted + 1
        if self._plan.processes < self._wanted <= len(self._all):
            spare = self.desk.spare(now - self._plan.idle_seconds)
            if spare is not None:
                self._wanted -= 1
                self._condemn(spare, "it had nothing to do", "")

    def _start(self, now: float) -> None:
        try:
            process = WorkerProcess(self._load, self._plan.environment)
        except OSError as error:  # no more processes, descriptors, or room for its folder
            self._failed(ModelUnavailable(self._load.label, got=f"no new process: {error}"))
            return
        process.until = now + self._plan.start_seconds
        self._all.append(process)
        self._selector.register(process.sock, selectors.EVENT_READ, process)
        if process.wakes is not None:
            self._selector.register(process.wakes, selectors.EVENT_READ)

    def _hear(self, process: WorkerProcess) -> None:
        """A process that loads, or whose run nobody waits for, has sent something."""
        try:
            body = process.hear()
            if body is None:
                return
            said = loaded_of(body) if process.state is State.STARTING else None
        except EOFError:
            self._selector.unregister(process.sock)
            self._lost(process)
            return
        except (ValueError, msgspec.MsgspecError, RecursionError):
            self._selector.unregister(process.sock)
            self._condemn(process, "it sent what is no answer")
            return
        self._selector.unregister(process.sock)
        if said is not None and (said.fault is not None or said.signature is None):
            missing = ModelUnavailable(self._load.label, got="a model without a signature")
            process.trouble = missing if said.fault is None else error_of(said.fault)
            self._condemn(process, process.trouble.detail, "start")
            return
        if said is not None:
            self._is_ready(process, said)
        self.give_back(process)

    def _is_ready(self, process: WorkerProcess, said: Loaded) -> None:
        process.ready_since = time.monotonic()
        self._tally.has(1)
        self.desk.has(1)
        self.loaded = said
        if not self.first.done():
            self.first.set_result(said)
            force = ", ".join(said.confined) or "none of the kernel's own bounds"
            _LOG.info("pool %s: ready, in force: %s", self._load.label, force)

    def _overrun(self, process: WorkerProcess) -> None:
        if process.state is not State.BUSY or process.why or not process.sent:
            # Half a frame has gone out, perhaps: what would follow cannot be read.
            self.lost(process, "its run was given up")
            return
        try:
            whole = process.whole()
        except ValueError:
            self.lost(process, "it sent what is no answer")
            return
        if whole:  # it came just as its caller went away
            self.give_back(process)
            return
        process.state = State.OVERRUN
        process.until = time.monotonic() + OVERRUN_SECONDS
        self._selector.register(process.sock, selectors.EVENT_READ, process)

    def _lost(self, process: WorkerProcess) -> None:
        if process.state is State.ENDED:
            process.sock.close()
            return
        process.state = State.LEAVING
        process.until = time.monotonic() + OVERRUN_SECONDS
        if process.why:
            process.kill()

    def _condemn(self, process: WorkerProcess, why: str, reason: str = "crashed") -> None:
        """End it; a run that has it sees the end of its line. It is buried when it is dead."""
        process.why, process.reason = why, reason
        self.desk.drop(process)
        process.kill()

    def _bury(self, process: WorkerProcess, how: str) -> None:
        was = process.state
        self._all.remove(process)
        self.desk.drop(process)
        process.state = State.ENDED
        for registered in (process.sock, process.wakes):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(registered or -1)
        process.bury(how, close=was is not State.BUSY)
        if process.ready_since:
            self._tally.has(-1)
            self.desk.has(-1)
        if process.reason and not self._ending:
            self._tally.restarted(process.reason if process.ready_since else "start")
            _LOG.warning("pool %s: a process ended: %s", self._load.label, how)
            got = how if process.ready_since else f"a process that could not load it: {how}"
            trouble = process.trouble or ModelUnavailable(self._load.label, got=got)
            self._failed(trouble, process)

    def _failed(self, trouble: RouteError, process: WorkerProcess | None = None) -> None:
        """Replace it at once, or later where that has not helped."""
        now = time.monotonic()
        was_ready = process is not None and process.ready_since > 0
        settled = process is not None and (
            process.runs >= _SETTLED_RUNS
            or (was_ready and now - process.ready_since > _SETTLED_SECONDS)
        )
        self._ends = 0 if settled else self._ends + 1
        # All of a pool may end together, once; after that it lies in the model.
        over = self._ends - (self._plan.processes if was_ready else 0)
        if over > 0:
            wait = min(_FIRST_WAIT * 2.0 ** min(over - 1, 16), _LONGEST_WAIT)
            self.desk.not_before = now + wait
        self.desk.failed(trouble, could_start=was_ready)
        if not self.first.done():
            self.first.set_exception(trouble)

    def _end_all(self) -> None:
        self._ending = True
        for process in self._all:
            self._condemn(process, "the pool was closed", "")
        for process in list(self._all):
            process.child.wait()
            self._bury(process, "the pool was closed")
        closed = ModelUnavailable(self._load.label, got="a pool that is closed")
        if not self.first.done():
            self.first.set_exception(closed)
        self.desk.close(closed)
        self._selector.close()
        self.over.set()
        self._obey()
        self._bell.close()
        self._clapper.close()
