"""Explaining: attributions of recorded answers, worked out beside the calls, in bounded time."""

from __future__ import annotations

import importlib.util
import logging
import os
import select
import subprocess
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, cast

import msgspec

from splice.adapters.child.conduct import command
from splice.adapters.child.frames import framed, read_body
from splice.app.explaining_child import MOST, Job
from splice.core.call import Record, Status
from splice.core.errors import SpliceError
from splice.core.explanations import Attributions, route_of
from splice.core.release import PinnedRoute, Release
from splice.monitor.attributions import recorded_number
from splice.ports.stores import CallFilter, ModelStore, RecordStore

log = logging.getLogger("splice.explaining")

LONGEST_S = 60.0
"""The longest that one may take, the start of the process (some seconds) included."""
BACKGROUND, LEAST = 40, 5
"""Calls of the same release that a feature's other values are taken from."""
_KEPT = 500


class Explaining:
    """Works out attributions one after the other, and keeps them.

    Args:
        models: Where the bytes of models are.
        records: What else was asked.
        longest_s: The longest that one may take.
    """

    def __init__(
        self, models: ModelStore, records: RecordStore, longest_s: float = LONGEST_S
    ) -> None:
        self._models = models
        self._records = records
        self._longest_s = longest_s
        self._known: OrderedDict[str, Future[Attributions]] = OrderedDict()
        self._changing = threading.Lock()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="explaining")
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def attributions(
        self, record: Record, release: Release | None, wait_s: float = 0.0
    ) -> Attributions | None:
        """What the answer rests on, or why that cannot be told; None while it is worked out."""
        why = cannot(record, release)
        if why:
            return Attributions(why=why)
        with self._changing:
            future = self._known.get(record.call_id)
            if future is None:
                if self._closed:
                    return Attributions(why="this process is about to end")
                route = cast("PinnedRoute", route_of(release, record.version))
                future = self._threads.submit(self._made, record, route)
                self._known[record.call_id] = future
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        try:
            return future.result(wait_s) if wait_s or future.done() else None
        except TimeoutError:
            return None

    def close(self) -> None:
        """End the process that works them out."""
        with self._changing:
            self._closed = True
        self._end()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _made(self, record: Record, route: PinnedRoute) -> Attributions:
        try:
            found = self._asked(record, route)
        except SpliceError as error:
            found = Attributions(why=str(error))
        except Exception as error:  # a page says why, and the log where
            log.exception("no attributions of %s", record.call_id)
            found = Attributions(why=f"{type(error).__name__}: {error}"[:300])
        if found.why:
            return found
        recorded = recorded_number(_json(record.prediction), found.of)
        return msgspec.structs.replace(found, recorded=recorded, model=route.version)

    def _asked(self, record: Record, route: PinnedRoute) -> Attributions:
        row = seen(record)
        if row is None:
            return Attributions(why="what the model saw is not recorded")
        background = self._background(record)
        if len(background) < LEAST:
            return Attributions(
                why=f"only {len(background)} other calls of release {record.release} are recorded "
                f"with what was asked, and it takes {LEAST} to compare with"
            )
        job = Job(str(self._models.file(route.sha256)), route.features, row, background)
        return self._run(msgspec.json.encode(job))

    def _background(self, record: Record) -> list[dict[str, Any]]:  # JSON objects
        wanted = CallFilter(
            integration=record.integration, release=record.release, status=Status.ANSWERED,
            limit=4 * BACKGROUND,
        )  # fmt: skip
        ids = [one.call_id for one in self._records.find(wanted) if one.call_id != record.call_id]
        found = self._records.get_many(ids[::2] if len(ids) > 2 * BACKGROUND else ids)
        rows = (seen(found[one]) for one in ids if one in found)
        return [one for one in rows if one is not None][:BACKGROUND]

    def _run(self, job: bytes) -> Attributions:
        until = time.monotonic() + self._longest_s
        child = self._child
        if child is None or child.poll() is not None:
            child = self._started()
        to, back = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
        try:
            to.write(framed(job))
            to.flush()
            if not select.select([back], [], [], max(0.0, until - time.monotonic()))[0]:
                self._end()
                return Attributions(why=f"it took longer than {self._longest_s:g} s")
            body = read_body(back, MOST)
        except OSError:
            body = None
        if body is None:
            self._end()
            return Attributions(why="the process that works it out ended (was memory short?)")
        return msgspec.json.decode(body, type=Attributions)

    def _started(self) -> subprocess.Popen[bytes]:
        self._end()
        # Told its parent: it must not outlive it, and its thread lives as long as this object.
        child = subprocess.Popen(  # noqa: S603 - a module of ours, and a number
            command("splice.app.explaining_child", str(os.getpid())),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=-1,
        )  # fmt: skip
        self._child = child
        return child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def cannot(record: Record, release: Release | None) -> str:
    """Why it cannot be told what an answer rests on; empty where it may be."""
    route = route_of(release, record.version)
    if record.status is not Status.ANSWERED:
        return "there is no answer"
    if release is None or route is None:
        return f"release {record.release} does not name what answered ({record.version or 'none'})"
    if route.kind == "rule":
        return "a rule answered, and no model: what it rests on is in its source"
    if route.kind == "llm":
        return "a language model answered: what it was told is below"
    if (route.format or "onnx") != "onnx":
        return f"a model of format {route.format} runs in a process or on a server of its own"
    if importlib.util.find_spec("shap") is None:
        return "the library shap is not installed: pip install 'splice-ai[explain]'"
    return "" if record.input else "what was asked is not recorded"


def seen(record: Record) -> dict[str, Any] | None:  # a JSON object
    """What the routes saw: the context, or the request where there was none."""
    found = _json(record.input if record.context is None else record.context)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _json(document: bytes | None) -> Any:
    try:
        return msgspec.json.decode(document) if document else None
    except msgspec.DecodeError:
        return None
