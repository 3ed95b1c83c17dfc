"""The parent's end of the child process that runs llama.cpp.

One thread starts the child, reads its frames and sees it end; another writes, so that a child which
does not read blocks nobody. So it serves callers of any event loop, and the child, which the kernel
ends with the thread that started it, is started by one that lives as long.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import BinaryIO, cast

from splice.adapters.child.conduct import command
from splice.adapters.providers.frames import Frame, read_frame, write_frame


class ChildFailed(Exception):
    """The child could not load the model (`loading`), or ended with a call in flight."""

    def __init__(self, detail: str, *, loading: bool = False, missing: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.loading = loading
        self.missing = missing


class LlamaProcess:
    """One child, from its start to its end.

    Args:
        config: The first frame that the child reads.
        cancel_s: How long a cancelled call may go on before the child is killed for it.
    """

    def __init__(self, config: Frame, cancel_s: float) -> None:
        self._config = config
        self._cancel_s = cancel_s
        self._lock = threading.Lock()
        self._pending: dict[int, Future[Frame]] = {}
        self._hearing: dict[int, Callable[[Frame], None]] = {}
        self._outbox: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._number = 0
        self._child: subprocess.Popen[bytes] | None = None
        self.ending = ""
        self._over = False
        self.ready: Future[None] = Future()
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="splice-llama", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The child's process id, once it has one."""
        return self._child.pid if self._child is not None else None

    @property
    def alive(self) -> bool:
        """Whether it can take calls; asks the kernel, so a child killed just now does not count."""
        child = self._child
        return not self._over and (child is None or child.poll() is None)

    @property
    def busy(self) -> int:
        """Calls that the child still works on or has queued, cancelled ones included."""
        return len(self._pending)

    def complete(
        self, body: Frame, hear: Callable[[Frame], None] | None = None
    ) -> tuple[int, Future[Frame]]:
        """Send a call; the future gets the child's frame, or ChildFailed.

        `hear` gets every chunk of the answer before, in the thread that reads them.
        """
        answer: Future[Frame] = Future()
        with self._lock:
            self._number += 1
            number = self._number
            if self.ended.is_set():
                answer.set_exception(ChildFailed(self.ending or "it has ended"))
                return number, answer
            self._pending[number] = answer
            if hear is not None:
                self._hearing[number] = hear
        asked: Frame = {"do": "complete", "id": number, "body": body}
        self._outbox.put(asked | {"chunks": True} if hear is not None else asked)
        return number, answer

    def cancel(self, number: int) -> None:
        """Nobody waits for this call any more: stop it, and if it does not stop, kill the child."""
        if number not in self._pending:
            return
        self._outbox.put({"do": "cancel", "id": number})
        overdue = threading.Timer(self._cancel_s, self._kill_if_pending, [number])
        overdue.daemon = True
        overdue.start()

    def stop(self, grace_s: float = 5.0) -> None:
        """End the child and wait for it; blocks."""
        self.ending = self.ending or "it was closed"
        self._outbox.put(None)
        if not self.ended.wait(grace_s):
            self.kill("it did not end when it was closed")
            self.ended.wait(grace_s)

    def kill(self, why: str) -> None:
        """End the child at once."""
        self.ending = why
        if self._child is not None:
            self._child.kill()

    def _kill_if_pending(self, number: int) -> None:
        if number in self._pending:
            self.kill(f"killed: a cancelled call went on for {self._cancel_s:g} s")

    def _write(self, pipe: BinaryIO) -> None:
        """The writing thread: frames until there are no more, then the end of the child's stdin."""
        # A pipe that breaks means that the child has ended; the other thread tells the callers.
        with contextlib.suppress(OSError, ValueError):
            while (frame := self._outbox.get()) is not None:
                write_frame(pipe, frame)
        with contextlib.suppress(OSError):
            pipe.close()

    def _run(self) -> None:
        """The thread: start, read until the end, fail what is left."""
        reason = ""
        try:
            child = self._start()
            stdout = cast("BinaryIO", child.stdout)
            while (frame := read_frame(stdout)) is not None:
                self._heard(frame)
        except Exception as error:  # noqa: BLE001 - the thread ends here; callers get the reason
            reason = f"{type(error).__name__}: {error}"
        self._finish(reason)

    def _start(self) -> subprocess.Popen[bytes]:
        self._child = child = subprocess.Popen(  # noqa: S603 - a fixed command
            command("splice.adapters.providers.llama_worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._outbox.put({**self._config, "parent": os.getpid()})
        threading.Thread(
            target=self._write,
            args=[cast("BinaryIO", child.stdin)],
            name="splice-llama-write",
            daemon=True,
        ).start()
        return child

    def _heard(self, frame: Frame) -> None:
        if "ready" in frame:
            self.ready.set_result(None)
        elif "failed" in frame:
            self.ending = frame["failed"]
            failed = ChildFailed(frame["failed"], loading=True, missing=frame["missing"])
            self.ready.set_exception(failed)
        elif "chunk" in frame:
            hear = self._hearing.get(int(frame["id"]))
            if hear is not None:
                hear(frame["chunk"])
        else:
            with self._lock:
                answer = self._pending.pop(int(frame["id"]), None)
                self._hearing.pop(int(frame["id"]), None)
            if answer is not None:
                answer.set_result(frame)

    def _finish(self, reason: str) -> None:
        self._over = True  # before wait(), during which poll() in another thread says nothing
        child = self._child
        code: int | None = None
        if child is not None:
            if reason:
                child.kill()
            self._outbox.put(None)
            if child.stdout is not None:
                child.stdout.close()
            code = child.wait()
        with self._lock:
            self.ending = self.ending or reason or f"it ended with code {code}"
            left = list(self._pending.values())
            self._pending.clear()
            self._hearing.clear()
            self.ended.set()
        if not self.ready.done():
            self.ready.set_exception(ChildFailed(self.ending, loading=True))
        for answer in left:
            answer.set_exception(ChildFailed(self.ending))
