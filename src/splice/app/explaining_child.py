"""The process that asks a model again, many times over, to tell what its answer rests on.

It reads jobs from its standard input and writes what it found, and ends when it is asked nothing
for a while: the library that it uses takes 300 MB.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from pathlib import Path
from typing import Any

import msgspec

from splice.adapters.child.conduct import die_with, leave_signals_to_parent
from splice.adapters.child.frames import framed, read_body
from splice.app.plugins import available
from splice.core.errors import SpliceError
from splice.core.explanations import Attributions
from splice.monitor.attributions import attributions
from splice.ports.runtimes import LoadedModel

IDLE_S = 300.0
MOST = 64 << 20
_MODELS = 4


class Job(msgspec.Struct, frozen=True):
    """A model's file, and what it was asked; rows are JSON objects."""

    file: str
    features: tuple[str, ...]
    row: dict[str, Any]
    background: list[dict[str, Any]]


class _Models:
    def __init__(self) -> None:
        self._loaded: dict[tuple[str, tuple[str, ...]], LoadedModel] = {}

    def of(self, job: Job) -> LoadedModel:
        key = (job.file, job.features)
        if key not in self._loaded:
            runtime = available("runtimes", "onnx")
            while len(self._loaded) >= _MODELS:
                del self._loaded[next(iter(self._loaded))]
            self._loaded[key] = runtime().load(Path(job.file), job.features)
        return self._loaded[key]


def explained(models: _Models, body: bytes) -> Attributions:
    """What a job comes to."""
    job = msgspec.json.decode(body, type=Job)
    try:
        model = models.of(job)
        signature = model.signature
        features = job.features or signature.features
        if not features or len(signature.inputs) > 1:
            features = tuple(one.name for one in signature.inputs)
        return attributions(model.run, features, job.row, job.background)
    except ImportError as error:
        return Attributions(why=f"{error}: install splice-ai[explain]")
    except SpliceError as error:
        return Attributions(why=str(error))
    except Exception as error:  # noqa: BLE001 - whatever a model or the library raises is told
        return Attributions(why=f"{type(error).__name__}: {error}"[:300])


def main() -> None:
    """Answer jobs until there are none."""
    die_with(int(sys.argv[1]))
    leave_signals_to_parent()
    # What libraries print must not get between the answers.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    models, pipe = _Models(), sys.stdin.buffer
    while select.select([pipe], [], [], IDLE_S)[0]:
        body = read_body(pipe, MOST)
        if body is None:
            return
        with contextlib.suppress(BrokenPipeError):
            out.write(framed(msgspec.json.encode(explained(models, body))))


if __name__ == "__main__":
    main()
