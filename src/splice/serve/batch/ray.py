"""Ray Data as the engine of a batch: workers of this host, each with the release loaded once.

Ray gets no rows and no secrets, only the names of files in the folder of the job: what is to be
asked stands in them, a chunk in each, so that a chunk whose worker died is given to another.
Each worker writes to the ledger by itself; lines come back here, in their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec

from splice.core.errors import Draining, SettingsError, SpliceError, Stopped
from splice.core.validation import NotValidated
from splice.serve.batch.asking import Answers, Given, Todo, todo_of
from splice.serve.batch.plan import Plan
from splice.serve.batch.rows import Row

ROUND = 256
"""Chunks that Ray is given at once: so much of the input lies in the job's folder a second time."""
_LAST_RUN_S = 60.0
_STORE_BYTES = 256 << 20
_POLL_S = 0.1
_LOCK, _ENDING, _TEMP, _TRIES = "workers", "ending", "ray", ".tries"
_MOST_TRIES = 4
_REFUSALS = {kind.code: kind for kind in (Stopped, NotValidated, Draining)}

_encode = msgspec.msgpack.Encoder().encode
_todos = msgspec.msgpack.Decoder(list[Todo]).decode


class Worker(Protocol):
    """What asks in a process of Ray's."""

    async def ask(self, todo: list[Todo]) -> Answers:
        """The lines of some rows, recorded."""
        ...

    async def end(self) -> None:
        """Begin no further call; returns when those that run have ended and are recorded."""
        ...


Opened: TypeAlias = "Callable[[], Awaitable[Worker]]"
"""Opens a worker in its process. It is pickled: what it holds is seen by Ray."""


class _Found(msgspec.Struct):
    """What came of a chunk: its lines, or why it was not asked to its end."""

    lines: list[dict[str, Any]]
    known: int = 0
    refusal: tuple[str, str, str, str] | None = None  # code, where, what came, the mend


_found = msgspec.msgpack.Decoder(_Found).decode


class RayAsking:
    """Asks in workers of Ray Data; see `Asking`.

    A worker that dies is started anew, and what it had in hand is given to it again: what it had
    recorded of that is not asked again. Ray listens on the loopback interface only, is started for
    this run and ends with it.

    Args:
        parts: The folder of the job.
        opened: Opens a worker.
        workers: How many, each in a process.

    Raises:
        SettingsError: Ray is not installed.
    """

    def __init__(self, parts: Path, opened: Opened, workers: int) -> None:
        try:
            ray: Any = importlib.import_module("ray")  # an optional dependency, and a heavy one
            importlib.import_module("ray.data")
        except ImportError as error:
            raise SettingsError(
                "--engine ray", got=str(error), mend="install splice-ai[ray]"
            ) from error
        self._ray = ray
        self._parts = parts.resolve()
        self._opened = opened
        self._workers = workers

    async def answers(
        self, plan: Plan, chunks: Iterator[list[Row]], given: Given | None
    ) -> AsyncGenerator[Answers]:
        """See `Asking`."""
        loop = asyncio.get_running_loop()
        with (
            ThreadPoolExecutor(1, thread_name_prefix="splice-ray") as thread,
            # Ray tells of lost workers on stdout, which is for the result of the command.
            contextlib.redirect_stdout(sys.stderr),
        ):
            started = False
            try:
                while done := await loop.run_in_executor(
                    thread, self._write, plan, islice(chunks, ROUND), given
                ):
                    if not started:
                        started = True
                        await asyncio.shield(loop.run_in_executor(thread, self._start))
                    found = self._round(len(done))
                    try:
                        for share in done:
                            one = await asyncio.shield(
                                loop.run_in_executor(thread, next, found, None)
                            )
                            yield _answers(one, share)
                    except BaseException:
                        (self._parts / _ENDING).touch()  # what runs may end, nothing begins
                        await loop.run_in_executor(thread, _exhaust, found)
                        raise
            finally:
                if started:
                    await loop.run_in_executor(thread, self._stop)

    def _write(self, plan: Plan, chunks: Iterator[list[Row]], given: Given | None) -> list[float]:
        """Puts what is to be asked into files; how far each of them is into the input."""
        done: list[float] = []
        for chunk in chunks:
            # Not durable, and no need to be: every run writes its own.
            file = self._file(len(done))
            file.write_bytes(_encode(todo_of(plan, chunk, given)))
            file.with_suffix(_TRIES).unlink(missing_ok=True)
            done.append(chunk[-1].done)
        return done

    def _file(self, number: int) -> Path:
        return self._parts / f"{number:05d}.todo"

    def _round(self, count: int) -> Iterator[_Found]:
        """The answers of the files, in their order."""
        ray = self._ray
        files = [{"file": str(self._file(number))} for number in range(count)]
        made = ray.data.from_items(files, override_num_blocks=count).map_batches(
            _Asked,
            fn_constructor_args=(self._opened, str(Path.cwd()), str(self._parts)),
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(size=min(self._workers, count)),
        )
        try:
            for row in made.iter_rows():
                yield _found(row["found"])
        except ray.exceptions.RayError as error:
            raise SpliceError(
                "--engine ray",
                got=_last_words(error),
                mend="the same command goes on; with --engine local too",
            ) from None

    def _start(self) -> None:
        """Starts Ray, once no worker of a run that was killed is left."""
        self._wait_for_the_dead()
        with contextlib.suppress(OSError):
            shutil.rmtree((self._parts / _TEMP).read_text(), ignore_errors=True)
        (self._parts / _ENDING).unlink(missing_ok=True)
        # The paths of its sockets may have 107 bytes; the system's own folder may be deep.
        short = tempfile.gettempdir() if len(tempfile.gettempdir()) < 30 else "/tmp"  # noqa: S108
        temp = tempfile.mkdtemp(prefix="splice-", dir=short)
        (self._parts / _TEMP).write_text(temp)
        logging.getLogger("ray").setLevel(logging.ERROR)
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray = self._ray
        ray.init(
            address="local",
            num_cpus=self._workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=temp,
        )
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False

    def _wait_for_the_dead(self) -> None:
        until = time.monotonic() + _LAST_RUN_S
        with (self._parts / _LOCK).open("wb") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise SettingsError(
                            self._parts.name, got="workers of an earlier run, which still work",
                            mend="wait for their end, or end them",
                        ) from None  # fmt: skip
                    time.sleep(_POLL_S)
                else:
                    return

    def _stop(self) -> None:
        self._ray.shutdown()
        with contextlib.suppress(OSError):
            shutil.rmtree((self._parts / _TEMP).read_text(), ignore_errors=True)
        ours = [one for ending in (".todo", _TRIES) for one in self._parts.glob(f"*{ending}")]
        for file in (*ours, self._parts / _TEMP, self._parts / _ENDING):
            file.unlink(missing_ok=True)


class _Asked:
    """Answers files of rows, in a process of Ray's."""

    def __init__(self, opened: Opened, folder: str, parts: str) -> None:
        os.chdir(folder)
        self._ending = Path(parts, _ENDING)
        # Held as long as this process lives: the next run waits for it.
        fcntl.flock(os.open(Path(parts, _LOCK), os.O_RDONLY), fcntl.LOCK_SH)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._worker = self._wait(opened())

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[bytes]]:
        return {"found": [_encode(self._wait(self._ask(str(one)))) for one in batch["file"]]}

    def _wait(self, work: Any) -> Any:  # a coroutine, and what it gives
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _ask(self, file: str) -> _Found:
        # Ray would give a chunk that kills its worker to the next for ever.
        with Path(file).with_suffix(_TRIES).open("ab") as tries:
            tries.write(b".")
            if tries.tell() > _MOST_TRIES:
                died = f"a chunk whose worker died {_MOST_TRIES} times"
                mend = "--engine local shows what the process dies of"
                return _Found([], 0, (SpliceError.code, "--engine ray", died, mend))
        watch = asyncio.ensure_future(self._watch())
        refusal = Draining("--engine ray", got="the end of the run")
        try:
            await asyncio.sleep(0)  # it may be the end already
            answers = await self._worker.ask(_todos(Path(file).read_bytes()))
            return _Found(answers.lines, answers.known)
        except asyncio.CancelledError:
            pass
        except (Stopped, Draining) as error:
            refusal = error
        finally:
            watch.cancel()
        await self._worker.end()  # Ray ends this process without asking
        return _Found([], 0, (refusal.code, refusal.where, refusal.got, refusal.mend))

    async def _watch(self) -> None:
        while not self._ending.exists():
            await asyncio.sleep(_POLL_S)
        await self._worker.end()


def _answers(found: _Found | None, share: float) -> Answers:
    if found is None:
        raise SpliceError("--engine ray", got="fewer answers than chunks")
    if found.refusal is None:
        return Answers(found.lines, found.known, share)
    code, where, got, mend = found.refusal
    raise _REFUSALS.get(code, SpliceError)(where, got=got, mend=mend)


def _exhaust(found: Iterator[_Found]) -> None:
    with contextlib.suppress(SpliceError):
        for _ in found:
            pass


def _last_words(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
