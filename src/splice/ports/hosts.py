"""Hosted models: they run elsewhere, in processes of their own or behind an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from splice.core.call import Prediction, Trace
from splice.core.errors import RouteError
from splice.core.release import Signature
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
