"""The program of a worker process: one model, one run at a time, over one socket.

Started as `python -m splice.adapters.pools.worker DESCRIPTOR` with the number of its end of a
socket pair. The first frame in is `Load`, the first out `Loaded`; then rows in, answers out, until
the socket ends. What the model prints goes nowhere.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec

from splice.adapters.child.conduct import die_with, leave_signals_to_parent
from splice.adapters.child.frames import read_body
from splice.adapters.pools.confine import confine
from splice.adapters.pools.wire import (
    MOST,
    Load,
    Loaded,
    Row,
    fault_of,
    frame_of,
    load_decoder,
    rows_of,
)
from splice.core.call import Prediction
from splice.core.errors import ModelUnavailable, RouteCrashed, RouteError
from splice.ports.runtimes import LoadedModel, ModelRuntime


def main(descriptor: int) -> None:
    """Serve runs until the socket ends."""
    leave_signals_to_parent()
    with socket.socket(fileno=descriptor) as line, line.makefile("rb") as pipe:
        line.setblocking(True)
        os.set_inheritable(descriptor, False)
        body = read_body(pipe, MOST)
        if body is None:
            return
        load = load_decoder.decode(body)
        confined = confine(load.memory_mb)
        sys.path += [folder for folder in load.path if folder not in sys.path]
        die_with(load.parent)  # after: a change of namespace makes the kernel forget it
        try:
            model = _load(load)
        except Exception as error:  # noqa: BLE001 - the process ends here; the parent raises it
            line.sendall(frame_of(Loaded(confined=confined, fault=_load_fault(error, load))))
            return
        line.sendall(frame_of(Loaded(model.signature, model.row_seconds, confined)))
        while (body := read_body(pipe, MOST)) is not None:
            line.sendall(_answer(model, body, load.label))


def _load(load: Load) -> LoadedModel:
    file = Path(load.file)
    if load.sha256:
        with file.open("rb") as raw:
            sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
        if sha256 != load.sha256:
            raise ModelUnavailable(
                load.label,
                got=f"a file of hash {sha256[:12]}…",
                promised=f"{load.sha256[:12]}…",
                mend="register the model again",
            )
    found = next(iter(entry_points(group="splice.runtimes", name=load.form)), None)
    if found is None:
        raise ModelUnavailable(load.label, got=f"no runtime for {load.form}")
    try:
        kind: Any = found.load()  # whatever the entry point names
    except ImportError as error:
        got = f"no library for {load.form}: {error.name or error}"
        raise ModelUnavailable(load.label, got=got, mend="install what it names") from None
    runtime: ModelRuntime = kind()
    return runtime.load(file, load.features, threads=load.threads)


def _load_fault(error: Exception, load: Load) -> Any:
    if isinstance(error, RouteError):
        return fault_of(error, load.label)
    # No row has come yet that this could quote.
    lines = str(error).strip().splitlines() or [""]
    said = f"{type(error).__name__}: {lines[0]}"[:300]
    return fault_of(ModelUnavailable(load.label, got=said), load.label)


def _answer(model: LoadedModel, body: bytes, label: str) -> bytes:
    """The frame with one result a row."""
    try:
        rows = _results(model, rows_of(body), label)
        return frame_of(rows)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        # The rows came from the parent and are well formed: an answer could not be written.
        count = len(rows_of(body))
        crash = RouteCrashed(label, got=f"an answer that is no plain value: {error}")
        return frame_of([Row(fault=fault_of(crash, label))] * count)


def _results(model: LoadedModel, rows: Sequence[dict[str, Any]], label: str) -> list[Row]:
    """One result a row. A bad row spoils only its own answer: halves of a batch are tried alone."""
    try:
        given: Sequence[Prediction] = model.run(rows)
    except RouteError as error:
        if len(rows) > 1:
            half = len(rows) // 2
            return [*_results(model, rows[:half], label), *_results(model, rows[half:], label)]
        return [Row(fault=fault_of(error, label))]
    except Exception as error:  # noqa: BLE001 - the model's own fault; the parent raises it
        return [Row(fault=fault_of(error, label))] * len(rows)
    if len(given) != len(rows):
        got = f"{len(given)} answers to {len(rows)} rows"
        return [Row(fault=fault_of(RouteCrashed(label, got=got), label))] * len(rows)
    return [Row(one) for one in given]


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except (BrokenPipeError, ConnectionResetError):
        os._exit(1)
    # Not by returning: threads that a model started would keep the process, and so would what it
    # does at exit.
    os._exit(0)
