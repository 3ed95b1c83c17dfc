"""Hosted models: they run elsewhere, in processes of their own or behind an endpoint."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from splice.core.call import Prediction, Trace
from splice.core.errors import RouteError
from splice.core.release import PinnedRoute, Signature
from splice.core.versions import Endpoint


class HostedModel(Protocol):
    """A model that is asked and waited for. Several runs may be on their way at once."""

    @property
    def signature(self) -> Signature | None:
        """What it reads and gives; None until that is known."""
        ...

    @property
    def lanes(self) -> int:
        """Runs that it takes at once; further ones wait on our side and make larger batches."""
        ...

    async def infer(
        self, rows: Sequence[Mapping[str, Any]], timeout_s: float, trace: Trace | None = None
    ) -> list[Prediction | RouteError]:
        """One result a row, in order. An error among them is that row's alone.

        `timeout_s` is how long anybody waits for the answer: what runs on after it is ended.

        Raises:
            RouteError: Nothing was answered. It ran out of time, crashed, refused, or is away.
        """
        ...

    async def close(self) -> None:
        """End what runs, let go of processes and connections."""
        ...


class RemoteRuntime(Protocol):
    """Reaches models behind endpoints of one protocol."""

    def connect(
        self, endpoint: Endpoint, features: Sequence[str] = (), signature: Signature | None = None
    ) -> HostedModel:
        """The model, without asking the network: an endpoint that is away now may be back.

        Args:
            endpoint: Where it is.
            features: Names the columns of a model that reads one matrix.
            signature: What it reads and gives, as it was registered.
        """
        ...

    async def inspect(self, endpoint: Endpoint) -> Signature:
        """What it reads and gives, as it says itself.

        Raises:
            ModelUnavailable: It is away, not ready, or has no such model.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


class PoolTally:
    """What is counted of the pools of one model; it outlives each of them. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.processes = 0
        self.restarts: Counter[str] = Counter()

    def has(self, more: int) -> None:
        """So many more worker processes are ready, or fewer."""
        with self._lock:
            self.processes += more

    def restarted(self, reason: str) -> None:
        """A process that was to stay has ended.

        `reason` is one of: `crashed`, `memory`, `timeout`, `start` (it could not load the model).
        """
        with self._lock:
            self.restarts[reason] += 1


class PoolPlan(msgspec.Struct, frozen=True):
    """How a worker pool is to be: see the settings of `[pools.NAME]`."""

    processes: int = 1
    most_processes: int = 0  # 0 is never more than `processes`
    idle_seconds: float = 30.0
    memory_mb: int | None = None
    threads: int = 1
    start_seconds: float = 60.0
    environment: Mapping[str, str] = {}  # variables that its processes get, beside what they need
    tally: PoolTally | None = None


class OpenPool(Protocol):
    """Makes a pool of worker processes: an entry point in `splice.pools`."""

    def __call__(self, file: Path, pinned: PinnedRoute, plan: PoolPlan) -> HostedModel:
        """A pool of a model, with its first process ready or still loading. Blocks; not in a loop.

        The pool ends its processes when it is closed, and also when nothing refers to it any more.

        Raises:
            ModelUnavailable: The file cannot be loaded, or its process ended while it was.
            ModelMismatch: The features pinned do not fit the model.
        """
        ...
